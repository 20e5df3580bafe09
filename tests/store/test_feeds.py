"""Feeds on a real Postgres: whoever races, dies or joins, each hears one sequence, whole and once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

import pytest
from sqlalchemy import text

from app.kit import limits
from app.kit.database import Database
from app.kit.due import drain
from app.kit.wake import Silence
from app.services import Services
from app.subscriptions import feed_store, store
from app.subscriptions.feeding import Feeding
from app.subscriptions.feeds import Terms
from app.subscriptions.telling import Seen
from tests.feeding import PAYLOAD, SOURCE, Written, found, join, replayed, rung, said
from tests.tripping import Died, Trip
from tests.world import OwnClock

LATEST, BATCH = Terms(), Terms(batch="block")


@pytest.fixture
async def chain(database: Database, services: Services, clock: OwnClock) -> Written:
    await found(database)
    written = Written(database, services, clock)
    await written.look(add=written.grow(0))
    return written


@pytest.fixture
def feeder(services: Services, clock: OwnClock, database: Database) -> Callable[[], Feeding]:
    """Makes workers that feed."""
    return lambda: Feeding(database.transaction, clock, Silence(), services.deliveries)


async def feed_at_once(*feeders: Feeding) -> None:
    """Until nobody finds anything to do: one that found nothing may only have been passed by."""
    while sum(await asyncio.gather(*(drain(each.feed_next) for each in feeders))):
        pass


async def due(database: Database) -> int:
    async with database.transaction() as db:
        return (await db.scalars(text("select count(*) from feeds where due_at is not null"))).one()


async def test_all_hear_the_same_sequence(database: Database, chain: Written, feeder: Callable[[], Feeding]) -> None:
    feed_id = await join(database, LATEST, "ep_1", "ep_2")
    await chain.look(add=chain.grow(2, 0, 1))
    await drain(feeder().feed_next)
    bodies = await said(database, feed_id)
    assert replayed(bodies) == chain.reading(head=100)
    assert await rung(database) == {"ep_1": bodies, "ep_2": bodies}


async def test_what_no_feed_waits_for_is_not_looked_at(database: Database, chain: Written) -> None:
    for terms in (LATEST, Terms("finalized"), Terms("confirmations:5")):
        await join(database, terms, "ep_1")
    await chain.look(add=chain.grow(0, 0, 0), finalized=2)
    assert await due(database) == 0
    await chain.look(add=chain.grow(1), finalized=3)
    assert await due(database) == 1  # who wants it at once; the others have nothing to say yet


async def test_two_feeders_make_one_sequence(
    database: Database, chain: Written, feeder: Callable[[], Feeding], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "feeding_events_max", 3)
    monkeypatch.setattr(limits, "feed_deliveries_max", 4)
    feeds = [await join(database, terms, "ep_1", "ep_2", "ep_3") for terms in (LATEST, BATCH)]
    await chain.look(add=chain.grow(4, 3, 0, 2))
    await feed_at_once(feeder(), feeder(), feeder())
    for feed_id in feeds:
        assert replayed(await said(database, feed_id)) == chain.reading(head=100)
    heard = await rung(database)
    for endpoint_id in ("ep_1", "ep_2", "ep_3"):
        assert sorted(heard[endpoint_id]) == sorted([body for id in feeds for body in await said(database, id)])


async def test_whoever_dies_wherever_nothing_is_lost_or_said_twice(
    database: Database,
    chain: Written,
    services: Services,
    clock: OwnClock,
    feeder: Callable[[], Feeding],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "feed_deliveries_max", 2)
    feed_id = await join(database, LATEST, "ep_1", "ep_2", "ep_3")
    await chain.look(add=chain.grow(1, 2))
    deaths = 0
    for steps in range(60):
        doomed = Feeding(Trip(database, steps).transaction, clock, Silence(), services.deliveries)
        with suppress(Died):
            await doomed.feed_next()
            continue
        deaths += 1
    await drain(feeder().feed_next)
    bodies = await said(database, feed_id)
    assert deaths > 10
    assert replayed(bodies) == chain.reading(head=100)
    assert await rung(database) == {name: bodies for name in ("ep_1", "ep_2", "ep_3")}


async def test_who_joins_or_leaves_while_an_entry_goes_out_in_parts(
    database: Database, chain: Written, feeder: Callable[[], Feeding], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "feed_deliveries_max", 5)
    names = [f"ep_{number:02}" for number in range(20)]
    feed_id = await join(database, LATEST, *names)
    await chain.look(add=chain.grow(2))
    worker = feeder()
    await worker.feed_next()
    await join(database, LATEST, "ep_00a", "ep_19a")
    async with database.transaction() as db:
        await db.execute(text("delete from subscriptions where endpoint_id in ('ep_02', 'ep_07')"))
    await drain(worker.feed_next)
    await chain.look(add=chain.grow(1))
    await drain(worker.feed_next)
    first, second, third = await said(database, feed_id)
    heard = await rung(database)
    # Who was rung before it left has heard that much; who joined begins with what was not said yet.
    assert heard.pop("ep_02") == [first]
    assert "ep_07" not in heard
    assert heard.pop("ep_00a") == heard.pop("ep_19a") == [third]
    assert heard == {name: [first, second, third] for name in names if name not in {"ep_02", "ep_07"}}


async def test_a_source_that_moves_while_it_is_read_is_read_to_the_end(
    database: Database, chain: Written, feeder: Callable[[], Feeding]
) -> None:
    feed_id = await join(database, LATEST, "ep_1")

    async def move() -> None:
        for _ in range(20):
            await chain.look(add=chain.grow(1))

    moving = asyncio.create_task(move())
    worker = feeder()
    while not moving.done():
        await worker.feed_next()
        await asyncio.sleep(0)
    await moving
    await drain(worker.feed_next)
    assert await due(database) == 0
    assert replayed(await said(database, feed_id)) == chain.reading(head=100)


async def test_a_feed_that_nobody_hears_rests_and_goes_on_where_it_was(
    database: Database, chain: Written, feeder: Callable[[], Feeding]
) -> None:
    worker = feeder()
    feed_id = await join(database, LATEST, "ep_1")
    await chain.look(add=chain.grow(1))
    await drain(worker.feed_next)
    async with database.transaction() as db:
        await db.execute(text("delete from subscriptions"))
        await feed_store.rest_unheard(db, feed_id, chain.clock.at)
    await chain.look(add=chain.grow(1))
    assert await worker.feed_next() == 0
    await join(database, LATEST, "ep_2")
    # What it told before is not taken back: nobody is left who was told.
    await chain.look(undo=2, add=chain.grow(1, number=2))
    await drain(worker.feed_next)
    bodies = await said(database, feed_id)
    assert len(bodies) == 2
    heard = await rung(database)
    assert heard["ep_2"] == bodies[1:]


async def test_what_is_large_is_read_and_sent_in_parts(
    database: Database, chain: Written, feeder: Callable[[], Feeding], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Less than a single one has: each is a part of its own.
    monkeypatch.setattr(limits, "feeding_bytes_max", len(str(PAYLOAD)) // 2)
    feed_id = await join(database, LATEST, "ep_1", "ep_2")
    await chain.look(add=chain.grow(3, 2))
    worker, steps = feeder(), 0
    while await worker.feed_next():
        steps += 1
    assert steps == 5
    await chain.look(undo=2, add=chain.grow(1, number=2))
    await drain(worker.feed_next)
    bodies = await said(database, feed_id)
    assert replayed(bodies) == chain.reading(head=100)
    assert await rung(database) == {"ep_1": bodies, "ep_2": bodies}


async def test_a_page_holds_as_much_as_may_be_read_at_once(
    database: Database, chain: Written, feeder: Callable[[], Feeding], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed_id = await join(database, LATEST)
    await chain.look(add=chain.grow(4))
    await drain(feeder().feed_next)
    first, *_ = [len(body) for body in await said(database, feed_id)]

    async def page(after: int, bytes_max: int) -> list[int]:
        monkeypatch.setattr(limits, "feed_page_bytes_max", bytes_max)
        async with database.transaction() as db:
            return [each.seq for each in await feed_store.entries(db, feed_id, after, 100)]

    assert await page(0, 10**6) == [1, 2, 3, 4]
    assert await page(0, first + 1) == [1, 2]
    assert await page(0, first) == [1]
    assert await page(1, 1) == [2]
    assert await page(4, 1) == []


async def test_a_feed_that_was_forgotten_is_made_again_under_another_id(
    database: Database, services: Services, chain: Written, feeder: Callable[[], Feeding]
) -> None:
    for terms, days in ((LATEST, 31), (Terms(from_block=1), 0)):
        before = await join(database, terms)
        assert await join(database, terms) == before
        async with database.transaction() as db:
            await db.execute(text("delete from subscriptions"))
            await feed_store.rest_unheard(db, before, chain.clock.at)
        chain.clock.advance(days=days)
        await drain(services.subscriptions.forget_next)
        # One that says other things under the same numbers is another feed.
        assert await join(database, terms) != before


async def test_a_feed_of_the_past_is_joined_while_its_beginning_is_there(
    database: Database, services: Services, chain: Written, feeder: Callable[[], Feeding]
) -> None:
    past = Terms(from_block=1)
    feed_id = await join(database, past)
    async with database.transaction() as db:
        await db.execute(text("update feeds set is_catching_up = false, after_block = 0"))
    await chain.look(add=chain.grow(1))
    await drain(feeder().feed_next)
    assert await join(database, past) == feed_id
    chain.clock.advance(days=31)
    await drain(services.subscriptions.forget_next)
    assert await said(database, feed_id) == []
    assert await join(database, past) != feed_id


async def test_an_event_that_comes_back_for_others_only_is_taken_back(
    database: Database, chain: Written, services: Services, feeder: Callable[[], Feeding]
) -> None:
    """Kinds share the ids of their events: what one filter lets through again says nothing of another."""
    feed_id = await join(database, LATEST, "ep_1")
    [block] = chain.grow(1)
    await chain.look(add=[block])
    await drain(feeder().feed_next)
    await chain.look(undo=1, add=chain.grow(0, number=block.number))
    async with database.transaction() as db:
        held = await store.lock_source(db, SOURCE)
        again = Seen(block.events[0], "evm.price", ["flt_2"], PAYLOAD, block.hash, block.number)
        await services.subscriptions.tell(db, held, [again], chain.clock.at)
    await drain(feeder().feed_next)
    assert replayed(await said(database, feed_id)) == []


FINALITIES = ("latest", "safe", "finalized", "confirmations:1", "confirmations:4")


async def walk(chain: Written, feeders: list[Feeding], draw: random.Random, steps: int) -> None:
    """Blocks come and go, heads move on, and feeders look now and then, sometimes two at once, and die."""
    safe = finalized = 1
    for _ in range(steps):
        undo = draw.choice([0, 0, 0, 1, 2, 5])
        undo = min(undo, chain.blocks[-1].number - finalized)
        first = chain.blocks[-1].number - undo + 1
        add = chain.grow(*(draw.choice([0, 0, 1, 2, 3]) for _ in range(draw.randrange(undo, undo + 3))), number=first)
        tip = add[-1].number if add else first - 1
        safe = draw.randint(finalized, max(finalized, tip - 1))
        finalized = draw.randint(finalized, safe)
        heads = {"safe": safe, "finalized": finalized} if draw.random() < 0.9 else {}
        await chain.look(undo, add, **heads)
        if draw.random() < 0.6:
            looking = [asyncio.create_task(each.feed_next()) for each in draw.sample(feeders, draw.choice([1, 2]))]
            if draw.random() < 0.2:
                # It dies somewhere between its first statement and its last.
                for _ in range(draw.randrange(200)):
                    await asyncio.sleep(0)
                looking[0].cancel()
            await asyncio.gather(*looking, return_exceptions=True)
    # Long enough for all that was seen to be final.
    tip = chain.blocks[-1].number + 10
    await chain.look(add=chain.grow(*[0] * 10), safe=tip - 1, finalized=tip - 2)
    await chain.look(safe=tip - 1, finalized=tip - 2)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_a_chain_does_replaying_a_feed_gives_an_independent_reading(
    database: Database, chain: Written, feeder: Callable[[], Feeding], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "feeding_events_max", 4)
    monkeypatch.setattr(limits, "feed_deliveries_max", 5)
    ways = {(finality, batch): Terms(finality, batch) for finality in FINALITIES for batch in (None, "block")}
    feeds = {
        way: await join(database, terms, f"ep_{place}", "ep_all") for place, (way, terms) in enumerate(ways.items())
    }
    await walk(chain, [feeder(), feeder()], random.Random(seed), steps=40)
    await feed_at_once(feeder(), feeder())

    for way, feed_id in feeds.items():
        bodies = await said(database, feed_id)
        assert replayed(bodies) == chain.reading(head=10**9), way
        if way[0] == "finalized":
            assert not any(b"event.retracted" in body for body in bodies)
    heard = await rung(database)
    for place, feed_id in enumerate(feeds.values()):
        assert heard[f"ep_{place}"] == await said(database, feed_id)
    every = [body for feed_id in feeds.values() for body in await said(database, feed_id)]
    assert sorted(heard["ep_all"]) == sorted(every)
    async with database.transaction() as db:
        seq = (await db.scalars(text("select seq from sources where id = :id"), {"id": SOURCE})).one()
        read = (await db.scalars(text("select count(*) from feeds where read_seq <> :seq"), {"seq": seq})).one()
    assert read == 0
