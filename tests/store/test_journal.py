"""The journal shows what happened in an order that no reader can run ahead of."""

import asyncio
import random

from sqlalchemy import text

from app.events import Happened, record, store
from app.kit.database import Database
from tests.store.test_deliveries_races import blocked
from tests.world import EPOCH


def _happened(subject: str) -> Happened:
    return Happened("test.happened", subject, "agt_1", EPOCH, {"n": subject})


async def _seen(database: Database, after: int = 0) -> list[str]:
    async with database.transaction() as db:
        return [event.subject for event in await store.since(db, "agt_1", after, 100)]


async def test_many_are_written_in_the_order_given(database: Database) -> None:
    async with database.transaction() as db:
        await record(db, *[_happened(str(n)) for n in range(20)])
    assert await _seen(database) == [str(n) for n in range(20)]


async def test_an_event_waits_for_an_older_writer_that_has_not_committed(database: Database) -> None:
    async with database.transaction() as slow:
        await record(slow, _happened("early"))
        async with database.transaction() as quick:
            await record(quick, _happened("late"))
        # "late" has committed with the higher number. Shown now, its reader would never see "early".
        assert await _seen(database) == []
    assert await _seen(database) == ["early", "late"]


async def test_an_event_waits_for_a_writer_that_is_younger_than_its_own(database: Database) -> None:
    async with database.transaction() as younger:
        async with database.transaction() as older:
            await older.execute(text("select pg_current_xact_id()"))
            await record(younger, _happened("early"))
            await record(older, _happened("late"))
        # "late" has committed, and every transaction that is as old as its own has ended.
        assert await _seen(database) == []
    assert await _seen(database) == ["early", "late"]


async def test_who_has_written_nothing_holds_no_reader_up(database: Database) -> None:
    async with database.transaction() as idle:
        await idle.execute(text("select pg_current_xact_id()"))
        async with database.transaction() as db:
            await record(db, _happened("shown"))
        assert await _seen(database) == ["shown"]


async def test_no_number_is_drawn_before_it_is_announced(database: Database) -> None:
    async def write() -> None:
        async with database.transaction() as db:
            await record(db, _happened("shown"))

    async with database.transaction() as holding:
        # All that a writer could announce just now: it waits for us with whatever it has done by then.
        drawn = await store.settled(holding)
        keys = {"class": 0x65767473, "drawn": drawn & 0x7FFFFFFF}
        await holding.execute(text("select pg_advisory_xact_lock(:class, :drawn)"), keys)
        writing = asyncio.create_task(write())
        await blocked(database)
        number = (await holding.execute(text("select last_value, is_called from events_seq_seq"))).one()
        assert tuple(number) == ((drawn, True) if drawn else (1, False))
    await writing
    assert await _seen(database) == ["shown"]


async def test_numbers_that_no_longer_fit_a_lock_are_told_apart_all_the_same(database: Database) -> None:
    async with database.transaction() as db:
        await db.execute(text("select setval('events_seq_seq', :at)"), {"at": 2**31 - 2})
    async with database.transaction() as behind:
        async with database.transaction() as before:
            await record(before, *[_happened(str(n)) for n in range(3)])
            await record(behind, _happened("behind"))
            async with database.transaction() as db:
                await record(db, _happened("last"))
            assert await _seen(database) == []
        assert await _seen(database) == ["0", "1", "2"]
    assert await _seen(database) == ["0", "1", "2", "behind", "last"]


async def test_a_reader_who_goes_on_from_the_last_misses_nothing_of_many_writers(database: Database) -> None:
    draw = random.Random(11)
    writing = {f"{writer}.{n}" for writer in range(6) for n in range(12)}

    async def write(writer: int) -> None:
        for n in range(12):
            async with database.transaction() as db:
                for _ in range(draw.randrange(3)):
                    await db.execute(text("select pg_current_xact_id()"))
                await record(db, _happened(f"{writer}.{n}"))
                for _ in range(draw.randrange(3)):
                    await db.execute(text("select 1"))

    read = list[store.Event]()
    tasks = [asyncio.create_task(write(writer)) for writer in range(6)]
    while len(read) < len(writing):
        # Asked before reading: what has been written by then is all to be seen.
        have_ended = all(task.done() for task in tasks)
        async with database.transaction() as db:
            read += await store.since(db, "agt_1", read[-1].seq or 0 if read else 0, 100)
        assert len(read) == len(writing) or not have_ended
    await asyncio.gather(*tasks)

    assert {event.subject for event in read} == writing
    assert [event.seq for event in read] == sorted(event.seq or 0 for event in read)


async def test_what_is_rolled_back_never_happened(database: Database) -> None:
    async with database.transaction() as db:
        await record(db, _happened("kept"))
    async with database.transaction() as db:
        await record(db, _happened("lost"))
        await db.rollback()
    assert await _seen(database) == ["kept"]


async def test_the_newest_come_first_and_go_no_further_than_the_oldest_writer_allows(database: Database) -> None:
    async with database.transaction() as db:
        await record(db, *[_happened(str(n)) for n in range(5)])
    async with database.transaction() as slow:
        await record(slow, _happened("early"))
        async with database.transaction() as quick:
            await record(quick, _happened("late"))
        async with database.transaction() as db:
            shown = await store.newest(db, "agt_1", 10**18, 0, 2)
            before = await store.newest(db, "agt_1", shown[-1].seq or 0, 0, 2)
    assert [event.subject for event in (*shown, *before)] == ["4", "3", "2", "1"]
