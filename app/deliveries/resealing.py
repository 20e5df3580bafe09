"""Seals what is not sealed with the current key, a batch at a time: after an older release, or on a change of keys."""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import register
from app.deliveries.secrets import Secrets
from app.kit.sealing import Keyring

__all__ = ["reseal_next", "seal_next", "sealed_by"]


async def seal_next(db: AsyncSession, keyring: Keyring, limit: int) -> int:
    """Seal secrets that a release before sealing left. Returns how many; 0: none is left."""
    rows = await register.unsealed(db, limit)
    for row in rows:
        assert row.secret is not None
        # What is in `secrets` beside it was never in use: the plain one signed, and goes on to.
        row.secrets, row.secret = [Secrets(keyring).seal(row.id, row.secret, row.created_at)], None
    await db.flush()
    return len(rows)


async def reseal_next(db: AsyncSession, keyring: Keyring, after: str, limit: int) -> tuple[int, str]:
    """Seal anew what another key sealed, of endpoints after this one. Returns of how many, and the last of them."""
    rows, secrets = await register.sealed_otherwise(db, keyring.current, after, limit), Secrets(keyring)
    for row in rows:
        row.secrets = secrets.resealed(row.id, row.secrets)
        row.headers = secrets.resealed_headers(row.id, row.headers)
    await db.flush()
    return len(rows), rows[-1].id if rows else after


async def sealed_by(db: AsyncSession) -> Mapping[str | None, int]:
    """How many secrets, headers and keys are sealed with each key; None: with none."""
    return await register.sealed_by(db)
