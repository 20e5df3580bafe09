"""Everybody at once: workers, conclusions and agents that change their minds. Nobody waits in a circle."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from app.deliveries.conclusions import Concluded
from app.kit.database import Database
from app.schedules.timekeeper import Timekeeper
from app.services import Services
from tests.scheduling import AGENT, add, add_fire, at, rows, work
from tests.world import OwnClock
from tocsin.problems import Conflict
from tocsin.schemas.schedules import PatchSchedule

NewKeeper = Callable[[], Timekeeper]
POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"overlap": "skip"},
    {"overlap": "buffer_all", "jitter_seconds": 1},
    {"overlap": "buffer_one", "max_fires": 4},
    {"pause_after": 2},
)


async def conclude(services: Services, moment: int) -> None:
    """All that is on its way is delivered, or every third time given up."""
    running = await rows(services.database, "select id from fires where delivery_id is not null and state = 'fired'")
    told = [Concluded(row.id, "dlv_1", "failed" if moment % 3 == 0 else "delivered") for row in running]
    async with services.database.transaction() as db:
        await services.schedules.concluded(db, told, await services.clock.now(db))


async def change(services: Services, schedule_id: str, moment: int) -> None:
    """An agent does something else with its schedule each second."""
    async with services.database.transaction() as db:
        now = await services.clock.now(db)
        match (moment + int(schedule_id[-1], 36)) % 5:
            case 0:
                await services.schedules.lifecycle.pause(db, AGENT, schedule_id, None, now)
            case 1:
                await services.schedules.lifecycle.resume(db, AGENT, schedule_id, now)
            case 2:
                await services.schedules.lifecycle.trigger(db, AGENT, schedule_id, now)
            case 3:
                patch = PatchSchedule.model_validate({"payload": moment, "jitter": "PT1S" if moment % 2 else None})
                await services.schedules.patch(db, AGENT, schedule_id, patch, now)
            case _:
                await services.schedules.runs.report(db, f"fir_{moment}", schedule_id, now)


@pytest.mark.parametrize("seed", range(3))
async def test_everybody_at_once(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services, seed: int
) -> None:
    ids = [await add(owned, {"every": "PT1S"}, at(1), **policy) for policy in POLICIES for _ in range(4)]
    for schedule_id in ids[::3]:
        await add_fire(owned, schedule_id, at(-60), kind="backfill:1", late=True, overlap="buffer_all")
    workers = [keeper(), keeper(), keeper()]
    for moment in range(seed, seed + 9):
        clock.at = at(moment)
        await asyncio.gather(
            *(work(worker) for worker in workers),
            conclude(services, moment),
            *(_tolerated(change(services, schedule_id, moment)) for schedule_id in ids),
            services.schedules.recompute_next(),
            services.schedules.time_out_next(),
        )
    doubled = await rows(owned, "select 1 from messages where subject is not null group by subject having count(*) > 1")
    assert doubled == []
    stuck = await rows(
        owned,
        """
        select schedule_id from fires where state = 'buffered' group by schedule_id
        having not exists (select from fires f where f.schedule_id = fires.schedule_id and f.outstanding)
        """,
    )
    assert stuck == []
    unfinished = await rows(owned, "select 1 from fires where (state = 'planned') <> (due_at is not null)")
    assert unfinished == []


async def _tolerated(doing: Awaitable[None]) -> None:
    """A completed schedule refuses to be paused, and says so. Anything else is a defect."""
    with suppress(Conflict):
        await doing
