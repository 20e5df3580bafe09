"""The relay's own key, which signs every ring as `v1a` and is published as a JWKS."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import register
from app.deliveries.models import SigningKey
from tocsin.keys import PrivateKey
from tocsin.schemas.agents import Jwk

__all__ = ["RelayKey", "jwk"]

purpose = "webhooks"


class RelayKey:
    """The key, read once a process. It is made in the database by whichever process needs it first."""

    def __init__(self) -> None:
        self._key: PrivateKey | None = None

    async def get(self, db: AsyncSession, now: datetime) -> PrivateKey:
        if self._key is None:
            self._key = await _found_or_made(db, now)
        return self._key


async def _found_or_made(db: AsyncSession, now: datetime) -> PrivateKey:
    stored = await register.signing_key(db, purpose)
    if stored is None:
        made = PrivateKey.generate()
        await register.add_signing_key(
            db, SigningKey(kid=made.public.keyid, purpose=purpose, private_key=made.text, created_at=now)
        )
        # Read again: of two processes that make one at the same time, the first to commit has made the key of both.
        stored = await register.signing_key(db, purpose)
    assert stored is not None, "a key that was just added, or that another process added first"
    return PrivateKey.from_text(stored.private_key)


def jwk(key: PrivateKey) -> Jwk:
    """The public half, as receivers look it up."""
    return Jwk(**key.public.jwk, kid=key.public.keyid, use="sig", alg="EdDSA")  # pyright: ignore[reportArgumentType]
