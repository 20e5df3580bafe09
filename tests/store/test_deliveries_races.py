"""Deliveries under concurrency: two connections on a real Postgres, at the points where one could undo the other."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from app.deliveries import archive, register, store
from app.deliveries.archive import Wanted
from app.deliveries.models import Delivery, Endpoint
from app.deliveries.relay_key import RelayKey
from app.deliveries.store import Addressed, NewMessage, Outcome
from app.kit.database import Database
from tests.sealed import KEYRING

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


@pytest.fixture
async def endpoint(database: Database) -> Endpoint:
    """A pending endpoint."""
    made = Endpoint(
        id="ep_1", agent_id="agt_1", url="http://x/", state="pending", secret="s", created_at=NOW, updated_at=NOW
    )
    async with database.transaction() as db:
        await db.execute(text("insert into agents (id, created_at) values ('agt_1', :at)"), {"at": NOW})
        db.add(made)
    return made


async def send(database: Database, *numbers: int, endpoint_id: str = "ep_1") -> None:
    async with database.transaction() as db:
        messages = [NewMessage(f"msg_{n}", None, "t", "{}") for n in numbers]
        await store.add(db, messages, [Addressed(f"dlv_{n}", f"msg_{n}", endpoint_id) for n in numbers], NOW)


async def claim(database: Database, now: datetime = NOW, limit: int = 100) -> list[store.Claimed]:
    async with database.transaction() as db:
        return list(await store.claim(db, now, 60, limit))


async def rows(database: Database) -> dict[str, Delivery]:
    async with database.transaction() as db:
        return {d.id: d for d in await store_all(db)}


async def store_all(db) -> list[Delivery]:
    return [row[0] for row in (await archive.deliveries(db, "agt_1", Wanted(), None, 100)).rows]


def delivered(claimed: store.Claimed, status: int = 204) -> Outcome:
    return Outcome(
        id=claimed.id,
        attempts=claimed.attempts,
        number=claimed.attempts,
        state="delivered",
        reason=None,
        due_at=None,
        concluded_at=NOW,
        started_at=NOW,
        duration_ms=5,
        lookup_ms=None,
        connect_ms=None,
        tls_ms=None,
        wait_ms=5,
        read_ms=0,
        status=status,
        error=None,
        response_excerpt=None,
    )


async def test_two_claimers_never_take_the_same_delivery(database, endpoint) -> None:
    await send(database, *range(50))

    batches = await asyncio.gather(*(claim(database, limit=20) for _ in range(4)))

    ids = [claimed.id for batch in batches for claimed in batch]
    assert len(ids) == len(set(ids)) == 50


async def test_a_claim_is_nobodys_until_its_lease_ends(database, endpoint) -> None:
    await send(database, 1)
    await claim(database)

    assert await claim(database, NOW + timedelta(seconds=59)) == []
    [again] = await claim(database, NOW + timedelta(seconds=60))
    assert again.attempts == 2


async def test_a_conclusion_after_the_lease_was_lost_records_its_attempt_and_changes_nothing(
    database, endpoint
) -> None:
    await send(database, 1)
    [first] = await claim(database)
    [second] = await claim(database, NOW + timedelta(seconds=60))

    async with database.transaction() as db:
        late = await store.conclude(db, [delivered(first)])
        between = (await db.get_one(Delivery, "dlv_1")).state
    async with database.transaction() as db:
        ours = await store.conclude(db, [delivered(second)])
        attempts = await archive.attempts(db, "dlv_1")

    assert (late, between, ours) == (set(), "pending", {"dlv_1"})
    assert [attempt.number for attempt in attempts] == [1, 2]


async def test_a_conclusion_that_is_written_twice_counts_once(database, endpoint) -> None:
    await send(database, 1)
    [claimed] = await claim(database)

    async with database.transaction() as db:
        first = await store.conclude(db, [delivered(claimed)])
    async with database.transaction() as db:
        second = await store.conclude(db, [delivered(claimed)])
        attempts = await archive.attempts(db, "dlv_1")

    assert (first, second, len(attempts)) == ({"dlv_1"}, set(), 1)


async def test_a_cancelled_delivery_is_not_taken_back_by_an_answer_in_flight(database, endpoint) -> None:
    await send(database, 1)
    [claimed] = await claim(database)
    async with database.transaction() as db:
        await archive.cancel(db, ["dlv_1"], "cancelled by its owner", NOW)

    async with database.transaction() as db:
        await store.conclude(db, [delivered(claimed)])

    assert (await rows(database))["dlv_1"].state == "cancelled"


async def test_conclusions_and_the_end_of_their_endpoint_never_wait_in_a_circle(database, endpoint) -> None:
    await send(database, *range(400))
    claimed = await claim(database, limit=400)
    await _lay_down_backwards(database)

    async def conclude(mine: list[store.Claimed]) -> set[str]:
        async with database.transaction() as db:
            return await store.conclude(db, [delivered(each) for each in mine])

    async def cancel() -> set[str]:
        async with database.transaction() as db:
            left = await archive.on_their_way(db, "ep_1", 1_000)
            return {each.id for each in await archive.cancel(db, left, "the endpoint was deleted", NOW)}

    middle = sorted(each.id for each in claimed)[200]
    async with database.transaction() as holding:
        await holding.execute(text("select 1 from deliveries where id = :id for update"), {"id": middle})
        ending = [asyncio.create_task(conclude(sorted(claimed, reverse=True))), asyncio.create_task(cancel())]
        await blocked(database, 2)
    ended = await asyncio.gather(*ending)

    # Each of them once, by whichever came first.
    assert sorted(id for ids in ended for id in ids) == sorted(each.id for each in claimed)


async def _lay_down_backwards(database: Database) -> None:
    """Have the rows stand in the table from the last to the first, and the planner know how many there are: then it
    reads them from end to end."""
    async with database.transaction() as db:
        rows = await db.execute(text("select id from deliveries order by id desc"))
        for id in rows.scalars():
            await db.execute(text("update deliveries set unsent = unsent where id = :id"), {"id": id})
        await db.execute(text("analyze deliveries"))


async def test_a_delivery_for_an_endpoint_that_is_no_more_is_not_made(database, endpoint) -> None:
    await send(database, 1, endpoint_id="ep_2")

    assert await rows(database) == {}


async def test_two_processes_that_need_the_first_relay_key_get_the_same(database) -> None:
    async def get() -> str:
        async with database.transaction() as db:
            [key] = await RelayKey(KEYRING).get(db, NOW)
            return key.public.keyid

    keyids = await asyncio.gather(*(get() for _ in range(5)))

    async with database.transaction() as db:
        [stored] = await register.signing_keys(db, "webhooks")
    assert set(keyids) == {stored.kid}


async def blocked(database: Database, count: int = 1) -> None:
    """Return once so many connections wait for a lock that another holds."""
    question = text(
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    )
    async with asyncio.timeout(10):
        while True:
            async with database.transaction() as db:
                if (await db.scalar(question) or 0) >= count:
                    return
            await asyncio.sleep(0.01)
