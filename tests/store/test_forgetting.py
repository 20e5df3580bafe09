"""What is too old goes, and nothing that a feed has yet to tell, or may have to take back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import text

from app.kit import limits
from app.kit.database import Database
from app.kit.due import drain
from app.services import Services
from app.subscriptions import feed_store
from app.subscriptions.feeds import Terms
from tests.feeding import Written, found, join, replayed, said
from tests.world import OwnClock


@pytest.fixture
async def chain(database: Database, services: Services, clock: OwnClock) -> Written:
    await found(database)
    written = Written(database, services, clock)
    await written.look(add=written.grow(0))
    return written


async def events(database: Database) -> Sequence[str]:
    async with database.transaction() as db:
        return (await db.scalars(text("select event_id from sightings order by seq"))).all()


async def count(database: Database, table: str) -> int:
    async with database.transaction() as db:
        return (await db.scalars(text(f"select count(*) from {table}"))).one()


async def test_what_is_old_and_deep_goes(database: Database, services: Services, chain: Written) -> None:
    feed_id = await join(database, Terms(), "ep_1")
    await chain.look(add=chain.grow(2))
    await drain(services.subscriptions.feed_next)
    chain.clock.advance(days=31)
    await chain.look(add=chain.grow(*[0] * limits.chain_ring_blocks_longest, 1))
    await drain(services.subscriptions.feed_next)
    await drain(services.subscriptions.forget_next)
    [newest] = await events(database)
    assert newest == chain.blocks[-1].events[0]
    assert (await count(database, "matches"), await count(database, "told_events")) == (1, 1)
    # The sequence goes on from where it was.
    [body] = await said(database, feed_id)
    assert b'"seq":3' in body


async def test_what_the_chain_may_take_back_stays(database: Database, services: Services, chain: Written) -> None:
    feed_id = await join(database, Terms(), "ep_1")
    await chain.look(add=chain.grow(1))
    await drain(services.subscriptions.feed_next)
    # A chain that stood still for a month.
    chain.clock.advance(days=31)
    told = await said(database, feed_id)
    await drain(services.subscriptions.forget_next)
    assert len(await events(database)) == 1
    await chain.look(undo=1, add=chain.grow(0, number=2))
    await drain(services.subscriptions.feed_next)
    assert replayed([*told, *await said(database, feed_id)]) == []


async def test_what_the_longest_ring_may_take_back_stays(
    database: Database, services: Services, chain: Written
) -> None:
    feed_id = await join(database, Terms(), "ep_1")
    await chain.look(add=chain.grow(1))
    await drain(services.subscriptions.feed_next)
    # Operators may have more blocks remembered than usual.
    await chain.look(add=chain.grow(*[0] * (limits.chain_ring_blocks_max + 1)))
    told = await said(database, feed_id)
    chain.clock.advance(days=31)
    await drain(services.subscriptions.forget_next)
    await chain.look(undo=limits.chain_ring_blocks_max + 2, add=chain.grow(0, number=2))
    await drain(services.subscriptions.feed_next)
    assert replayed([*told, *await said(database, feed_id)]) == []


async def test_what_is_not_final_yet_stays(database: Database, services: Services, chain: Written) -> None:
    feed_id = await join(database, Terms("finalized"), "ep_1")
    await chain.look(add=chain.grow(1))
    await drain(services.subscriptions.feed_next)
    chain.clock.advance(days=31)
    await chain.look(add=chain.grow(*[0] * limits.chain_ring_blocks_longest))
    await drain(services.subscriptions.forget_next)
    assert len(await events(database)) == 1
    await chain.look(finalized=100)
    await drain(services.subscriptions.feed_next)
    assert replayed(await said(database, feed_id)) == [chain.blocks[1].events[0]]


async def test_what_is_not_sent_yet_stays(database: Database, services: Services, chain: Written) -> None:
    await join(database, Terms(), "ep_1")
    await chain.look(add=chain.grow(1))
    await drain(services.subscriptions.feed_next)
    async with database.transaction() as db:
        await db.execute(text("update feeds set sent_seq = 0"))
    chain.clock.advance(days=31)
    await drain(services.subscriptions.forget_next)
    assert await count(database, "feed_entries") == 1


async def test_what_is_young_stays(database: Database, services: Services, chain: Written) -> None:
    await join(database, Terms(), "ep_1")
    await chain.look(add=chain.grow(1))
    await chain.look(add=chain.grow(*[0] * limits.chain_ring_blocks_longest))
    await drain(services.subscriptions.feed_next)
    chain.clock.advance(days=29)
    assert await services.subscriptions.forget_next() == 0
    assert len(await events(database)) == 1


async def test_a_feed_that_nobody_hears_goes_in_the_end(database: Database, services: Services, chain: Written) -> None:
    feed_id = await join(database, Terms(), "ep_1")
    await chain.look(add=chain.grow(1))
    await drain(services.subscriptions.feed_next)
    async with database.transaction() as db:
        await db.execute(text("delete from subscriptions"))
        await feed_store.rest_unheard(db, feed_id, chain.clock.at)
    chain.clock.advance(days=29)
    await drain(services.subscriptions.forget_next)
    assert await count(database, "feeds") == 1
    chain.clock.advance(days=2)
    await drain(services.subscriptions.forget_next)
    assert [await count(database, table) for table in ("feeds", "feed_entries", "told_events")] == [0, 0, 0]
