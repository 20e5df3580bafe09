"""The relay's own keys, which sign every ring as `v1a` and are published as a JWKS.

One key has no end in sight. While it replaces another both sign; before that it is published, so that receivers know it
by the time it signs. All of that is in the rows, as times: processes need not be told, they only have to look.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import register
from app.deliveries.models import SigningKey
from app.kit import limits
from app.kit.sealing import Keyring, Sealed
from tocsin.keys import PrivateKey, PublicKey
from tocsin.schemas.agents import Jwk

__all__ = ["RelayKey", "RotationRefused", "jwk", "reseal", "rotate"]

purpose = "webhooks"
_SEALED_AS = "relay key"


class RotationRefused(Exception):
    """The relay's key is not replaced; says why, to its operator."""


@dataclass(frozen=True, slots=True)
class Held:
    """A key of the relay, and when it signs."""

    key: PrivateKey
    signs_at: datetime | None
    retires_at: datetime | None

    def is_published(self, now: datetime) -> bool:
        return self.retires_at is None or self.retires_at > now

    def signs(self, now: datetime) -> bool:
        return self.is_published(now) and (self.signs_at is None or self.signs_at <= now)


class RelayKey:
    """The keys, read every few seconds. The first is made in the database by whichever process needs it first."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._held: Sequence[Held] = ()
        self._read_at: datetime | None = None

    async def get(self, db: AsyncSession, now: datetime) -> Sequence[PrivateKey]:
        """Those that sign now, the newest first."""
        return [each.key for each in await self._current(db, now) if each.signs(now)]

    async def published(self, db: AsyncSession, now: datetime) -> Sequence[PublicKey]:
        """Those that may be met: that sign, and after them one that will."""
        held = [each for each in await self._current(db, now) if each.is_published(now)]
        return [each.key.public for each in sorted(held, key=lambda each: not each.signs(now))]

    async def _current(self, db: AsyncSession, now: datetime) -> Sequence[Held]:
        age = limits.relay_key_read_seconds if self._read_at is None else abs((now - self._read_at).total_seconds())
        if age >= limits.relay_key_read_seconds:
            self._held, self._read_at = await _found_or_made(db, self._keyring, now), now
        return self._held


async def rotate(
    db: AsyncSession, keyring: Keyring, now: datetime, *, announce: timedelta, overlap: timedelta
) -> SigningKey:
    """Publish a new key now, sign by it after `announce`, and by those before it until the overlap ends.

    Both zero: those before it are over at once. Raises RotationRefused.
    """
    await _found_or_made(db, keyring, now)
    alive = [row for row in await register.signing_keys(db, purpose, lock=True) if not _is_over(row, now)]
    signs_at = now + announce
    if overlap and any(row.signs_at is not None and row.signs_at > now for row in alive):
        raise RotationRefused("a new key is published already and does not sign yet; wait until it does, or use --now")
    if overlap and len(alive) >= limits.relay_keys_max:
        raise RotationRefused(f"{len(alive)} keys sign already; wait until the oldest retires, or use --now")
    for row in alive:
        row.retires_at = min(row.retires_at or signs_at + overlap, signs_at + overlap)
    await db.flush()
    made = _sealed(PrivateKey.generate(), keyring, now)
    made.signs_at = signs_at
    db.add(made)
    await db.flush()
    return made


async def reseal(db: AsyncSession, keyring: Keyring) -> int:
    """Seal the keys that are not sealed by the current key. Returns how many."""
    rows = [row for row in await register.signing_keys(db, purpose, lock=True) if row.sealed_with != keyring.current]
    for row in rows:
        key = _sealed(_opened(row, keyring), keyring, row.created_at)
        row.private_key, row.sealed_with = key.private_key, key.sealed_with
    await db.flush()
    return len(rows)


def jwk(key: PublicKey) -> Jwk:
    """The key as receivers look it up."""
    return Jwk(**key.jwk, kid=key.keyid, use="sig", alg="EdDSA")  # pyright: ignore[reportArgumentType]


async def _found_or_made(db: AsyncSession, keyring: Keyring, now: datetime) -> Sequence[Held]:
    rows = await register.signing_keys(db, purpose)
    if all(row.retires_at is not None for row in rows):
        await register.add_signing_key(db, _sealed(PrivateKey.generate(), keyring, now))
        # Read again: of two processes that make one at the same time, the first to commit has made the key of both.
        rows = await register.signing_keys(db, purpose)
    return [Held(_opened(row, keyring), row.signs_at, row.retires_at) for row in rows if not _is_over(row, now)]


def _is_over(row: SigningKey, now: datetime) -> bool:
    return row.retires_at is not None and row.retires_at <= now


def _sealed(key: PrivateKey, keyring: Keyring, now: datetime) -> SigningKey:
    sealed = keyring.seal(key.seed, _SEALED_AS, key.public.keyid)
    return SigningKey(
        kid=key.public.keyid, purpose=purpose, private_key=sealed.text, sealed_with=sealed.key, created_at=now
    )


def _opened(row: SigningKey, keyring: Keyring) -> PrivateKey:
    if row.sealed_with is None:
        return PrivateKey.from_text(row.private_key)
    return PrivateKey.from_seed(keyring.open(Sealed(row.sealed_with, row.private_key), _SEALED_AS, row.kid))
