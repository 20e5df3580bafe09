"""Postgres, the truth: one engine a process, one short transaction a step."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from typing import Protocol

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from app.kit import limits

# Reads a statement once, however often it runs: taking a dozen lines apart costs as much as sending them.
sql = lru_cache(maxsize=1024)(text)


class Transaction(Protocol):
    """Opens a transaction: commits when the block ends, rolls back when it raises."""

    def __call__(self) -> AbstractAsyncContextManager[AsyncSession]: ...


class Database:
    """The connection pool of one process. Its size is fixed, whatever the number of agents or open streams."""

    def __init__(
        self, url: str, *, connections: int = limits.database_connections_default, name: str = "tocsin"
    ) -> None:
        self.engine = create_async_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=connections,
            max_overflow=0,
            pool_timeout=limits.database_wait_seconds,
            pool_pre_ping=True,
            # An error that is logged would show what it was about: webhook secrets, keys, payloads.
            hide_parameters=True,
            connect_args={
                "application_name": name,
                "connect_timeout": limits.database_connect_seconds,
                # A server that vanishes without a word is noticed, and not waited for by default for two hours.
                "keepalives_idle": 15,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": limits.database_silence_seconds * 1000,
                # No session state: a transaction-mode pooler may stand between us and the server.
                "prepare_threshold": None,
            },
        )
        self._sessions = async_sessionmaker(self.engine, class_=AsyncSession, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncSession]:
        """A session in a transaction of its own. When the block has ended, its changes are durable."""
        async with self._sessions() as db, db.begin():
            yield db

    async def close(self) -> None:
        """Give the connections back to the server."""
        await self.engine.dispose()
