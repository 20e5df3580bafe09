"""Claim, conclude and drain, on a real Postgres with two connections."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import registry
from sqlmodel import Column, DateTime, Field, SQLModel

from app.kit import due
from app.kit.database import Database
from tests.store.test_deliveries_races import blocked
from tests.world import EPOCH


class Apart(SQLModel, registry=registry()):
    """Keeps what is no table of the relay out of its metadata."""

    metadata = MetaData()


class Chore(Apart, table=True):
    """Something that is due."""

    __tablename__ = "chores"  # pyright: ignore[reportAssignmentType]

    id: str = Field(primary_key=True)
    due_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    attempts: int = 0
    state: str = "open"


@pytest.fixture
async def chores(database: Database) -> AsyncIterator[Database]:
    """Three chores that are due, one that is not yet, one that never will be."""
    async with database.transaction() as db:
        await db.execute(
            text("create table chores (id text primary key, due_at timestamptz, attempts int not null, state text)")
        )
        for name, minutes in (("c", -1), ("a", -3), ("b", -2), ("later", 1), ("never", None)):
            due_at = None if minutes is None else EPOCH + timedelta(minutes=minutes)
            db.add(Chore(id=name, due_at=due_at))
    yield database
    async with database.transaction() as db:
        await db.execute(text("drop table chores"))


async def _claim(db: AsyncSession, limit: int = 10, now: datetime = EPOCH) -> list[Chore]:
    return await due.claim(db, Chore, now=now, lease_seconds=60, limit=limit)


async def test_the_most_overdue_are_claimed_and_what_is_not_due_is_left(chores: Database) -> None:
    async with chores.transaction() as db:
        assert {c.id for c in await _claim(db, limit=2)} == {"a", "b"}
        assert {c.id for c in await _claim(db)} == {"c"}
        assert await _claim(db) == []


async def test_a_claim_counts_the_attempt_and_holds_for_the_lease(chores: Database) -> None:
    async with chores.transaction() as db:
        [chore] = await _claim(db, limit=1)
    assert (chore.attempts, chore.due_at) == (1, EPOCH + timedelta(seconds=60))
    async with chores.transaction() as db:
        again = {c.id: c.attempts for c in await _claim(db, now=EPOCH + timedelta(seconds=60))}
    assert again == {"a": 2, "b": 1, "c": 1, "later": 1}


async def test_two_claims_at_once_share_no_row(chores: Database) -> None:
    async with chores.transaction() as one, chores.transaction() as other:
        first = {c.id for c in await _claim(one, limit=2)}
        second = {c.id for c in await _claim(other, limit=2)}
    assert first == {"a", "b"}
    assert second == {"c"}


async def test_a_claim_that_rolls_back_leaves_the_row_due(chores: Database) -> None:
    async with chores.transaction() as db:
        assert len(await _claim(db)) == 3
        await db.rollback()
    async with chores.transaction() as db:
        assert {c.attempts for c in await _claim(db)} == {1}


async def test_a_conclusion_spares_rows_that_were_claimed_again(chores: Database) -> None:
    async with chores.transaction() as db:
        ours = await _claim(db)
    async with chores.transaction() as db:
        await due.claim(db, Chore, now=EPOCH + timedelta(hours=1), lease_seconds=60, limit=1, where="id = 'a'")
    outcomes = [{"id": c.id, "attempts": c.attempts, "due_at": None, "state": "done"} for c in ours]
    async with chores.transaction() as db:
        assert await due.conclude(db, Chore, outcomes) == {"b", "c"}
        states = dict((await db.execute(text("select id, state from chores where id in ('a', 'b', 'c')"))).all())
    assert states == {"a": "open", "b": "done", "c": "done"}


async def test_conclusions_of_the_same_rows_never_wait_in_a_circle(chores: Database) -> None:
    async with chores.transaction() as db:
        await db.execute(text("insert into chores select 'many_' || n, null, 0, 'open' from generate_series(1, 400) n"))
    ids = await _lay_down_backwards(chores)

    async def conclude(of: Sequence[str]) -> set[str]:
        async with chores.transaction() as db:
            outcomes = [{"id": id, "attempts": 0, "state": "done"} for id in of]
            return await due.conclude(db, Chore, outcomes)

    async def lock_all() -> None:
        async with chores.transaction() as db:
            await db.execute(text("select 1 from chores order by id for no key update"))

    async with chores.transaction() as holding:
        await holding.execute(text("select 1 from chores where id = :id for update"), {"id": ids[200]})
        waiting = [asyncio.create_task(conclude(ids[::-1])), asyncio.create_task(lock_all())]
        await blocked(chores, 2)
    concluded, _ = await asyncio.gather(*waiting)

    assert concluded == set(ids)


async def _lay_down_backwards(chores: Database) -> list[str]:
    """Have the rows stand in the table from the last to the first, and the planner know how many there are: then it
    reads them from end to end. Returns their ids, from the first to the last."""
    async with chores.transaction() as db:
        ids = (await db.execute(text("select id from chores order by id"))).scalars().all()
        for id in reversed(ids):
            await db.execute(text("update chores set state = state where id = :id"), {"id": id})
        await db.execute(text("analyze chores"))
    return list(ids)


async def test_nothing_to_conclude_asks_nothing(chores: Database) -> None:
    async with chores.transaction() as db:
        assert await due.conclude(db, Chore, []) == set()


async def test_a_drain_ends_when_nothing_is_left_or_its_bound_is_reached() -> None:
    left = [3, 2, 1]

    async def step() -> int:
        return left.pop() if left else 0

    assert await due.drain(step) == 6
    left[:] = [1] * 10
    assert await due.drain(step, rounds_max=4) == 4
