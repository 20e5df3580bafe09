"""Who cancels, sends again, deletes or expires what carries an order key never waits in a circle with who concludes."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import archive, order, partitions, store
from app.deliveries.models import Endpoint
from app.deliveries.store import Addressed, NewMessage
from app.kit.database import Database
from tests.store.test_deliveries_races import blocked, delivered

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
KEY = ("ep_1", "a")
IDS = ["dlv_1", "dlv_2", "dlv_3"]


@pytest.fixture
async def endpoint(database: Database) -> None:
    """An endpoint with three deliveries of one key on their way."""
    async with database.transaction() as db:
        await db.execute(text("insert into agents (id, created_at) values ('agt_1', :at)"), {"at": NOW})
        db.add(
            Endpoint(
                id="ep_1", agent_id="agt_1", url="http://x/", state="active", secret="s", created_at=NOW, updated_at=NOW
            )
        )
    async with database.transaction() as db:
        messages = [NewMessage(f"msg_{id}", None, "t", "{}", order_key="a") for id in IDS]
        to = [Addressed(id, f"msg_{id}", "ep_1", "a", id != "dlv_1") for id in IDS]
        await store.add(db, messages, to, NOW)


async def cancel(db: AsyncSession) -> None:
    """The very next, as its owner does."""
    assert await archive.delivery(db, "agt_1", "dlv_2", lock=True) is not None
    await archive.cancel(db, ["dlv_2"], "cancelled by its owner", NOW)
    await order.release_next(db, {KEY}, NOW)


async def cancel_all(db: AsyncSession) -> None:
    """As the deletion of their endpoint does."""
    left = await archive.on_their_way(db, "ep_1", 10)
    await archive.lock_keys(db, left)
    await archive.cancel(db, left, "the endpoint was deleted", NOW)
    await order.release_next(db, {KEY}, NOW)


async def expire(db: AsyncSession) -> None:
    # Short as they are, these ids sort behind the first of any moment but a late one.
    await partitions.expire(db, datetime(9000, 1, 1, tzinfo=UTC), "expired", NOW, 10)
    await order.release_next(db, {KEY}, NOW)


async def redeliver(db: AsyncSession) -> None:
    assert await archive.delivery(db, "agt_1", "dlv_2", lock=True) is not None
    await archive.set_off(db, ["dlv_2"], ["cancelled"], NOW)


@pytest.mark.parametrize("act", [cancel, cancel_all, expire, redeliver])
async def test_who_comes_while_the_first_is_concluded_does_not_hold_the_next(
    database: Database, endpoint: None, act: Callable[[AsyncSession], Awaitable[None]]
) -> None:
    async with database.transaction() as db:
        [first] = await store.claim(db, NOW, 60, 10)

    async def acting() -> None:
        async with database.transaction() as db:
            await act(db)

    async with database.transaction() as concluding:
        await order.lock(concluding, {KEY})
        await store.conclude(concluding, [delivered(first)])
        waiting = asyncio.create_task(acting())
        await blocked(database)
        await order.release_next(concluding, {KEY}, NOW)
    await waiting

    async with database.transaction() as db:
        rows = await db.execute(text("select id, state, hold from deliveries order by id"))
        standing = {row.id: (row.state, row.hold) for row in rows}
    firsts = [id for id, now_is in standing.items() if now_is == ("pending", None)]
    waits = [id for id, now_is in standing.items() if now_is == ("pending", "order")]
    assert standing["dlv_1"] == ("delivered", None)
    # Of what is on its way still, one is the first, and nobody is left behind one that is not.
    assert len(firsts) == min(1, len(firsts) + len(waits))


async def test_when_the_first_and_the_next_are_cancelled_at_once_the_one_behind_them_goes(
    database: Database, endpoint: None
) -> None:
    async def cancelled(id: str) -> None:
        async with database.transaction() as db:
            await archive.delivery(db, "agt_1", id, lock=True)
            await archive.cancel(db, [id], "cancelled by its owner", NOW)
            await order.release_next(db, {KEY}, NOW)

    await asyncio.gather(cancelled("dlv_2"), cancelled("dlv_1"))

    async with database.transaction() as db:
        rows = await db.execute(text("select id from deliveries where state = 'pending' and hold is null"))
        assert list(rows.scalars()) == ["dlv_3"]
