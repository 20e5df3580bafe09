"""Due is a column: claim what is due, act on it, conclude what is still ours.

A claim moves `due_at` past a lease and counts the attempt, in one statement that skips rows which others are claiming.
From the commit of a claim on, a crash is simply a late retry. The attempt's number is the fencing token: a conclusion
changes only rows whose number has not moved on.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from sqlalchemy import Table, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, select

from app.kit import limits

T = TypeVar("T", bound=SQLModel)


async def claim(
    db: AsyncSession,
    table: type[T],
    *,
    now: datetime,
    lease_seconds: float,
    limit: int,
    where: str = "true",
    params: Mapping[str, Any] | None = None,
) -> list[T]:
    """Take the most overdue rows, at most `limit`, for `lease_seconds`. Others skip them until the lease ends.

    A table that can be claimed has a text `id`, `due_at` (null: nothing to do) and `attempts`.

    `where` is SQL of ours that narrows the choice, `params` its values; never text that came from outside.
    """
    name = _table(table).name
    # By name: in the database, columns stand in the order in which they were added.
    columns = ", ".join(f"{name}.{column.name}" for column in _table(table).columns)
    statement = text(
        f"""
        update {name} set due_at = :until, attempts = {name}.attempts + 1
        -- An array, which is made once and looked up by its key: a generic plan of `in` reads the whole table.
        where id = any(array(
            select id from {name} where due_at <= :now and ({where}) order by due_at limit :limit for update skip locked
        ))
        returning {columns}
        """
    )
    values = {"now": now, "until": now + timedelta(seconds=lease_seconds), "limit": limit, **(params or {})}
    rows = await db.execute(select(table).from_statement(statement.columns(*_table(table).columns)), values)
    return list(rows.scalars())


async def conclude(db: AsyncSession, table: type[SQLModel], outcomes: Sequence[Mapping[str, Any]]) -> set[str]:
    """Write what became of claimed rows, in one statement; returns the ids that were still ours.

    Each outcome names `id`, `attempts` (as claimed) and the columns to set; all outcomes name the same columns.
    A row that was claimed again since (its lease had ended) keeps what its new holder writes.
    """
    if not outcomes:
        return set()
    name, columns = _table(table).name, [column for column in outcomes[0] if column not in {"id", "attempts"}]
    arrays = ", ".join(f"cast(:{column} as {_sql_type(table, column)}[])" for column in ("id", "attempts", *columns))
    assignments = ", ".join(f"{column} = outcome.{column}" for column in columns)
    statement = text(
        f"""
        with outcome as (
            select * from unnest({arrays}) as o(id, attempts, {", ".join(columns)})
        ), mine as materialized (
            -- Locked by id, so that two that write about the same rows never wait in a circle. In what order an update
            -- locks what it changes is the planner's choice.
            select {name}.id
            from outcome join {name} on {name}.id = outcome.id and {name}.attempts = outcome.attempts
            order by {name}.id for no key update of {name}
        )
        update {name} set {assignments}
        from mine join outcome on outcome.id = mine.id
        where {name}.id = mine.id
        returning {name}.id
        """
    )
    rows = await db.execute(statement, {c: [o[c] for o in outcomes] for c in ("id", "attempts", *columns)})
    return set(rows.scalars())


async def drain(step: Callable[[], Awaitable[int]], *, rounds_max: int = limits.drain_rounds_max) -> int:
    """Run a step until it finds nothing to do, at most `rounds_max` times. Returns how much was done."""
    done = 0
    for _ in range(rounds_max):
        count = await step()
        if count == 0:
            break
        done += count
    return done


def _table(table: type[SQLModel]) -> Table:
    return cast(Table, table.__table__)  # pyright: ignore


def _sql_type(table: type[SQLModel], column: str) -> str:
    return _table(table).columns[column].type.compile(dialect=postgresql.dialect())
