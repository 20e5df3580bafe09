"""Messages, deliveries and attempts by the week: rooms are made before they are needed, and dropped when all in them is
too old and has come to its end."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from app.deliveries import partitions, store, weeks
from app.deliveries.store import Addressed, NewMessage
from app.deliveries.weeks import PREFIXES, Week, week_of, weeks_ahead
from app.kit.database import Database
from app.kit.due import drain
from app.kit.ids import Ids
from app.services import Services
from tests.scheduling import AGENT, ENDPOINT, execute, rows
from tests.world import OwnClock

# Far from the weeks that the migration made, whatever the day on which this runs.
THEN = datetime(2031, 3, 4, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def partitions_of_the_migration(database: Database) -> AsyncIterator[None]:
    """What a test makes, it does not leave behind."""
    async with database.transaction() as db:
        before = await partitions.existing(db)
    yield
    async with database.transaction() as db:
        for name in await partitions.existing(db) - before:
            await db.execute(text(f"drop table {name}"))


@pytest.fixture
def then(clock: OwnClock) -> OwnClock:
    clock.at = THEN
    return clock


async def send(database: Database, at: datetime, subject: str | None = None) -> str:
    """A delivery of that moment, due then; returns its id."""
    ids = Ids(lambda: int(at.timestamp() * 1000))
    message, delivery = NewMessage(ids.new("msg"), AGENT, "t", "{}", subject), ids.new("dlv")
    async with database.transaction() as db:
        await store.add(db, [message], [Addressed(delivery, message.id, ENDPOINT)], at)
    return delivery


async def conclude(database: Database, delivery_id: str) -> None:
    await execute(
        database,
        "update deliveries set state = 'delivered', due_at = null, concluded_at = created_at where id = :id",
        id=delivery_id,
    )
    await execute(
        database,
        "insert into attempts (delivery_id, number, started_at, duration_ms) values (:id, 1, :at, 1)",
        id=delivery_id,
        at=THEN,
    )


async def where(database: Database, table: str, key: str = "id") -> dict[str, str]:
    """Which partition each row of a table is in."""
    found = await rows(database, f"select {key} as id, tableoid::regclass::text as part from {table}")
    return {row.id: row.part for row in found}


async def retain(services: Services) -> None:
    await drain(services.deliveries.retention.make_room_next)
    await drain(services.deliveries.retention.expire_next)
    await drain(services.deliveries.retention.drop_next)


async def test_weeks_are_made_before_they_come(owned, services, then) -> None:
    await retain(services)

    async with owned.transaction() as db:
        there = await partitions.existing(db)
    ahead = [week_of(THEN + timedelta(weeks=n)) for n in range(weeks.ahead_weeks + 1)]
    assert {week.partition_of(table) for week in ahead for table in PREFIXES} <= there
    in_time = await send(owned, THEN + timedelta(weeks=1))
    assert (await where(owned, "deliveries"))[in_time] == "deliveries_20310310"


async def test_what_came_before_its_week_was_made_moves_there(owned, services, then) -> None:
    early, stranger = await send(owned, THEN), await send(owned, THEN + timedelta(weeks=50))
    await conclude(owned, early)

    before = await where(owned, "deliveries")
    await retain(services)

    assert set(before.values()) == {"deliveries_other"}
    assert await where(owned, "deliveries") == {early: "deliveries_20310303", stranger: "deliveries_other"}
    assert await where(owned, "attempts", "delivery_id") == {early: "attempts_20310303"}
    assert sorted((await where(owned, "messages")).values()) == ["messages_20310303", "messages_other"]


async def test_a_week_is_dropped_when_all_of_it_is_too_old(owned, services, then) -> None:
    await retain(services)
    old, young = await send(owned, THEN), await send(owned, THEN + timedelta(weeks=1))
    await conclude(owned, old)
    await conclude(owned, young)

    # The week ends on the 10th at 0:00; an hour and 30 days later is the 9th of April, 1:00.
    then.at = datetime(2031, 4, 9, 0, 59, tzinfo=UTC)
    await retain(services)
    kept = set(await where(owned, "deliveries"))
    then.at = datetime(2031, 4, 9, 1, tzinfo=UTC)
    await retain(services)

    assert kept == {old, young}
    assert set(await where(owned, "deliveries")) == {young}
    assert set(await where(owned, "attempts", "delivery_id")) == {young}
    assert len(await where(owned, "messages")) == 1
    async with owned.transaction() as db:
        assert {week_of(THEN).partition_of(table) for table in PREFIXES} & await partitions.existing(db) == set()


@pytest.mark.parametrize(
    "held",
    [
        "due_at = :later",
        "due_at = null, hold = 'lane'",
        "due_at = null, hold = 'order', order_key = 'k'",
    ],
)
async def test_what_is_still_on_its_way_is_given_up_before_it_is_dropped(owned, services, then, held) -> None:
    await retain(services)
    id = await send(owned, THEN)
    values = {"later": THEN + timedelta(days=400)} if ":later" in held else {}
    await execute(owned, f"update deliveries set {held} where id = :id", id=id, **values)

    then.at = THEN + timedelta(days=30, seconds=1)
    await retain(services)

    [given_up] = await rows(owned, "select state, reason, due_at, hold, concluded_at from deliveries")
    assert tuple(given_up) == ("failed", "expired after 30 days", None, None, then.at)
    [told] = await rows(owned, "select subject, data from events where kind = 'delivery.concluded'")
    assert (told.subject, told.data["reason"]) == (id, "expired after 30 days")


async def test_a_run_whose_delivery_expired_is_told(owned, services, then) -> None:
    heard = []

    class Ear:
        async def concluded(self, db, conclusions, now) -> bool:
            heard.extend((each.subject, each.state) for each in conclusions)
            return False

    services.deliveries.listen(Ear())
    await send(owned, THEN, subject="fir_1")

    then.at = THEN + timedelta(days=30, seconds=1)
    await services.deliveries.retention.expire_next()

    assert heard == [("fir_1", "failed")]


async def test_nothing_is_dropped_while_a_delivery_in_it_is_pending(owned, services, then) -> None:
    await retain(services)
    id = await send(owned, THEN)
    then.at = THEN + timedelta(days=60)

    # Its owner holds it, so that it is not given up in this round.
    async with owned.transaction() as holding:
        await holding.execute(text("select from deliveries where id = :id for update"), {"id": id})
        await retain(services)
        async with owned.transaction() as db:
            there = await partitions.existing(db)
    assert week_of(THEN).partition_of("deliveries") in there
    assert week_of(THEN).partition_of("messages") in there
    await retain(services)
    assert await where(owned, "deliveries") == {}


async def test_nobody_waits_long_for_a_week_to_be_dropped(owned, services, then) -> None:
    await retain(services)
    await conclude(owned, await send(owned, THEN))
    then.at = THEN + timedelta(days=60)

    async with owned.transaction() as reading:
        await reading.execute(text("select from deliveries"))
        dropped = await services.deliveries.retention.drop_next()
    assert dropped == 0
    assert await services.deliveries.retention.drop_next() == 1


async def test_two_workers_make_room_once(owned, services, then) -> None:
    async with owned.transaction() as db:
        await partitions.make(db, "deliveries", week_of(THEN))
        await partitions.make(db, "deliveries", week_of(THEN))

    assert await drain(services.deliveries.retention.make_room_next) == len(weeks_ahead(THEN)) * len(PREFIXES) - 1


async def test_what_fits_into_no_week_is_deleted_when_it_is_too_old(owned, services, then) -> None:
    id = await send(owned, THEN)
    await conclude(owned, id)

    then.at = THEN + timedelta(days=31)
    await services.deliveries.retention.drop_next()

    assert await where(owned, "deliveries") == await where(owned, "messages") == {}
    assert await where(owned, "attempts", "delivery_id") == {}


def test_a_week_is_named_by_its_monday() -> None:
    sunday = week_of(datetime(2031, 3, 9, 23, 59, 59, 999999, tzinfo=UTC))
    assert sunday == Week(datetime(2031, 3, 3, tzinfo=UTC)) == weeks.week_named("messages_20310303")
    assert sunday.partition_of("attempts") == "attempts_20310303"
    assert weeks.week_named("messages_other") is None


def test_the_first_id_of_a_week_sorts_before_all_that_are_made_in_it() -> None:
    week = week_of(THEN)
    first, end = week.bounds("messages")
    made = Ids(lambda: int(week.begins.timestamp() * 1000), lambda bits: 0).new("msg")
    last = Ids(lambda: int(week.ends.timestamp() * 1000) - 1, lambda bits: 2**bits - 1).new("msg")
    assert first <= made < last < end
