"""A new time zone database, and the check that slots do not pass unplanned."""

import asyncio
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from app.kit import limits
from app.kit.database import Database
from app.kit.due import drain
from app.kit.wake import Silence
from app.schedules.timekeeper import Timekeeper
from app.schedules.upkeep import Upkeep
from tests.scheduling import add, add_fire, at, journal, rows, work
from tests.world import OwnClock
from tocsin.recurrence import zone_database_version

NewKeeper = Callable[[], Timekeeper]
# 10:00 in Berlin is 09:00 in UTC; somebody's older database said that it was an hour later.
berlin = {"cron": "0 10 * * *", "timezone": "Europe/Berlin"}
DAY = 86_400


@pytest.fixture
def upkeep(owned: Database, clock: OwnClock) -> Upkeep:
    return Upkeep(owned.transaction, clock, Silence())


async def test_slots_are_computed_anew_when_the_time_zone_database_is_newer(
    owned: Database, upkeep: Upkeep, clock: OwnClock
) -> None:
    clock.at = at(-600)
    await add(owned, berlin, at(3600), tzdata="2020a")
    await add(owned, berlin, at(0), tzdata="2020a")
    await add(owned, berlin, at(3600), tzdata="2999z")
    await add(owned, {"every": "PT1H"}, at(0), tzdata="")
    assert sorted(await asyncio.gather(drain(upkeep.recompute_next), drain(upkeep.recompute_next))) in ([0, 3], [1, 2])
    schedules = await rows(owned, "select next_fire, tzdata from schedules order by id")
    assert [tuple(row) for row in schedules] == [
        (at(0), zone_database_version),
        (at(0), zone_database_version),
        (at(3600), "2999z"),  # a newer worker's
        (at(0), None),
    ]
    [told] = await rows(owned, "select data from events where kind = 'schedule.recomputed'")
    assert (told.data["before"], told.data["next_fire"]) == ("2026-11-22T10:00:00.000Z", "2026-11-22T09:00:00.000Z")


async def test_what_was_planned_by_the_old_rules_does_not_fire(
    owned: Database, upkeep: Upkeep, keeper: NewKeeper, clock: OwnClock
) -> None:
    await add(owned, berlin, at(2), tzdata="2020a", last_fire=at(-DAY + 2), runs=6)
    worker = keeper()
    await work(worker)
    assert await journal(owned) == [(at(2), "planned", None)]
    assert await upkeep.recompute_next() == 1
    clock.at = at(2)
    await work(worker)
    assert await journal(owned) == []
    [schedule] = await rows(owned, "select next_fire, last_fire, runs from schedules")
    assert tuple(schedule) == (at(DAY), at(-DAY + 2), 6)


async def test_a_fire_that_has_its_turn_keeps_it_though_the_clock_was_set_back(owned: Database, upkeep: Upkeep) -> None:
    schedule_id = await add(owned, berlin, at(DAY), tzdata="2020a", overlap="buffer_all")
    await add_fire(owned, schedule_id, at(60), kind="auto", due_at=at(60), outstanding=True)
    await add_fire(owned, schedule_id, at(120), kind="auto", due_at=None, state="buffered")
    assert await upkeep.recompute_next() == 1
    assert await journal(owned) == [(at(60), "planned", None), (at(120), "buffered", None)]


async def test_what_was_taken_back_and_planned_anew_by_the_same_worker_rings_once(
    owned: Database, upkeep: Upkeep, keeper: NewKeeper, clock: OwnClock
) -> None:
    seconds = {"cron": "* * * * * *", "timezone": "Europe/Berlin"}
    await add(owned, seconds, at(1), tzdata="2020a")
    worker = keeper()
    await work(worker)
    await upkeep.recompute_next()
    await work(worker)
    clock.at = at(1)
    await work(worker)
    assert len(await rows(owned, "select 1 from messages")) == 1
    assert len(await rows(owned, "select 1 from events where kind = 'fire.fired'")) == 1


async def test_what_was_missed_before_the_new_rules_came_is_told_of(
    owned: Database, upkeep: Upkeep, keeper: NewKeeper, clock: OwnClock
) -> None:
    await add(owned, berlin, at(-2 * DAY), tzdata="2020a", created_at=at(-9 * DAY))
    assert await upkeep.recompute_next() == 1
    await work(keeper())
    assert await journal(owned) == [
        (at(-2 * DAY), "skipped", "missed"),
        (at(-DAY), "skipped", "missed"),
        (at(0), "fired", None),
    ]


async def test_a_slot_that_was_skipped_in_advance_does_not_come_back(
    owned: Database, upkeep: Upkeep, clock: OwnClock
) -> None:
    clock.at = at(-600)
    schedule_id = await add(owned, berlin, at(DAY), tzdata="2020a")
    await add_fire(owned, schedule_id, at(0), kind="auto", state="skipped", reason="owner", due_at=None)
    assert await upkeep.recompute_next() == 1
    assert [row.next_fire for row in await rows(owned, "select next_fire from schedules")] == [at(DAY)]
    assert await rows(owned, "select 1 from events where kind = 'schedule.recomputed'") == []


async def test_a_schedule_without_a_slot_by_the_new_rules_is_completed(
    owned: Database, upkeep: Upkeep, clock: OwnClock
) -> None:
    await add(owned, berlin, at(3600), tzdata="2020a", ends_at=at(3600))
    await upkeep.recompute_next()
    [schedule] = await rows(owned, "select state, next_fire from schedules")
    assert tuple(schedule) == ("completed", None)


async def test_a_zone_that_is_no_more_is_left_to_the_planner(
    owned: Database, upkeep: Upkeep, keeper: NewKeeper, clock: OwnClock
) -> None:
    await add(owned, {**berlin, "timezone": "Europe/Atlantis"}, at(2), tzdata="2020a")
    assert await drain(upkeep.recompute_next) == 1
    await work(keeper())
    assert await journal(owned) == [(at(2), "skipped", "spec_refused")]
    [schedule] = await rows(owned, "select state, pause_reason from schedules")
    assert schedule.state == "paused"
    assert "Atlantis" in schedule.pause_reason


async def test_slots_that_pass_unplanned_are_noticed(
    owned: Database, upkeep: Upkeep, keeper: NewKeeper, clock: OwnClock
) -> None:
    await add(owned, {"every": "PT1H"}, at(0))
    await add(owned, {"every": "PT1H"}, at(0), state="paused")
    clock.at = at(limits.check_overdue_seconds)
    assert await upkeep.check() == 0
    clock.advance(seconds=0.001)
    assert await upkeep.check() == 1
    assert REGISTRY.get_sample_value("tocsin_schedules_overdue") == 1
    await work(keeper())
    assert await upkeep.check() == 0
    assert REGISTRY.get_sample_value("tocsin_schedules_overdue") == 0
