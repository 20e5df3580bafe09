"""What is sealed in the database, as its operator looks after it: at a start, on a change of keys, on demand.

Everything here goes in batches, each a transaction of its own, and does only what is left to do. So it may be broken
off anywhere and started again, also by two at a time.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

# A row is written only where every table that it points to is known, and a command imports no feature but these.
import app.tables  # noqa: F401  # pyright: ignore[reportUnusedImport]
from app.deliveries import relay_key, resealing
from app.kit import idempotency, limits
from app.kit.clock import SystemClock
from app.kit.database import Database
from app.kit.sealing import Keyring, SealError, UnknownSecretKey
from app.local.errors import LocalError
from app.local.refusals import worded
from app.subscriptions import inbox_book, inboxes

T = TypeVar("T")


def prepare(url: str, keyring: Keyring) -> int:
    """Refuse a key that is not this database's, and seal what a release before sealing left. Returns how many."""
    return _run(_prepare, url, keyring)


def reseal(url: str, keyring: Keyring) -> int:
    """Seal everything with the current key. Returns how many rows it took."""
    return _run(_reseal, url, keyring)


def sealed_by(url: str, keyring: Keyring) -> Mapping[str | None, int]:
    """How much is sealed with each key; None: with none."""
    return _run(_sealed_by, url, keyring)


def rotate_signing_key(url: str, keyring: Keyring, announce: timedelta, overlap: timedelta) -> tuple[str, datetime]:
    """Publish a new key for `v1a`. Returns its id, and when it signs."""

    async def rotated(database: Database, keyring: Keyring) -> tuple[str, datetime]:
        async with database.transaction() as db:
            now = await SystemClock().now(db)
            made = await relay_key.rotate(db, keyring, now, announce=announce, overlap=overlap)
            return made.kid, made.signs_at or now

    try:
        return _run(rotated, url, keyring)
    except relay_key.RotationRefused as error:
        raise LocalError(str(error)) from error


async def _prepare(database: Database, keyring: Keyring) -> int:
    async with database.transaction() as db:
        # The relay's own key, made here if there is none yet: from now on a wrong key is refused, and not found out by
        # the first delivery.
        await relay_key.RelayKey(keyring).get(db, await SystemClock().now(db))
    return await _to_its_end(database, lambda db: resealing.seal_next(db, keyring, limits.seal_batch_max))


async def _reseal(database: Database, keyring: Keyring) -> int:
    done = await _prepare(database, keyring)
    after = ""
    while True:
        async with database.transaction() as db:
            count, after = await resealing.reseal_next(db, keyring, after, limits.seal_batch_max)
        if count == 0:
            break
        done += count
    done += await _to_its_end(database, lambda db: idempotency.reseal(db, keyring, limits.seal_batch_max))
    done += await _to_its_end(database, lambda db: inboxes.reseal(db, keyring, limits.seal_batch_max))
    # Last: this is what a start looks at. While anything else is sealed with the key before, a start without that key
    # is refused.
    async with database.transaction() as db:
        return done + await relay_key.reseal(db, keyring)


async def _sealed_by(database: Database, keyring: Keyring) -> Mapping[str | None, int]:
    async with database.transaction() as db:
        found = dict(await resealing.sealed_by(db))
        for more in (await idempotency.sealed_by(db), await inbox_book.sealed_by(db)):
            for key, count in more.items():
                found[key] = found.get(key, 0) + count
    return found


async def _to_its_end(database: Database, step: Callable[[AsyncSession], Awaitable[int]]) -> int:
    done = 0
    while True:
        async with database.transaction() as db:
            count = await step(db)
        if count == 0:
            return done
        done += count


def _run(verb: Callable[[Database, Keyring], Awaitable[T]], url: str, keyring: Keyring) -> T:
    async def run() -> T:
        async with _opened(url) as database:
            return await verb(database, keyring)

    try:
        with worded(url):
            return asyncio.run(run())
    except UnknownSecretKey as error:
        raise LocalError(
            f"the database is sealed with the key {error.key_id}, and TOCSIN_SECRET_KEY is the key {keyring.current}; "
            "set the one that it was sealed with, or name that in TOCSIN_SECRET_KEYS_BEFORE"
        ) from error
    except SealError as error:
        raise LocalError(f"{error}; restore the database from a backup") from error
    except ProgrammingError as error:
        raise LocalError("the database is not at the version of this relay: run `tocsin migrate`") from error


@asynccontextmanager
async def _opened(url: str) -> AsyncGenerator[Database]:
    database = Database(url, connections=1, name="tocsin operator")
    try:
        yield database
    finally:
        await database.close()
