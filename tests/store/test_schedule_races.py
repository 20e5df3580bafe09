"""Everybody at once: workers, conclusions and agents that change their minds. Nobody waits in a circle."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from app.deliveries.conclusions import Concluded
from app.kit.database import Database
from app.schedules import fires
from app.schedules.holding import Held
from app.schedules.timekeeper import Timekeeper
from app.services import Services
from tests.scheduling import AGENT, ENDPOINT, add, add_fire, at, execute, rows, work
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


async def test_an_endpoint_is_deleted_while_a_worker_locks_the_schedules_that_ring_it(
    owned: Database, services: Services
) -> None:
    # The later of the two ids lies first in the table.
    later, earlier = [await add(owned, {"every": "PT1H"}, at(1), id=id_) for id_ in ("sch_2", "sch_1")]

    async def work() -> None:
        async with owned.transaction() as db:
            await fires.guard(db, [earlier, later])

    async def delete() -> None:
        async with owned.transaction() as db:
            await services.deliveries.endpoints.delete(db, AGENT, ENDPOINT, at(0))

    async with owned.transaction() as db:
        await fires.guard(db, [earlier])
        working = asyncio.create_task(work())
        await _blocked(owned, 1)
        deleting = asyncio.create_task(delete())
        await _blocked(owned, 2)
    await asyncio.gather(working, deleting)
    assert [row.endpoint_id for row in await rows(owned, "select endpoint_id from schedules")] == [None, None]


async def test_schedules_are_paused_while_a_worker_locks_fires_of_both(owned: Database, services: Services) -> None:
    ids = [await add(owned, {"every": "PT1H"}, at(3600), overlap="allow", pause_after=1) for _ in range(2)]
    failed = [await add_fire(owned, id_, at(0), "auto", state="fired", due_at=None, message_id="msg_1") for id_ in ids]
    first, second = [await add_fire(owned, id_, at(1), "auto") for id_ in ids]
    if first < second:
        # The worker comes to the fire of the schedule that is paused last before it comes to the other.
        await execute(owned, "update schedules set id = 'sch_z' || id where id = :id", id=ids[0])
        await execute(owned, "update fires set schedule_id = 'sch_z' || schedule_id where schedule_id = :id", id=ids[0])

    async def work() -> None:
        async with owned.transaction() as db:
            await fires.ripe(db, [Held(at(1), id_, 0) for id_ in (first, second)], at(1))

    async def conclude() -> None:
        async with owned.transaction() as db:
            await services.schedules.concluded(db, [Concluded(id_, "dlv_1", "failed") for id_ in failed], at(1))

    async with owned.transaction() as db:
        await fires.ripe(db, [Held(at(1), min(first, second), 0)], at(1))
        working = asyncio.create_task(work())
        await _blocked(owned, 1)
        concluding = asyncio.create_task(conclude())
        await _blocked(owned, 2)
    await asyncio.gather(working, concluding)
    assert [row.state for row in await rows(owned, "select state from schedules")] == ["paused", "paused"]


async def _blocked(database: Database, count: int) -> None:
    """Wait until so many wait for a lock."""
    waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    async with asyncio.timeout(10):
        while len(await rows(database, waiting)) < count:
            pass


async def _tolerated(doing: Awaitable[None]) -> None:
    """A completed schedule refuses to be paused, and says so. Anything else is a defect."""
    with suppress(Conflict):
        await doing
