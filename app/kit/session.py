"""A session whose text goes to the driver as it is.

Objects and built queries go SQLAlchemy's way. Most of what the relay asks is text with named parameters, and for that
the way is long: a session that keeps books of objects, two greenlets, a look into a compiler's cache, and a cursor that
learns its columns anew each time. Together they cost more than psycopg itself does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Result, RootTransaction, TextClause, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.exc import DBAPIError, InvalidRequestError, PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.util import greenlet_spawn

from app.kit.clock import Reading


class Session(AsyncSession):
    """One transaction, from `open` to `commit` or `close`. As any other session of SQLAlchemy's, but `execute` of text
    takes the short way, and what the long way needs is made when it is first taken. No text after a rollback."""

    _connection: Connection
    _transaction: RootTransaction
    _driver: psycopg.AsyncConnection[tuple[Any, ...]] | None = None

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._info = dict[Any, Any]()

    def __getattr__(self, name: str) -> Any:
        if name not in {"sync_session", "_proxied"}:
            raise AttributeError(f"a session has no {name}")
        self._still()
        connection = AsyncConnection(self._engine, self._connection)
        # Closed for good: one that was used after its end would begin a transaction that nobody ends.
        super().__init__(connection, expire_on_commit=False, close_resets_only=False)
        # In our transaction from here on: a rollback takes back what was said before there were objects, too.
        self.sync_session.connection()
        return self.__dict__[name]

    @property
    def info(self) -> dict[Any, Any]:
        """What is known of this transaction: when it began (`Reading`)."""
        return self._info

    async def open(self) -> None:
        """Take a connection and begin. From here on it is known what time it is (`Clock.now`)."""
        await greenlet_spawn(self._begin)
        taken = self._connection.connection
        self._driver = cast(Any, taken.driver_connection)
        self._info[Reading] = taken.info[Reading]

    async def commit(self) -> None:
        """Make what was done durable, and give the connection back. Raises PendingRollbackError where a statement
        failed, though its error was caught."""
        # Postgres takes back all of such a transaction, and answers a COMMIT with no more than the word ROLLBACK.
        if self._driver is not None and self._driver.info.transaction_status is TransactionStatus.INERROR:
            raise PendingRollbackError(
                "nothing is durable: a statement of this transaction failed; what may fail belongs in a savepoint"
            )
        self._driver = None
        await greenlet_spawn(self._conclude)

    async def close(self) -> None:
        """Roll back what was not committed, and give the connection back."""
        # First of all: from here on the connection is somebody else's, and so is the transaction that it is in.
        self._driver = None
        await greenlet_spawn(self._abandon)

    async def execute(self, statement: Any, params: Any = None, **options: Any) -> Result[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Raises the same errors, by the same names, whichever way is taken."""
        is_plain = type(statement) is TextClause and not options and (params is None or type(params) is dict)
        # SQLAlchemy makes a savepoint when it hears of the first statement behind it.
        if is_plain and not (self._keeps_objects and self.in_nested_transaction()):
            return await self._said(self._still(), _spoken(statement.text), cast("dict[str, Any]", params or {}))
        return await super().execute(statement, cast(Any, params), **options)

    # In a greenlet each, where SQLAlchemy waits for its driver as if it were not asynchronous.

    def _begin(self) -> None:
        self._connection = self._engine.sync_engine.connect()
        self._transaction = self._connection.begin()

    def _conclude(self) -> None:
        if self._keeps_objects:
            self.sync_session.commit()
        # What was rolled back has nothing to commit.
        if self._transaction.is_active:
            self._transaction.commit()
        self._abandon()

    def _abandon(self) -> None:
        try:
            if self._keeps_objects:
                # Refuses while another task makes a savepoint in it.
                self.sync_session.close()
        finally:
            if "_connection" in self.__dict__:
                self._connection.close()

    @property
    def _keeps_objects(self) -> bool:
        return "sync_session" in self.__dict__

    def _still(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        # By a rollback, or a flush that failed, it has ended before its block has: text would be durable at once.
        if self._driver is None or not self._transaction.is_active:
            raise InvalidRequestError("the transaction has ended")
        return self._driver

    async def _said(
        self, driver: psycopg.AsyncConnection[tuple[Any, ...]], spoken: "_Spoken", values: Mapping[str, Any]
    ) -> Result[Any]:
        try:
            cursor = await driver.execute(spoken.statement, values)
            width = 0 if cursor.pgresult is None else cursor.pgresult.nfields
            rows = await cursor.fetchall() if width else ()
        except psycopg.Error as error:
            if driver.closed:
                # So that the pool gives it to nobody else, and the end of the transaction does not speak to it.
                await greenlet_spawn(self._connection.invalidate, error)
            raise _wrapped(spoken, error) from error
        return IteratorResult(spoken.columns_of(cursor, width), iter(rows))


@dataclass(slots=True)
class _Spoken:
    """Text as psycopg takes it, and its columns since it was first answered."""

    statement: bytes
    columns: SimpleResultMetaData | None = None
    width: int = 0

    def columns_of(self, cursor: psycopg.AsyncCursor[Any], width: int) -> SimpleResultMetaData:
        # `select *` has another number of them once the table was altered under us.
        if self.columns is None or self.width != width:
            self.columns = SimpleResultMetaData([column.name for column in cursor.description or ()])
            self.width = width
        return self.columns


@lru_cache(maxsize=1024)
def _spoken(statement: str) -> _Spoken:
    """`:name` as `%(name)s`, and a percent sign twice."""
    return _Spoken(str(text(statement).compile(dialect=PGDialect_psycopg())).encode())


def _wrapped(spoken: _Spoken, error: psycopg.Error) -> BaseException:
    return DBAPIError.instance(spoken.statement.decode(), None, error, psycopg.Error, hide_parameters=True)
