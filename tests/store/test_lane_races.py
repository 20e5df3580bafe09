"""Lanes and order keys under concurrency: what is held or queued at the very moment at which somebody looks."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import attendance, lane_book, order, store
from app.deliveries.models import Endpoint
from app.deliveries.store import Addressed, Claimed, NewMessage
from app.kit.database import Database
from tests.store.test_deliveries_races import blocked, delivered

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


@pytest.fixture
async def endpoint(database: Database) -> None:
    """A paused endpoint."""
    async with database.transaction() as db:
        await db.execute(text("insert into agents (id, created_at) values ('agt_1', :at)"), {"at": NOW})
        db.add(
            Endpoint(
                id="ep_1", agent_id="agt_1", url="http://x/", state="paused", secret="s", created_at=NOW, updated_at=NOW
            )
        )


async def send(db: AsyncSession, *numbers: int, key: str | None = None) -> None:
    messages = [NewMessage(f"msg_{n}", None, "t", "{}", order_key=key) for n in numbers]
    behind = {n: key is not None and n != numbers[0] for n in numbers}
    await store.add(db, messages, [Addressed(f"dlv_{n}", f"msg_{n}", "ep_1", key, behind[n]) for n in numbers], NOW)


async def claim(database: Database) -> list[Claimed]:
    async with database.transaction() as db:
        return list(await store.claim(db, NOW, 60, 100))


async def hold(db: AsyncSession, claimed: list[Claimed]) -> None:
    held = await store.hold(db, claimed)
    lanes = await lane_book.lock(db, held)
    await lane_book.write(db, [attendance.holding(lane, NOW) for lane in lanes])


async def resume(db: AsyncSession) -> None:
    await db.execute(text("update endpoints set state = 'active'"))
    await lane_book.make_due(db, ["ep_1"], NOW)


async def attend(db: AsyncSession) -> list[str]:
    """As a courier does: the ids of what goes."""
    lanes = await lane_book.lock_due(db, NOW, [], 10)
    bounds = await lane_book.limits(db, [lane.endpoint_id for lane in lanes])
    numbers = {lane.endpoint_id: attendance.may_go(lane, bounds[lane.endpoint_id], 10, NOW) for lane in lanes}
    taken = await lane_book.claim_held(db, numbers, NOW, 60)
    holding = await lane_book.holding(db, [lane.endpoint_id for lane in lanes])
    gone = {each.id: NOW for each in taken}
    after = [
        attendance.left(
            lane,
            bounds[lane.endpoint_id],
            gone,
            is_empty=lane.endpoint_id not in holding,
            now=NOW,
            lease_end=NOW,
        )
        for lane in lanes
    ]
    await lane_book.write(db, after)
    return sorted(gone)


async def attended(database: Database) -> list[str]:
    async with database.transaction() as db:
        return await attend(db)


async def standing(database: Database) -> list[tuple[Any, ...]]:
    async with database.transaction() as db:
        rows = await db.execute(text("select id, state, hold, due_at is not null from deliveries order by id"))
        return [tuple(row) for row in rows]


async def test_what_is_held_while_its_endpoint_is_resumed_goes(database: Database, endpoint: None) -> None:
    """The resumption commits between the claim and the holding."""
    async with database.transaction() as db:
        await send(db, 1)
    claimed = await claim(database)
    async with database.transaction() as db:
        await resume(db)

    async with database.transaction() as db:
        await hold(db, claimed)

    assert await attended(database) == ["dlv_1"]


async def test_a_resumption_waits_for_the_holding_and_makes_the_lane_due(database: Database, endpoint: None) -> None:
    async with database.transaction() as db:
        await send(db, 1, 2)
    one, other = await claim(database)
    async with database.transaction() as db:
        await hold(db, [one])
    async with database.transaction() as holding:
        await hold(holding, [other])
        resuming = asyncio.create_task(_resume(database))
        await blocked(database)
    await resuming

    assert await attended(database) == ["dlv_1", "dlv_2"]


async def test_an_attendant_that_found_the_endpoint_paused_leaves_the_lane_to_the_resumption(
    database: Database, endpoint: None
) -> None:
    async with database.transaction() as db:
        await send(db, 1)
    claimed = await claim(database)
    async with database.transaction() as db:
        await hold(db, claimed)
    async with database.transaction() as attending:
        found = await attend(attending)
        resuming = asyncio.create_task(_resume(database))
        await blocked(database)
    await resuming

    assert (found, await attended(database)) == ([], ["dlv_1"])


async def test_what_is_held_while_an_attendant_looks_makes_the_lane_due_again(
    database: Database, endpoint: None
) -> None:
    async with database.transaction() as db:
        await send(db, 1, 2)
        await resume(db)
    one, other = await claim(database)
    async with database.transaction() as db:
        await hold(db, [one])
    async with database.transaction() as attending:
        first = await attend(attending)
        holding = asyncio.create_task(_hold(database, other))
        await blocked(database)
    await holding

    assert (first, await attended(database)) == ([one.id], [other.id])


async def test_two_attendants_let_nothing_go_twice(database: Database, endpoint: None) -> None:
    async with database.transaction() as db:
        await send(db, *range(30))
        await resume(db)
    claimed = await claim(database)
    async with database.transaction() as db:
        await hold(db, claimed)

    gone = [id for ids in await asyncio.gather(*(attended(database) for _ in range(4))) for id in ids]

    assert len(gone) == len(set(gone)) >= 10


async def test_one_added_while_the_first_of_its_key_concludes_is_not_left_behind(
    database: Database, endpoint: None
) -> None:
    """It sees the first pending, as the conclusion has not committed: which then waits for it, and looks."""
    async with database.transaction() as db:
        await send(db, 1, key="a")
    [first] = await claim(database)
    async with database.transaction() as adding:
        await send(adding, 2, key="a")
        concluding = asyncio.create_task(_conclude(database, first))
        await blocked(database)
    await concluding

    assert await standing(database) == [("dlv_1", "delivered", None, False), ("dlv_2", "pending", None, True)]


async def test_one_added_after_the_first_of_its_key_has_concluded_is_the_first(
    database: Database, endpoint: None
) -> None:
    async with database.transaction() as db:
        await send(db, 1, key="a")
    [first] = await claim(database)
    async with database.transaction() as concluding:
        await conclude(concluding, first)
        adding = asyncio.create_task(_send(database, 2))
        await blocked(database)
    await adding

    assert await standing(database) == [("dlv_1", "delivered", None, False), ("dlv_2", "pending", None, True)]


async def test_of_two_that_add_to_a_key_at_once_one_is_first(database: Database, endpoint: None) -> None:
    await asyncio.gather(*(_send(database, number) for number in range(1, 9)))

    firsts = [row for row in await standing(database) if row[2] is None]
    assert len(firsts) == 1


async def _resume(database: Database) -> None:
    async with database.transaction() as db:
        await resume(db)


async def _hold(database: Database, claimed: Claimed) -> None:
    async with database.transaction() as db:
        await hold(db, [claimed])


async def conclude(db: AsyncSession, claimed: Claimed) -> None:
    """As a courier does."""
    await order.lock(db, {("ep_1", "a")})
    await store.conclude(db, [delivered(claimed)])
    await order.release_next(db, {("ep_1", "a")}, NOW)


async def _conclude(database: Database, claimed: Claimed) -> None:
    async with database.transaction() as db:
        await conclude(db, claimed)


async def _send(database: Database, number: int) -> None:
    async with database.transaction() as db:
        await send(db, number, key="a")
