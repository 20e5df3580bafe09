"""Planning and firing on a real Postgres: each slot exactly once, whatever races and whatever dies."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.service import Dispatched, Outgoing
from app.kit import limits
from app.kit.database import Database
from app.kit.due import drain
from app.kit.wake import Silence
from app.schedules.entries import fire_id
from app.schedules.timekeeper import Timekeeper
from app.services import Services
from tests.scheduling import AGENT, ENDPOINT, add, at, journal, rows, rung, work
from tests.world import EPOCH, OwnClock
from tocsin.schemas.webhooks import ScheduleFired


async def test_a_fire_is_handed_over_at_its_time_and_not_before(
    owned: Database, keeper: Callable[[], Timekeeper], clock: OwnClock
) -> None:
    schedule_id = await add(owned, {"every": "PT2S"}, at(2), payload='{"n":1.50}')
    worker = keeper()
    await work(worker)
    assert await journal(owned) == [(at(2), "planned", None)]

    clock.at = at(1.999)
    await work(worker)
    assert await rung(owned) == []

    clock.at = at(2)
    await work(worker)
    assert await journal(owned) == [(at(2), "fired", None), (at(4), "planned", None)]
    [body] = await rung(owned)
    assert body == {
        "type": "schedule.fired",
        "timestamp": "2026-11-22T09:00:02.000Z",
        "data": {
            "schedule_id": schedule_id,
            "chosen_id": None,
            "fire_id": fire_id(schedule_id, "auto", at(2)),
            "kind": "auto",
            "scheduled_at": "2026-11-22T09:00:02.000Z",
            "fired_at": "2026-11-22T09:00:02.000Z",
            "run": 1,
            "previous": None,
            "upcoming": [f"2026-11-22T09:00:{second:02}.000Z" for second in (4, 6, 8, 10, 12)],
            "payload": {"n": 1.5},
        },
    }
    [message] = await rows(owned, "select body from messages")
    assert ScheduleFired.model_validate_json(message.body).data.schedule_id == schedule_id
    assert message.body.endswith('"payload":{"n":1.50}}}')  # the agent's own text
    [delivery] = await rows(owned, "select endpoint_id, agent_id, state from deliveries")
    assert tuple(delivery) == (ENDPOINT, AGENT, "pending")


async def test_a_fire_knows_the_one_before(owned: Database, keeper: Callable[[], Timekeeper], clock: OwnClock) -> None:
    await add(owned, {"every": "PT1S"}, at(1))
    worker = keeper()
    for second in range(5):
        clock.at = at(second)
        await work(worker)
    told = [(body["data"]["run"], body["data"]["previous"]) for body in await rung(owned)]
    assert told == [
        (1, None),
        (2, "2026-11-22T09:00:01.000Z"),
        (3, "2026-11-22T09:00:02.000Z"),
        (4, "2026-11-22T09:00:03.000Z"),
    ]


async def test_racing_planners_plan_each_slot_once(
    owned: Database, keeper: Callable[[], Timekeeper], clock: OwnClock
) -> None:
    for _ in range(120):
        await add(owned, {"every": "PT1S"}, at(1))
    workers = [keeper(), keeper(), keeper()]
    for second in range(4):
        clock.at = at(second)
        await asyncio.gather(*(work(worker) for worker in workers))
    states = await rows(owned, "select state, count(*) as n from fires group by state order by state")
    # Slots 1, 2 and 3 have come. 4 and 5 were planned when 4 came near, two seconds before its time.
    assert [tuple(row) for row in states] == [("fired", 360), ("planned", 240)]
    bodies = await rung(owned)
    assert len({body["data"]["fire_id"] for body in bodies}) == len(bodies) == 360
    doubled = await rows(owned, "select schedule_id from fires group by schedule_id, scheduled_at having count(*) > 1")
    assert doubled == []


async def test_a_planner_that_dies_before_its_commit_has_planned_nothing(
    owned: Database, services: Services, clock: OwnClock, keeper: Callable[[], Timekeeper]
) -> None:
    await add(owned, {"every": "PT1S"}, at(1))

    class Dying(Timekeeper):
        async def _now(self, db: AsyncSession) -> datetime:
            await db.connection()
            raise ConnectionError("the database went away")

    with pytest.raises(ConnectionError):
        await Dying(owned.transaction, clock, Silence(), services.deliveries).plan_next()
    assert await journal(owned) == []
    await work(keeper())
    assert [slot for slot, _, _ in await journal(owned)] == [at(1), at(2), at(3)]


async def test_what_a_dead_worker_held_is_taken_over_when_its_lease_ends(
    owned: Database, keeper: Callable[[], Timekeeper], clock: OwnClock
) -> None:
    await add(owned, {"at": "2026-11-22T09:00:01Z"}, at(1))
    dead, alive = keeper(), keeper()
    await dead.plan_next()  # and dies here: its memory is gone, its journal is not

    clock.at = at(1 + limits.fire_lease_seconds - 0.001)
    await work(alive)
    assert await journal(owned) == [(at(1), "planned", None)]

    clock.at = at(1 + limits.fire_lease_seconds)
    await work(alive)
    assert await journal(owned) == [(at(1), "fired", None)]
    assert len(await rung(owned)) == 1


async def test_a_worker_that_comes_back_too_late_rings_nobody(
    owned: Database, keeper: Callable[[], Timekeeper], clock: OwnClock
) -> None:
    await add(owned, {"at": "2026-11-22T09:00:01Z"}, at(1))
    slow, quick = keeper(), keeper()
    await slow.plan_next()
    clock.at = at(10)
    await quick.take_over_next()
    # The slow one wakes first, but its token is no longer the row's.
    assert await slow.fire_next() == 1
    assert await rung(owned) == []
    assert await quick.fire_next() == 1
    assert len(await rung(owned)) == 1
    assert await journal(owned) == [(at(1), "fired", None)]


async def test_two_workers_that_hold_the_same_fire_at_once_ring_once(
    owned: Database, keeper: Callable[[], Timekeeper], clock: OwnClock
) -> None:
    for _ in range(40):
        await add(owned, {"at": "2026-11-22T09:00:01Z"}, at(1))
    first, second = keeper(), keeper()
    await first.plan_next()
    clock.at = at(10)
    await second.take_over_next()
    await asyncio.gather(drain(first.fire_next), drain(second.fire_next))
    assert len(await rung(owned)) == 40


async def test_a_hand_over_that_fails_is_tried_again_by_the_same_worker(
    owned: Database, services: Services, clock: OwnClock
) -> None:
    await add(owned, {"at": "2026-11-22T09:00:01Z"}, at(1))

    class Stumbling:
        """Deliveries whose first answer is that the database is away."""

        stumbled = False

        async def dispatch(self, db: AsyncSession, outgoing: Sequence[Outgoing], now: datetime) -> Dispatched:
            if not self.stumbled:
                self.stumbled = True
                raise ConnectionError("the database went away")
            return await services.deliveries.dispatch(db, outgoing, now)

    deliveries: Any = Stumbling()
    worker = Timekeeper(owned.transaction, clock, Silence(), deliveries)
    await worker.plan_next()
    clock.at = at(1)
    with pytest.raises(ConnectionError):
        await worker.fire_next()
    assert await journal(owned) == [(at(1), "planned", None)]
    assert await worker.fire_next() == 1
    assert await journal(owned) == [(at(1), "fired", None)]


async def test_a_worker_that_stops_leaves_what_it_holds_to_others_at_once(
    owned: Database, keeper: Callable[[], Timekeeper], clock: OwnClock
) -> None:
    await add(owned, {"at": "2026-11-22T09:00:01Z"}, at(1))
    leaving, staying = keeper(), keeper()
    await leaving.plan_next()
    await leaving.release()
    clock.at = at(1)
    await work(staying)
    assert await journal(owned) == [(at(1), "fired", None)]


async def test_after_an_outage_the_latest_slot_fires_and_the_others_say_why_not(
    owned: Database, keeper: Callable[[], Timekeeper], clock: OwnClock
) -> None:
    await add(owned, {"cron": "* * * * *"}, at(60))
    clock.at = at(245)
    await work(keeper())
    assert await journal(owned) == [
        (at(60), "skipped", "missed"),
        (at(120), "skipped", "missed"),
        (at(180), "skipped", "missed"),
        (at(240), "fired", None),
    ]
    told = await rows(owned, "select kind, data from events order by seq")
    assert [row.kind for row in told] == ["fire.skipped"] * 3 + ["fire.fired"]
    assert told[0].data["reason"] == "missed"


async def test_a_one_shot_is_completed_once_it_has_fired(
    owned: Database, keeper: Callable[[], Timekeeper], clock: OwnClock
) -> None:
    await add(owned, {"at": "2026-11-22T09:00:01Z"}, at(1))
    worker = keeper()
    await work(worker)
    assert [row.state for row in await rows(owned, "select state from schedules")] == ["active"]
    clock.at = at(1)
    await work(worker)
    [schedule] = await rows(owned, "select state, next_fire, runs from schedules")
    assert tuple(schedule) == ("completed", None, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("update schedules set state = 'paused'", "paused"),
        ("update schedules set version = 2", "changed"),
        ("delete from endpoints", "endpoint_deleted"),
        ("delete from schedules", "deleted"),
    ],
)
async def test_a_change_after_the_planning_is_seen_before_the_ring(
    owned: Database, keeper: Callable[[], Timekeeper], clock: OwnClock, change: str, reason: str
) -> None:
    await add(owned, {"at": "2026-11-22T09:00:01Z"}, at(1))
    worker = keeper()
    await worker.plan_next()
    async with owned.transaction() as db:
        await db.execute(text(change))
    clock.at = at(1)
    await work(worker)
    assert await journal(owned) == [(at(1), "skipped", reason)]
    assert await rung(owned) == []


async def test_a_spec_that_reads_no_more_is_paused_and_holds_up_no_other(
    owned: Database, keeper: Callable[[], Timekeeper], clock: OwnClock
) -> None:
    await add(owned, {"cron": "@daily", "timezone": "Europe/Atlantis"}, at(1))
    await add(owned, {"at": "2026-11-22T09:00:02Z"}, at(2))
    worker = keeper()
    await work(worker)
    assert await journal(owned) == [(at(1), "skipped", "spec_refused"), (at(2), "planned", None)]
    states = await rows(owned, "select state, next_fire from schedules order by id")
    assert tuple(states[0]) == ("paused", None)


async def test_a_clock_that_is_set_back_makes_nothing_fire_early(
    owned: Database, keeper: Callable[[], Timekeeper], clock: OwnClock
) -> None:
    await add(owned, {"at": "2026-11-22T09:00:02Z"}, at(2))
    worker = keeper()
    await work(worker)
    real_now = clock.now

    async def an_hour_behind(db: AsyncSession) -> datetime:
        return await real_now(db) - timedelta(hours=1)

    clock.now = an_hour_behind
    clock.at = at(3)  # the monotonic clock says that it is time; the database does not
    await work(worker)
    assert await journal(owned) == [(at(2), "planned", None)]
    clock.at = at(3602)
    await work(worker)
    assert await journal(owned) == [(at(2), "fired", None)]


async def test_a_herd_of_one_instant_is_handed_over_in_batches(
    owned: Database, keeper: Callable[[], Timekeeper], clock: OwnClock
) -> None:
    async with owned.transaction() as db:
        await db.execute(
            text(
                """
                insert into schedules
                    (id, agent_id, endpoint_id, spec, payload, version, state, next_fire, runs, created_at, updated_at)
                select 'sch_' || lpad(n::text, 26, '0'), :agent, :endpoint, '{"at": "2026-11-22T09:00:01Z"}', 'null', 1,
                    'active', :next, 0, :at, :at
                from generate_series(1, 1200) as n
                """
            ),
            {"agent": AGENT, "endpoint": ENDPOINT, "next": at(1), "at": EPOCH},
        )
    worker = keeper()
    await work(worker)
    clock.at = at(1)
    assert await worker.fire_next() == limits.fire_batch_max
    await work(worker)
    assert len(await rows(owned, "select 1 from messages")) == 1200
    assert len(await rows(owned, "select 1 from schedules where state = 'completed'")) == 1200
