"""The journal shows what happened in an order that no reader can run ahead of."""

from app.events import Happened, record, store
from app.kit.database import Database
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
