"""Every point at which a worker can die, between any two statements and just after a commit: nothing is lost, and no
slot has two fires."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from app.deliveries.conclusions import Concluded
from app.kit import limits
from app.kit.database import Database
from app.kit.wake import Silence
from app.schedules.timekeeper import Timekeeper
from app.services import Services
from tests.scheduling import add, add_fire, at, rows, work
from tests.tripping import Died, Trip
from tests.world import OwnClock

NewKeeper = Callable[[], Timekeeper]


async def live(worker: Timekeeper, clock: OwnClock, services: Services, *, upto: int) -> None:
    """Seconds of a worker's life, and of deliveries that are concluded a moment after each ring."""
    for moment in range(upto + 1):
        clock.at = at(moment)
        await work(worker)
        await answer(services)


async def answer(services: Services) -> None:
    running = await rows(services.database, "select id from fires where outstanding and state = 'fired'")
    async with services.database.transaction() as db:
        told = [Concluded(row.id, "dlv_1", "delivered") for row in running]
        await services.schedules.concluded(db, told, await services.clock.now(db))


async def outlive(keeper: NewKeeper, clock: OwnClock, services: Services) -> None:
    """Another worker finds what the dead one left, once its leases have ended, and all there is to do."""
    worker = keeper()
    for _ in range(7):
        clock.advance(seconds=limits.fire_lease_seconds)
        await work(worker)
        await answer(services)


STORIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "skip": {"overlap": "skip"},
    "buffered": {"overlap": "buffer_all"},
    "counted": {"max_fires": 3, "overlap": "buffer_one"},
    "caught up": {"misfire": "all"},
}


@pytest.mark.parametrize("story", STORIES)
async def test_a_worker_may_die_anywhere(
    owned: Database, keeper: NewKeeper, clock: OwnClock, services: Services, story: str
) -> None:
    begin = -300 if story == "caught up" else 1
    times = [at(begin + second).isoformat() for second in (0, 1, 2, 2.5)]
    # Every ninth place, from another first one in each story.
    for steps in range(len(story), 110, 9):
        clock.at = at(0)
        spec = {"union": [{"at": time} for time in times]}
        schedule_id = await add(owned, spec, at(begin), created_at=at(-9_999), **STORIES[story])
        if story == "buffered":
            await add_fire(owned, schedule_id, at(-60), kind="backfill:1", late=True, overlap="buffer_all")
        dying = Timekeeper(Trip(owned, steps).transaction, clock, Silence(), services.deliveries)
        with suppress(Died):
            await live(dying, clock, services, upto=4)
        await outlive(keeper, clock, services)
        await check(owned, schedule_id, steps)


async def check(database: Database, schedule_id: str, steps: int) -> None:
    fires: Sequence[Any] = await rows(
        database, f"select * from fires where schedule_id = '{schedule_id}' order by kind, scheduled_at"
    )
    assert len([fire for fire in fires if fire.kind == "auto"]) == 4, steps
    assert {fire.state for fire in fires} <= {"fired", "skipped"}, (steps, [fire.state for fire in fires])
    assert not any(fire.outstanding or fire.due_at for fire in fires), steps
    rung = await rows(
        database,
        f"""
        select told->>'fire_id' as id from (select body::json->'data' as told from messages) as message
        where told->>'schedule_id' = '{schedule_id}'
        """,
    )
    assert sorted(row.id for row in rung) == sorted(fire.id for fire in fires if fire.state == "fired"), steps
    [schedule] = await rows(database, f"select state from schedules where id = '{schedule_id}'")
    assert schedule.state == "completed", steps
