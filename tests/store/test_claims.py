"""What is claimed, given back and held: whose it is afterwards, and how often it counts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.deliveries import lane_book, store
from app.deliveries.models import Endpoint
from app.deliveries.store import Addressed, Claimed, NewMessage
from app.kit.database import Database
from tests.store.test_deliveries_races import delivered

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
LATER = NOW + timedelta(minutes=2)


@pytest.fixture
async def endpoints(database: Database) -> None:
    """Two endpoints."""
    async with database.transaction() as db:
        await db.execute(text("insert into agents (id, created_at) values ('agt_1', :at)"), {"at": NOW})
        for id in ("ep_busy", "ep_calm"):
            db.add(
                Endpoint(
                    id=id, agent_id="agt_1", url="http://x/", state="active", secret="s", created_at=NOW, updated_at=NOW
                )
            )


async def send(database: Database, endpoint_id: str, *names: str, at: datetime = NOW) -> None:
    async with database.transaction() as db:
        messages = [NewMessage(f"msg_{name}", None, "t", "{}") for name in names]
        await store.add(db, messages, [Addressed(f"dlv_{n}", f"msg_{n}", endpoint_id) for n in names], at)


async def claim(database: Database, at: datetime = NOW) -> Sequence[Claimed]:
    async with database.transaction() as db:
        return await store.claim(db, at, 60, 100)


async def newest(database: Database, limit: int, over: Sequence[str], among: int) -> set[str]:
    async with database.transaction() as db:
        return {each.id for each in await store.claim_newest(db, LATER, 60, limit, over, among)}


async def row(database: Database, id: str) -> Any:
    async with database.transaction() as db:
        return (await db.execute(text("select * from deliveries where id = :id"), {"id": id})).one()


async def test_the_newest_are_claimed_that_are_for_nobody_busy(database: Database, endpoints: None) -> None:
    await send(database, "ep_busy", "1", "2", "3")
    await send(database, "ep_calm", "4", at=NOW + timedelta(seconds=1))
    await send(database, "ep_busy", "5", at=NOW + timedelta(seconds=2))

    assert await newest(database, 10, ["ep_busy"], 10) == {"dlv_4"}
    claimed = await row(database, "dlv_4")
    assert (claimed.attempts, claimed.due_at) == (1, LATER + timedelta(seconds=60))
    assert (await row(database, "dlv_5")).attempts == 0


async def test_the_newest_are_looked_for_among_so_many_and_no_more(database: Database, endpoints: None) -> None:
    await send(database, "ep_calm", "1")
    await send(database, "ep_busy", "2", "3", at=NOW + timedelta(seconds=1))

    assert await newest(database, 10, ["ep_busy"], 2) == set()
    assert await newest(database, 10, ["ep_busy"], 3) == {"dlv_1"}


async def test_of_the_newest_so_many_are_claimed_and_none_that_is_not_due(database: Database, endpoints: None) -> None:
    await send(database, "ep_calm", "1", "2", "3")
    await send(database, "ep_calm", "4", at=LATER + timedelta(seconds=1))

    claimed = await newest(database, 2, [], 10)
    rest = await newest(database, 2, [], 10)

    assert (len(claimed), len(rest)) == (2, 1)
    assert claimed | rest == {"dlv_1", "dlv_2", "dlv_3"}


async def test_what_is_given_back_twice_is_given_back_once(database: Database, endpoints: None) -> None:
    """The first commit was made, and its answer lost."""
    await send(database, "ep_calm", "1")
    claimed = await claim(database)
    for _ in range(2):
        async with database.transaction() as db:
            await store.release(db, claimed, NOW)

    [again] = await claim(database)
    assert (again.number, again.attempts - again.attempts_before) == (1, 1)


async def test_what_is_held_twice_is_held_once(database: Database, endpoints: None) -> None:
    await send(database, "ep_calm", "1")
    claimed = await claim(database)
    for _ in range(2):
        async with database.transaction() as db:
            await store.hold(db, claimed)
    async with database.transaction() as db:
        [again] = await lane_book.claim_held(db, {"ep_calm": 1}, NOW, 60)

    assert (again.number, again.attempts - again.attempts_before) == (1, 1)


async def test_what_was_held_and_sent_all_the_same_is_held_no_more_when_it_has_arrived(
    database: Database, endpoints: None
) -> None:
    """That it was held was committed, and the answer lost: so it was sent."""
    await send(database, "ep_calm", "1")
    claimed = await claim(database)
    async with database.transaction() as db:
        await store.hold(db, claimed)
    async with database.transaction() as db:
        await store.conclude(db, [delivered(claimed[0])])
    async with database.transaction() as db:
        again = await lane_book.claim_held(db, {"ep_calm": 1}, NOW, 60)

    assert (list(again), (await row(database, "dlv_1")).state) == ([], "delivered")


async def test_what_was_held_and_sent_all_the_same_has_made_an_attempt_when_it_has_failed(
    database: Database, endpoints: None
) -> None:
    await send(database, "ep_calm", "1")
    [first] = await claim(database)
    async with database.transaction() as db:
        await store.hold(db, [first])
    failed = replace(delivered(first, 500), state="pending", due_at=NOW, concluded_at=None)
    async with database.transaction() as db:
        await store.conclude(db, [failed])

    [second] = await claim(database)
    async with database.transaction() as db:
        await store.conclude(db, [replace(delivered(second), number=second.number)])
        numbers = (await db.execute(text("select number from attempts order by number"))).scalars().all()
    assert (second.number, second.attempts - second.attempts_before) == (2, 2)
    assert numbers == [1, 2]


async def test_what_was_held_and_given_back_all_the_same_stays_held(database: Database, endpoints: None) -> None:
    await send(database, "ep_calm", "1")
    claimed = await claim(database)
    async with database.transaction() as db:
        await store.hold(db, claimed)
    async with database.transaction() as db:
        await store.release(db, claimed, NOW)

    due = await claim(database)
    async with database.transaction() as db:
        [again] = await lane_book.claim_held(db, {"ep_calm": 1}, NOW, 60)
    assert (list(due), again.number, again.attempts - again.attempts_before) == ([], 1, 1)


async def test_a_claim_that_is_renewed_is_the_same_attempt(database: Database, endpoints: None) -> None:
    await send(database, "ep_calm", "1")
    [first] = await claim(database)
    [second] = await claim(database, LATER)
    async with database.transaction() as db:
        await store.renew(db, [second])
    renewed = first.renewed(second)
    async with database.transaction() as db:
        ours = await store.conclude(db, [delivered(renewed)])

    stored = await row(database, "dlv_1")
    assert (renewed.number, first.number, ours) == (1, 1, {"dlv_1"})
    assert (renewed.attempts_before, renewed.unsent) == (stored.attempts_before, stored.unsent) == (1, 1)
