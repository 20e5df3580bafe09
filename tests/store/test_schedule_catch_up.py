"""After an outage, and with a long jitter: what is late by intent, and what waits in the table."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from app.kit import limits
from app.kit.database import Database
from app.kit.due import drain
from app.schedules.timekeeper import Timekeeper
from tests.scheduling import add, add_fire, at, execute, journal, rows, rung, states, work
from tests.world import OwnClock
from tocsin.recurrence import jitter

NewKeeper = Callable[[], Timekeeper]
minutely = {"cron": "* * * * *"}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"misfire": "skip"}, ["missed"] * 4),
        ({"misfire": "latest"}, ["missed", "missed", "missed", "fired"]),
        ({"misfire": "all"}, ["fired"] * 4),
        ({"misfire": "all", "catch_up_max": 2}, ["missed", "missed", "fired", "fired"]),
        ({"misfire": "all", "catch_up_seconds": 130}, ["expired", "expired", "fired", "fired"]),
        ({"misfire": "latest", "catch_up_seconds": 30}, ["expired"] * 4),
    ],
)
async def test_an_outage_is_made_up_for_as_the_schedule_says(
    owned: Database, keeper: NewKeeper, clock: OwnClock, policy: dict[str, Any], expected: list[str]
) -> None:
    await add(owned, minutely, at(60), **policy)
    clock.at = at(290)
    workers = [keeper(), keeper()]
    await asyncio.gather(*(work(worker) for worker in workers))
    assert await states(owned) == expected
    clock.at = at(300)
    await asyncio.gather(*(work(worker) for worker in workers))
    assert await states(owned) == [*expected, "fired"]
    runs = [body["data"]["run"] for body in await rung(owned)]
    assert runs == list(range(1, len(runs) + 1))
    skips = await rows(owned, "select reason, count from schedule_skips order by reason")
    assert [tuple(row) for row in skips] == [
        (reason, expected.count(reason)) for reason in ("expired", "missed") if reason in expected
    ]


async def test_what_is_caught_up_with_goes_out_a_few_at_a_time(
    owned: Database, keeper: NewKeeper, clock: OwnClock
) -> None:
    await add(owned, {"every": "PT1S"}, at(1), misfire="all", catch_up_max=1000)
    clock.at = at(401)
    worker = keeper()
    await drain(worker.plan_next)
    await drain(worker.fire_next)
    punctual = len(await rung(owned))
    assert punctual == limits.missed_grace_seconds + 1  # of this second and of the grace; the others are late
    assert await worker.catch_up_next() == limits.catch_up_batch_max
    assert len(await rung(owned)) == punctual + limits.catch_up_batch_max
    [first, *_] = await rung(owned)
    assert first["data"]["scheduled_at"] == "2026-11-22T09:00:01.000Z"


async def test_what_is_late_waits_while_what_is_punctual_is_overdue(
    owned: Database, keeper: NewKeeper, clock: OwnClock
) -> None:
    late = await add(owned, minutely, at(600))
    await add_fire(owned, late, at(-60), kind="backfill:1", late=True)
    await add(owned, {"at": "2026-11-22T09:00:01Z"}, at(1))
    busy, other = keeper(), keeper()
    await drain(busy.plan_next)
    clock.at = at(1.5)
    # One holds a fire that is half a second late; the other sees it in the journal.
    assert await busy.catch_up_next() == 0
    assert await other.catch_up_next() == 0
    await drain(busy.fire_next)
    assert await other.catch_up_next() == 1


async def test_what_is_late_does_not_wait_for_a_fire_that_has_just_got_its_turn(
    owned: Database, keeper: NewKeeper
) -> None:
    schedule_id = await add(owned, minutely, at(600), overlap="buffer_all")
    await add_fire(owned, schedule_id, at(-60), kind="auto", due_at=at(0), outstanding=True)
    await add_fire(owned, await add(owned, minutely, at(600)), at(-60), kind="backfill:1", late=True)
    assert await keeper().catch_up_next() == 1


async def test_what_is_still_to_come_is_planned_before_what_was_missed(
    owned: Database, keeper: NewKeeper, clock: OwnClock
) -> None:
    clock.at = at(3600)
    await add(owned, minutely, at(60), misfire="all")
    await add(owned, {"at": "2026-11-22T10:00:01Z"}, at(3601))
    worker = keeper()
    assert await worker.plan_next() == 1
    assert await states(owned) == ["planned"]
    assert await worker.plan_next() == 1
    assert await states(owned) == ["planned"] * 61  # 59 minutes that were missed, this one, and what was to come


async def test_a_worker_that_dies_while_it_catches_up_leaves_it_to_others(
    owned: Database, keeper: NewKeeper, clock: OwnClock
) -> None:
    await add(owned, minutely, at(60), misfire="all")
    clock.at = at(290)
    await drain(keeper().plan_next)
    await execute(owned, "update fires set due_at = :until, attempts = 1", until=at(290 + limits.fire_lease_seconds))
    worker = keeper()
    assert await worker.catch_up_next() == 0
    clock.at = at(290 + limits.fire_lease_seconds)
    assert await drain(worker.catch_up_next) == 4


async def test_many_workers_that_catch_up_at_once_ring_once_for_each_slot(
    owned: Database, keeper: NewKeeper, clock: OwnClock
) -> None:
    for _ in range(30):
        await add(owned, minutely, at(60), misfire="all")
    clock.at = at(590)
    await asyncio.gather(*(work(keeper()) for _ in range(3)))
    bodies = await rung(owned)
    assert len({body["data"]["fire_id"] for body in bodies}) == len(bodies) == 30 * 9


async def test_a_fire_with_a_long_jitter_waits_in_the_table_and_is_punctual(
    owned: Database, keeper: NewKeeper, clock: OwnClock
) -> None:
    schedule_id = await add(owned, {"at": "2026-11-22T09:00:02Z"}, at(2), jitter_seconds=3600)
    fire_at = at(2) + jitter(schedule_id, at(2), timedelta(hours=1), None)
    worker = keeper()
    await work(worker)
    [row] = await rows(owned, "select fire_at, due_at, attempts from fires")
    ahead = timedelta(seconds=limits.plan_ahead_seconds)
    assert tuple(row) == (fire_at, fire_at - ahead, 0)

    clock.at = fire_at - ahead - timedelta(seconds=1)
    await work(worker)
    [row] = await rows(owned, "select attempts from fires")
    assert row.attempts == 0
    clock.at = fire_at - ahead
    await work(worker)
    [row] = await rows(owned, "select due_at, attempts from fires")
    assert tuple(row) == (fire_at + timedelta(seconds=limits.fire_lease_seconds), 1)
    clock.at = fire_at - timedelta(milliseconds=1)
    await work(worker)
    assert await rung(owned) == []
    clock.at = fire_at
    await work(worker)
    [body] = await rung(owned)
    assert body["data"]["scheduled_at"] == "2026-11-22T09:00:02.000Z"
    assert await journal(owned) == [(at(2), "fired", None)]


async def test_a_fire_that_was_planned_anew_is_not_handed_over_at_its_earlier_time(
    owned: Database, keeper: NewKeeper, clock: OwnClock
) -> None:
    await add(owned, {"at": "2026-11-22T09:00:02Z"}, at(2))
    worker = keeper()
    await work(worker)
    await execute(owned, "update fires set fire_at = :later", later=at(60))
    clock.at = at(3)
    await work(worker)
    assert await journal(owned) == [(at(2), "planned", None)]


async def test_bounds_hold_in_the_journal_and_in_what_is_told(
    owned: Database, keeper: NewKeeper, clock: OwnClock
) -> None:
    await add(owned, {"every": "PT1S"}, at(2), starts_at=at(1.5), ends_at=at(3), chosen_id="tick")
    worker = keeper()
    for moment in (0, 2, 3, 6):
        clock.at = at(moment)
        await work(worker)
    assert await journal(owned) == [(at(2), "fired", None), (at(3), "fired", None)]
    told = [body["data"] for body in await rung(owned)]
    assert [(data["chosen_id"], data["upcoming"]) for data in told] == [
        ("tick", ["2026-11-22T09:00:03.000Z"]),
        ("tick", []),
    ]
    [schedule] = await rows(owned, "select state from schedules")
    assert schedule.state == "completed"
