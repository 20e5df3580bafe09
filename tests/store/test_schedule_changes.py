"""Changes between the planning of a slot and its hand-over, on a real Postgres."""

from collections.abc import Callable

from app.kit.database import Database
from app.schedules.timekeeper import Timekeeper
from app.services import Services
from tests.scheduling import AGENT, add, at, journal, rows, rung, work
from tests.world import OwnClock
from tocsin.schemas.schedules import PatchSchedule


async def test_a_slot_that_a_worker_has_planned_twice_rings_once(
    owned: Database, services: Services, keeper: Callable[[], Timekeeper], clock: OwnClock
) -> None:
    schedule_id = await add(owned, {"every": "PT2S"}, at(2))
    worker = keeper()
    await worker.plan_next()
    async with owned.transaction() as db:
        await services.schedules.patch(
            db, AGENT, schedule_id, PatchSchedule(spec={"at": "2026-11-22T09:00:02Z"}), at(0)
        )
    await worker.plan_next()  # holds the slot once more, by the same number

    clock.at = at(2)
    await work(worker)

    assert await journal(owned) == [(at(2), "fired", None)]
    assert len(await rung(owned)) == 1


async def test_a_bound_that_is_raised_counts_all_that_has_fired(
    owned: Database, services: Services, keeper: Callable[[], Timekeeper], clock: OwnClock
) -> None:
    schedule_id = await add(owned, {"every": "PT1S"}, at(1))
    worker = keeper()
    for second in range(4):
        clock.at = at(second)
        await work(worker)
    async with owned.transaction() as db:
        await services.schedules.patch(db, AGENT, schedule_id, PatchSchedule(max_fires=1), clock.at)
        await services.schedules.patch(db, AGENT, schedule_id, PatchSchedule(max_fires=5), clock.at)

    for second in range(4, 9):
        clock.at = at(second)
        await work(worker)

    assert len(await rung(owned)) == 5
    assert [tuple(row) for row in await rows(owned, "select state, fired from schedules")] == [("completed", 5)]
