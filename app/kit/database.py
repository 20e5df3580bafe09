"""Postgres, the truth: one engine a process, one short transaction a step."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC
from typing import Any, Protocol, Self

from sqlalchemy import URL, Engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialectAsync_psycopg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.util import await_

from app.kit import limits, telemetry
from app.kit.clock import Reading, SystemClock
from app.kit.session import Session

# What a step ends with while the database is away, is full or has no connection free.
AWAY = (OperationalError, PoolTimeout)
# How often a connection runs a statement before it has it prepared; migrations and the like never do.
prepare_after = 5
_clock = SystemClock()


class Dialect(PGDialectAsync_psycopg):
    """SQLAlchemy's for psycopg, but a transaction begins in one trip that brings the server's time along.

    Everything here needs the time, and a trip costs as much as a small statement.
    """

    supports_statement_cache = True

    @classmethod
    def get_async_dialect_cls(cls, url: URL) -> type[Self]:
        return cls

    def do_begin(self, dbapi_connection: Any) -> None:
        connection = dbapi_connection.driver_connection
        # clock_timestamp() and not now(), which is when the transaction began: behind a pooler, that may be earlier.
        cursor = await_(connection.execute("begin; select clock_timestamp()", prepare=False))
        cursor.nextset()
        [at] = await_(cursor.fetchone())
        dbapi_connection.info[Reading] = Reading(at.astimezone(UTC), _clock.monotonic())


registry.register("postgresql.tocsin", __name__, Dialect.__name__)


class Transaction(Protocol):
    """Opens a transaction: commits when the block ends, rolls back when it raises."""

    def __call__(self) -> AbstractAsyncContextManager[AsyncSession]: ...


class Database:
    """The connection pool of one process. Its size is fixed, whatever the number of agents or open streams."""

    def __init__(
        self,
        url: str,
        *,
        connections: int = limits.database_connections_default,
        name: str = "tocsin",
        prepares: bool = True,
    ) -> None:
        self.engine = create_async_engine(
            make_url(url).set(drivername="postgresql+tocsin"),
            pool_size=connections,
            max_overflow=0,
            # Used last, used next: its server process has plans and caches at hand. Taken by turns, each would be cold.
            pool_use_lifo=True,
            pool_timeout=limits.database_wait_seconds,
            # An error that is logged would show what it was about: webhook secrets, keys, payloads.
            hide_parameters=True,
            connect_args={
                # psycopg begins no transaction of itself: `Dialect.do_begin` does.
                "autocommit": True,
                "application_name": name,
                "connect_timeout": limits.database_connect_seconds,
                # A server that vanishes without a word is noticed, and not waited for by default for two hours.
                "keepalives_idle": 15,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": limits.database_silence_seconds * 1000,
                # The only state that we leave in a session. Planning costs more than running: what we ask is often one
                # statement over tables of many parts.
                "prepare_threshold": prepare_after if prepares else None,
            },
        )
        _ping_the_idle(self.engine.sync_engine)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncSession]:
        """A session in a transaction of its own. When the block has ended, its changes are durable."""
        try:
            async with _committed(Session(self.engine)) as db:
                yield db
        except (DBAPIError, PoolTimeout) as error:
            kind = _kind(error)
            if kind is not None:
                telemetry.database_errors.labels(kind).inc()
            raise

    async def close(self) -> None:
        """Give the connections back to the server."""
        await self.engine.dispose()


@asynccontextmanager
async def _committed(db: Session) -> AsyncGenerator[Session]:
    try:
        await db.open()
        yield db
        await db.commit()
    except BaseException:
        # Rolled back, and the connection given back, also where the one who waits for it is cancelled. With a server
        # that has gone meanwhile there is nothing to roll back; who was cancelled still has to end by that.
        with suppress(DBAPIError):
            await asyncio.shield(db.close())
        raise


def first_line(error: DBAPIError | PoolTimeout) -> str:
    """What ails the database, in its own words."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(cause).partition("\n")[0]


def _kind(error: DBAPIError | PoolTimeout) -> str | None:
    """What ails the database; None where it is well, and refuses what it was asked."""
    if isinstance(error, PoolTimeout):
        return "busy"
    sqlstate = getattr(error.orig, "sqlstate", None)
    # Without a code there was no server to send one.
    kinds = {"08": "away", "57": "away", "53": "full", "58": "full", "40": "conflict"}
    return kinds.get(sqlstate[:2]) if sqlstate else ("away" if isinstance(error, OperationalError) else None)


def _ping_the_idle(engine: Engine) -> None:
    """Ask connections that have lain idle whether they are still there; one that has just been used is not asked.

    A ping is a round trip in front of every transaction, and a busy worker waits for each in line with all else. A
    server that restarts within the idle second costs one step, which is repeated like any other while it is away.

    One that is not there any more is opened anew, and no other: a pooler that ends idle sessions one by one costs no
    warm ones. After a restart each is opened anew by whoever comes to it first.
    """

    @event.listens_for(engine, "checkin")
    def remember(connection: Any, record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        record.info["used_at"] = _clock.monotonic()

    @event.listens_for(engine, "checkout")
    def ping(connection: Any, record: Any, fairy: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        used_at = record.info.get("used_at")
        # One that is new has no such time: what a record knows ends with its connection.
        if used_at is None or _clock.monotonic() - used_at < limits.database_idle_seconds:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # The pool connects this very record again, and asks us about it once more: new, it is not pinged. So nobody
            # comes from one dead connection to the next, which SQLAlchemy would give up at the second.
            raise DisconnectionError from error
