"""Runs that wait for one another, on a real Postgres: whatever races, the journal tells one story."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import pytest
from sqlalchemy import text

from app.deliveries.conclusions import Concluded
from app.kit.database import Database
from app.kit.due import drain
from app.schedules.entries import fire_id
from app.schedules.timekeeper import Timekeeper
from app.services import Services
from tests.scheduling import AGENT, ENDPOINT, add, add_fire, at, execute, journal, rows, rung, states, work
from tests.world import OwnClock
from tocsin.schemas.schedules import PatchSchedule
from tocsin.schemas.webhooks import SchedulePaused

NewKeeper = Callable[[], Timekeeper]
second = {"every": "PT1S"}


async def conclude(
    services: Services,
    slot: datetime,
    state: Literal["delivered", "failed", "cancelled"] = "delivered",
    answer: bytes = b"",
    kind: str = "auto",
) -> bool:
    """What the courier does once the delivery of a slot's ring is on its way no more."""
    async with services.database.transaction() as db:
        now = await services.clock.now(db)
        [(id_,)] = [
            (row.id,)
            for row in await rows(services.database, "select id, scheduled_at, kind from fires")
            if row.scheduled_at == slot and row.kind == kind
        ]
        return await services.schedules.concluded(db, [Concluded(id_, "dlv_1", state, answer)], now)


async def come(keeper: Timekeeper, clock: OwnClock, seconds: float) -> None:
    clock.at = at(seconds)
    await work(keeper)


async def of_journal(database: Database, upto: float) -> list[str]:
    """What has become of the slots up to a time."""
    return [reason or state for slot, state, reason in await journal(database) if slot <= at(upto)]


async def test_a_slot_passes_while_a_run_is_outstanding_and_fires_once_it_has_ended(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    await add(owned, second, at(1), overlap="skip")
    worker = keeper()
    await work(worker)
    for moment in (1, 2, 3):
        await come(worker, clock, moment)
    assert await of_journal(owned, 3) == ["fired", "overlap", "overlap"]

    await conclude(services, at(1))
    await come(worker, clock, 4)
    assert await of_journal(owned, 4) == ["fired", "overlap", "overlap", "fired"]
    [skips] = await rows(owned, "select reason, count from schedule_skips")
    assert tuple(skips) == ("overlap", 2)
    [first] = await rows(owned, "select outstanding, completed_at, delivery_id from fires where run = 1")
    assert (first.outstanding, first.completed_at) == (False, at(3))
    assert first.delivery_id is not None


async def test_one_waits_and_those_after_it_find_its_place_taken(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    await add(owned, second, at(1), overlap="buffer_one")
    worker = keeper()
    await work(worker)
    for moment in (1, 2, 3):
        await come(worker, clock, moment)
    assert await of_journal(owned, 3) == ["fired", "buffered", "buffer_full"]
    [waiting] = await rows(owned, "select due_at, outstanding from fires where state = 'buffered'")
    assert tuple(waiting) == (None, False)

    clock.at = at(3.5)
    assert await conclude(services, at(1))
    await work(worker)
    assert await of_journal(owned, 3) == ["fired", "fired", "buffer_full"]
    assert [body["data"]["fired_at"] for body in await rung(owned)] == [
        "2026-11-22T09:00:01.000Z",
        "2026-11-22T09:00:03.500Z",
    ]


async def test_all_that_wait_fire_in_order_one_at_a_time(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    await add(owned, second, at(1), overlap="buffer_all", buffer_max=3)
    worker = keeper()
    await work(worker)
    for moment in range(1, 7):
        await come(worker, clock, moment)
    assert await of_journal(owned, 6) == ["fired", *["buffered"] * 3, *["buffer_full"] * 2]
    for moment in (1, 2, 3):
        assert await conclude(services, at(moment))
        await work(worker)
        assert await of_journal(owned, 4) == [*["fired"] * (moment + 1), *["buffered"] * (3 - moment)]
    told = await rows(owned, "select kind from events where kind = 'fire.buffered'")
    assert len(told) == 3


async def test_several_slots_of_one_batch_are_judged_one_after_the_other(
    owned: Database, keeper: NewKeeper, clock: OwnClock
) -> None:
    await add(owned, second, at(1), overlap="buffer_one")
    await add(owned, second, at(1), overlap="skip")
    worker = keeper()
    await work(worker)
    clock.at = at(3)
    assert await worker.fire_next() == 6
    told = await rows(
        owned,
        """
        select s.overlap, coalesce(f.reason, f.state) from fires f join schedules s on s.id = f.schedule_id
        where f.scheduled_at <= '2026-11-22T09:00:03Z' order by s.overlap, f.scheduled_at
        """,
    )
    assert [tuple(row) for row in told] == [
        ("buffer_one", "fired"),
        ("buffer_one", "buffered"),
        ("buffer_one", "buffer_full"),
        ("skip", "fired"),
        ("skip", "overlap"),
        ("skip", "overlap"),
    ]


async def test_racing_workers_let_one_run_through_at_a_time(
    owned: Database, keeper: NewKeeper, clock: OwnClock
) -> None:
    for _ in range(20):
        await add(owned, second, at(1), overlap="skip")
        await add(owned, second, at(1), overlap="buffer_one")
    workers = [keeper(), keeper(), keeper()]
    for moment in range(4):
        clock.at = at(moment)
        await asyncio.gather(*(work(worker) for worker in workers))
    counted = await rows(
        owned,
        """
        select s.overlap, f.state, f.reason, count(*) from fires f join schedules s on s.id = f.schedule_id
        where f.scheduled_at <= '2026-11-22T09:00:03Z' group by 1, 2, 3 order by 1, 2, 3
        """,
    )
    assert [tuple(row) for row in counted] == [
        ("buffer_one", "buffered", None, 20),
        ("buffer_one", "fired", None, 20),
        ("buffer_one", "skipped", "buffer_full", 20),
        ("skip", "fired", None, 20),
        ("skip", "skipped", "overlap", 40),
    ]


async def test_conclusions_and_workers_that_race_never_let_two_runs_be_outstanding(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    for _ in range(10):
        await add(owned, second, at(1), overlap="buffer_all")
    workers = [keeper(), keeper()]
    for moment in range(1, 8):
        clock.at = at(moment)
        running = await rows(owned, "select id from fires where outstanding and state = 'fired'")
        told = [Concluded(row.id, "dlv_1", "delivered") for row in running]
        await asyncio.gather(*(work(worker) for worker in workers), *(tell(services, [one]) for one in told))
        most = await rows(owned, "select count(*) from fires where outstanding group by schedule_id")
        assert {row[0] for row in most} <= {1}
    # Whoever is waiting waits behind one that runs: nobody has been forgotten.
    stuck = await rows(
        owned,
        """
        select schedule_id from fires where state = 'buffered'
        group by schedule_id having not exists (
            select from fires f where f.schedule_id = fires.schedule_id and f.outstanding
        )
        """,
    )
    assert stuck == []


async def tell(services: Services, conclusions: list[Concluded], then: Exception | None = None) -> bool:
    async with services.database.transaction() as db:
        has_work = await services.schedules.concluded(db, conclusions, await services.clock.now(db))
        if then is not None:
            raise then
        return has_work


async def test_own_slots_that_wait_come_before_those_of_a_backfill(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    schedule_id = await add(owned, second, at(1), overlap="buffer_all")
    worker = keeper()
    await work(worker)
    await come(worker, clock, 1)
    for moment in (-3, -2):
        await add_fire(owned, schedule_id, at(moment), kind="backfill:1", late=True, overlap="buffer_all")
    await come(worker, clock, 2)
    assert await of_journal(owned, 2) == ["buffered", "buffered", "fired", "buffered"]
    for ended in (1, 2):
        await conclude(services, at(ended))
        await work(worker)
    # Slot 1 gave way to slot 2, and that one to the first of the backfill.
    assert await of_journal(owned, 2) == ["fired", "buffered", "fired", "fired"]
    [told] = [body["data"] for body in await rung(owned) if body["data"]["kind"] == "backfill"]
    assert (told["run"], told["scheduled_at"]) == (None, "2026-11-22T08:59:57.000Z")
    assert told["upcoming"][0] == "2026-11-22T09:00:03.000Z"


async def test_a_triggered_fire_rings_at_once_and_the_slots_wait_for_it(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    schedule_id = await add(owned, second, at(1), overlap="skip")
    await add_fire(owned, schedule_id, at(0), kind="manual:1")
    worker = keeper()
    await work(worker)
    await come(worker, clock, 1)
    assert await of_journal(owned, 1) == ["fired", "overlap"]
    await conclude(services, at(0), kind="manual:1")
    await come(worker, clock, 2)
    assert await of_journal(owned, 2) == ["fired", "overlap", "fired"]


async def test_a_turn_that_is_not_taken_passes_on(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    schedule_id = await add(owned, second, at(1), overlap="buffer_all")
    worker = keeper()
    await work(worker)
    await come(worker, clock, 1)
    await add_fire(owned, schedule_id, at(-3), kind="backfill:1", late=True, overlap="buffer_all")
    await come(worker, clock, 2)
    await conclude(services, at(1))
    # Slot 2 has the turn, and is not fired: its schedule is paused. The backfill goes on.
    await execute(owned, "update schedules set state = 'paused'")
    await work(worker)
    assert await of_journal(owned, 2) == ["fired", "fired", "paused"]


async def test_a_worker_that_dies_with_the_turn_loses_nothing(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    await add(owned, {"union": [{"at": f"2026-11-22T09:00:0{n}Z"} for n in (1, 2)]}, at(1), overlap="buffer_all")
    dying, staying = keeper(), keeper()
    await work(dying)
    await come(dying, clock, 2)
    await conclude(services, at(1))
    await dying.take_over_next()  # and dies here
    await come(staying, clock, 3)
    assert await of_journal(owned, 2) == ["fired", "planned"]
    await come(staying, clock, 7)
    assert await of_journal(owned, 2) == ["fired", "fired"]
    assert len(await rung(owned)) == 2


async def test_a_conclusion_that_is_rolled_back_ends_no_run(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    schedule_id = await add(owned, second, at(1), overlap="buffer_all")
    worker = keeper()
    await work(worker)
    await come(worker, clock, 2)
    concluded = [Concluded(fire_id(schedule_id, "auto", at(1)), "dlv_1", "delivered")]
    with pytest.raises(ConnectionError):
        await tell(services, concluded, then=ConnectionError("the database went away"))
    assert await of_journal(owned, 2) == ["fired", "buffered"]
    assert await tell(services, concluded)
    assert not await tell(services, concluded)  # told again: it had ended
    await work(worker)
    assert await of_journal(owned, 2) == ["fired", "fired"]


async def test_a_fire_whose_schedule_came_to_care_is_judged_under_its_lock(
    owned: Database, keeper: NewKeeper, clock: OwnClock
) -> None:
    await add(owned, second, at(1))
    worker = keeper()
    await work(worker)
    await execute(owned, "update schedules set overlap = 'skip'")
    await come(worker, clock, 3)
    assert await of_journal(owned, 3) == ["fired", "overlap", "overlap"]


async def test_so_many_slots_fire_and_no_more(owned: Database, keeper: NewKeeper, clock: OwnClock) -> None:
    schedule_id = await add(owned, second, at(1), max_fires=2)
    await add_fire(owned, schedule_id, at(0), kind="manual:1")  # counts toward nothing
    workers = [keeper(), keeper()]
    for moment in range(6):
        clock.at = at(moment)
        await asyncio.gather(*(work(worker) for worker in workers))
    told = await states(owned)
    assert told[:3] == ["fired", "fired", "fired"]
    assert set(told[3:]) <= {"max_fires"}
    [schedule] = await rows(owned, "select state, next_fire, fired from schedules")
    assert tuple(schedule) == ("completed", None, 2)
    assert [row.kind for row in await rows(owned, "select kind from events where subject like 'sch_%'")] == [
        "schedule.completed"
    ]


async def test_a_slot_that_passes_uses_up_nothing(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    await add(owned, second, at(1), max_fires=2, overlap="skip")
    worker = keeper()
    await work(worker)
    for moment in (1, 2, 3):
        await come(worker, clock, moment)
    await conclude(services, at(1))
    for moment in (4, 5):
        await come(worker, clock, moment)
    assert (await states(owned))[:5] == ["fired", "overlap", "overlap", "fired", "max_fires"]


async def test_a_run_with_a_report_is_outstanding_until_it_is_reported(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    schedule_id = await add(owned, second, at(1), overlap="skip", completion="report", completion_seconds=60)
    worker = keeper()
    await work(worker)
    await come(worker, clock, 1)
    assert not await conclude(services, at(1), answer=b'{"completed": false}')
    await come(worker, clock, 2)
    assert await of_journal(owned, 2) == ["fired", "overlap"]
    async with owned.transaction() as db:
        await services.schedules.runs.report(db, fire_id(schedule_id, "auto", at(1)), schedule_id, at(2))
    await come(worker, clock, 3)
    assert await of_journal(owned, 3) == ["fired", "overlap", "fired"]
    assert not await conclude(services, at(3), answer=b'{"completed": true}')
    await come(worker, clock, 4)
    assert await of_journal(owned, 4) == ["fired", "overlap", "fired", "fired"]


async def test_a_run_that_nobody_reports_ends_when_its_time_is_up(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    await add(owned, {"every": "PT30S"}, at(30), overlap="buffer_one", completion="report", completion_seconds=60)
    worker = keeper()
    for moment in (28, 30):
        await come(worker, clock, moment)
    await conclude(services, at(30))
    for moment in (58, 60, 89.999):
        await come(worker, clock, moment)
        assert await services.schedules.time_out_next() == 0
    assert await of_journal(owned, 60) == ["fired", "buffered"]
    clock.at = at(90)
    ended = await asyncio.gather(services.schedules.time_out_next(), services.schedules.time_out_next())
    assert sorted(ended) == [0, 1]
    await work(worker)
    assert await of_journal(owned, 60) == ["fired", "fired"]
    [told] = await rows(owned, "select subject from events where kind = 'fire.timed_out'")
    assert told.subject is not None


async def test_a_fire_whose_delivery_is_given_up_is_dead_until_it_is_delivered_after_all(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    await add(owned, {"at": "2026-11-22T09:00:01Z"}, at(1))
    worker = keeper()
    await work(worker)
    await come(worker, clock, 1)
    await conclude(services, at(1), "failed")
    assert await journal(owned) == [(at(1), "dead", "gave_up")]
    await conclude(services, at(1), "delivered")
    assert await journal(owned) == [(at(1), "fired", None)]
    assert [
        row.kind for row in await rows(owned, "select kind from events where subject like 'fir_%' order by seq")
    ] == [
        "fire.fired",
        "fire.given_up",
        "fire.recovered",
    ]


async def test_a_run_ends_when_its_delivery_fails_or_is_cancelled(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    await add(owned, second, at(1), overlap="skip", completion="report")
    worker = keeper()
    await work(worker)
    endings: list[Any] = ["failed", "cancelled"]
    for moment, ending in enumerate(endings, 1):
        await come(worker, clock, moment)
        await conclude(services, at(moment), ending)
    await come(worker, clock, 3)
    assert await of_journal(owned, 3) == ["gave_up", "fired", "fired"]


async def test_a_schedule_of_nothing_but_missed_slots_is_completed(
    owned: Database, keeper: NewKeeper, clock: OwnClock
) -> None:
    await add(owned, {"at": "2026-11-22T09:00:01Z"}, at(1), misfire="skip")
    clock.at = at(60)
    await work(keeper())
    assert await states(owned) == ["missed"]
    assert [row.state for row in await rows(owned, "select state from schedules")] == ["completed"]


async def test_what_nobody_counts_takes_no_lock_and_no_further_statement(
    owned: Database, keeper: NewKeeper, clock: OwnClock
) -> None:
    schedule_id = await add(owned, second, at(1))
    worker = keeper()
    await work(worker)
    clock.at = at(1)
    # Somebody is changing the schedule. Its fire does not wait: what it is judged by is one and the same look.
    async with owned.transaction() as db:
        await db.execute(text("select 1 from schedules where id = :id for no key update"), {"id": schedule_id})
        await asyncio.wait_for(drain(worker.fire_next), timeout=5)
    assert await of_journal(owned, 1) == ["fired"]


async def test_deliveries_given_up_in_a_row_pause_their_schedule_and_its_owner_is_told(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    schedule_id = await add(owned, second, at(1), pause_after=2, name="hourly report")
    worker = keeper()
    await work(worker)
    outcomes: list[Any] = ["failed", "delivered", "failed", "cancelled", "failed"]
    for moment, outcome in enumerate(outcomes, 1):
        await come(worker, clock, moment)
        [schedule] = await rows(owned, "select state from schedules")
        assert schedule.state == "active"
        await conclude(services, at(moment), outcome)
    [schedule] = await rows(owned, "select state, give_ups, pause_reason, version from schedules")
    assert tuple(schedule) == ("paused", 2, "2 deliveries in a row were given up", 2)
    await come(worker, clock, 8)
    assert (await states(owned)) == ["gave_up", "fired", "gave_up", "fired", "gave_up"]
    [told] = await rows(owned, "select body, agent_id from messages where type = 'schedule.paused'")
    ring = SchedulePaused.model_validate_json(told.body)
    assert (ring.data.schedule_id, ring.data.name, ring.data.give_ups) == (schedule_id, "hourly report", 2)
    assert len(await rows(owned, "select 1 from events where kind = 'schedule.paused'")) == 1


async def test_the_owner_is_told_of_a_pause_though_the_endpoint_for_that_is_no_more(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    await add(owned, second, at(1), pause_after=1, notify_endpoint_id="ep_gone")
    worker = keeper()
    await work(worker)
    await come(worker, clock, 1)
    await conclude(services, at(1), "failed")
    told = "select endpoint_id from deliveries join messages m on m.id = message_id where type = 'schedule.paused'"
    assert [row.endpoint_id for row in await rows(owned, told)] == [ENDPOINT]


async def test_give_ups_are_counted_anew_where_nobody_asked_meanwhile(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    schedule_id = await add(owned, second, at(1), pause_after=2)
    worker = keeper()
    await work(worker)
    await come(worker, clock, 1)
    await conclude(services, at(1), "failed")
    for pause_after in (None, 2):
        async with owned.transaction() as db:
            patch = PatchSchedule(pause_after_give_ups=pause_after)
            await services.schedules.patch(db, AGENT, schedule_id, patch, clock.at)
    await come(worker, clock, 2)
    await conclude(services, at(2), "failed")
    [schedule] = await rows(owned, "select state, give_ups from schedules")
    assert tuple(schedule) == ("active", 1)


async def test_give_ups_are_not_counted_where_nobody_asked(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services
) -> None:
    await add(owned, second, at(1))
    worker = keeper()
    await work(worker)
    await come(worker, clock, 1)
    await conclude(services, at(1), "failed")
    [schedule] = await rows(owned, "select state, give_ups from schedules")
    assert tuple(schedule) == ("active", 0)
