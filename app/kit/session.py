"""A session whose text goes to the driver as it is.

Objects and built queries go SQLAlchemy's way. Most of what the relay asks is text with named parameters, and for that
the way is long: two greenlets, a look into a compiler's cache, and a cursor that learns its columns anew each time.
Together they cost more than psycopg itself does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import psycopg
from sqlalchemy import Result, TextClause, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.kit.clock import Reading


class Session(AsyncSession):
    """As any other of SQLAlchemy's, but `execute` of text takes the short way. `Database.transaction` opens it."""

    _connection: AsyncConnection
    _driver: psycopg.AsyncConnection[tuple[Any, ...]] | None = None

    async def open(self) -> None:
        """Take a connection and begin. From here on it is known what time it is (`Clock.now`)."""
        self._connection = await self.connection()
        assert self._connection.sync_connection is not None
        taken = self._connection.sync_connection.connection
        self._driver = cast(Any, taken.driver_connection)
        self.info[Reading] = taken.info[Reading]

    def leave(self) -> None:
        """Say nothing more: the connection is somebody else's from here on, and so is the transaction it is in."""
        self._driver = None

    async def execute(self, statement: Any, params: Any = None, **options: Any) -> Result[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Raises the same errors, by the same names, whichever way is taken."""
        is_plain = type(statement) is TextClause and not options and (params is None or type(params) is dict)
        # SQLAlchemy makes a savepoint when it hears of the first statement behind it.
        if is_plain and not self.in_nested_transaction():
            assert self._driver is not None, "the transaction has ended"
            return await self._said(self._driver, _spoken(statement.text), cast("dict[str, Any]", params or {}))
        return await super().execute(statement, cast(Any, params), **options)

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
                await self._connection.invalidate(error)
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
