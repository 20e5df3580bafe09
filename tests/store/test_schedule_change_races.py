"""A change of a schedule beside a worker that hands its fires over: one of them is first, and neither loses a slot."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.kit.database import Database
from app.services import Services
from tests.scheduling import AGENT, ENDPOINT, at, journal, rung
from tests.world import EPOCH, OwnClock
from tocsin.schemas.schedules import NewBackfill, NewSchedule, PatchSchedule

Change = Callable[[Services, AsyncSession, str], Awaitable[Any]]


async def add(services: Services, owned: Database, **terms: Any) -> str:
    new = NewSchedule.model_validate({"endpoint_id": ENDPOINT, "spec": {"every": "PT2S"}, "payload": "old", **terms})
    async with owned.transaction() as db:
        return (await services.schedules.create(db, AGENT, new, EPOCH)).id


async def blocked(database: Database) -> None:
    """Wait until somebody waits for a lock."""
    waiting = text("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = 'relay'")
    while True:
        async with database.transaction() as db:
            if (await db.execute(waiting)).scalar_one() > 0:
                return


async def fire_beside(services: Services, owned: Database, schedule_id: str, change: Change) -> None:
    """Make a change; let a worker come to the fires of the schedule just before it commits."""
    async with owned.transaction() as db:
        await change(services, db, schedule_id)
        firing = asyncio.create_task(services.schedules.fire_next())
        await asyncio.wait_for(blocked(owned), 10)
    await firing
    while await services.schedules.fire_next():
        pass


async def patch(services: Services, db: AsyncSession, schedule_id: str, **members: Any) -> None:
    await services.schedules.patch(db, AGENT, schedule_id, PatchSchedule.model_validate(members), at(2))


@pytest.mark.parametrize("terms", [{}, {"overlap": "skip"}, {"max_fires": 9}], ids=["plain", "overlap", "max_fires"])
async def test_a_fire_whose_payload_changes_while_it_is_handed_over_fires_with_the_new_one(
    owned: Database, services: Services, clock: OwnClock, terms: dict[str, Any]
) -> None:
    schedule_id = await add(services, owned, **terms)
    await services.schedules.plan_next()
    clock.at = at(2)
    await fire_beside(services, owned, schedule_id, lambda s, db, id_: patch(s, db, id_, payload="new"))
    assert await journal(owned) == [(at(2), "fired", None)]
    assert [body["data"]["payload"] for body in await rung(owned)] == ["new"]


CHANGES: list[tuple[str, Change, str | None]] = [
    ("another spec", lambda s, db, id_: patch(s, db, id_, spec={"every": "PT1H"}), "changed"),
    ("a pause", lambda s, db, id_: s.schedules.lifecycle.pause(db, AGENT, id_, None, at(2)), "paused"),
    ("a skip", lambda s, db, id_: s.schedules.lifecycle.skip_next(db, AGENT, id_, at(2)), "owner"),
    ("a deletion", lambda s, db, id_: s.schedules.lifecycle.delete(db, AGENT, id_, at(2)), "deleted"),
]


@pytest.mark.parametrize(("change", "reason"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
async def test_a_change_that_is_first_lets_the_slot_pass(
    owned: Database, services: Services, clock: OwnClock, change: Change, reason: str
) -> None:
    schedule_id = await add(services, owned)
    await services.schedules.plan_next()
    clock.at = at(2)
    await fire_beside(services, owned, schedule_id, change)
    assert await journal(owned) == [(at(2), "skipped", reason)]
    assert await rung(owned) == []


async def everything_at_once(services: Services, owned: Database, ids: list[str], second: int) -> None:
    """Workers work, while each of these schedules is changed, triggered, paused, resumed and backfilled."""
    now, schedules = at(second), services.schedules
    past = NewBackfill(start=at(-3), end=at(0), overlap="buffer_all")

    async def one(change: Callable[[AsyncSession], Awaitable[Any]]) -> None:
        async with owned.transaction() as db:
            await change(db)

    def changes(id_: str) -> list[Awaitable[None]]:
        return [
            one(lambda db: patch(services, db, id_, payload=second)),
            one(lambda db: schedules.lifecycle.trigger(db, AGENT, id_, now)),
            one(lambda db: schedules.lifecycle.pause(db, AGENT, id_, None, now)),
            one(lambda db: schedules.lifecycle.resume(db, AGENT, id_, now)),
            one(lambda db: schedules.backfills.start(db, AGENT, id_, past, now)),
        ]

    steps = (schedules.plan_next, schedules.take_over_next, schedules.fire_next, schedules.catch_up_next)
    await asyncio.gather(*(step() for step in steps), *(change for id_ in ids for change in changes(id_)))


async def test_many_changes_beside_planners_and_workers_neither_lose_a_slot_nor_fire_one_twice(
    owned: Database, services: Services, clock: OwnClock
) -> None:
    ids = [await add(services, owned, spec={"every": "PT1S"}, overlap=o) for o in ("allow", "skip", "buffer_all")]
    for second in range(1, 9):
        clock.at = at(second)
        await everything_at_once(services, owned, ids, second)
    for id_ in ids:
        # What nobody has planned yet is written down as having passed.
        async with owned.transaction() as db:
            await services.schedules.lifecycle.pause(db, AGENT, id_, None, clock.at)
            await services.schedules.lifecycle.resume(db, AGENT, id_, clock.at)
    async with owned.transaction() as db:
        own = "select schedule_id, scheduled_at from fires where kind = 'auto' and scheduled_at <= :now order by 1, 2"
        slots = [tuple(row) for row in await db.execute(text(own), {"now": clock.at})]
        rings = (await db.execute(text("select subject from messages"))).scalars().all()
    assert slots == [(id_, at(second)) for id_ in sorted(ids) for second in range(1, 9)]
    assert len(rings) == len(set(rings))
