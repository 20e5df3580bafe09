"""A clock that is set: nothing fires early, and nothing waits for an hour that never comes."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.kit import limits
from app.kit.database import Database
from app.kit.due import drain
from app.schedules.timekeeper import Timekeeper
from app.services import Services
from tests.scheduling import add, at, journal, rows, rung, work
from tests.world import OwnClock


class SetClock(OwnClock):
    """A monotonic clock that the test moves, and a database whose clock was set to show something else."""

    step = timedelta()

    async def now(self, db: AsyncSession) -> datetime:
        return self.at + self.step


class Bell:
    """A wake that keeps what was asked of it."""

    def __init__(self) -> None:
        self.rung: list[str] = []
        self.timers: list[float] = []

    def ring(self, feature: str) -> None:
        self.rung.append(feature)

    def ring_in(self, seconds: float, feature: str) -> None:
        self.timers.append(seconds)


@pytest.fixture
def set_clock() -> SetClock:
    return SetClock()


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
def worker(owned: Database, services: Services, set_clock: SetClock, bell: Bell) -> Timekeeper:
    return Timekeeper(owned.transaction, set_clock, bell, services.deliveries)


async def test_a_step_forward_is_noticed_by_the_next_sweep_of_fires(
    owned: Database, worker: Timekeeper, set_clock: SetClock, bell: Bell
) -> None:
    await add(owned, {"at": "2026-11-22T09:00:01.5Z"}, at(1.5))
    await work(worker)
    assert bell.timers[-1] <= limits.sweep_seconds
    set_clock.step = timedelta(hours=1)
    set_clock.at = at(limits.sweep_seconds)
    assert await worker.fire_next() == 1
    assert await journal(owned) == [(at(1.5), "fired", None)]


async def test_a_step_forward_that_the_planner_notices_rings_for_the_fires(
    owned: Database, worker: Timekeeper, set_clock: SetClock, bell: Bell
) -> None:
    await add(owned, {"at": "2026-11-22T09:00:01.5Z"}, at(1.5))
    await work(worker)
    bell.rung.clear()
    set_clock.step = timedelta(hours=1)
    await worker.plan_next()
    assert "fires" in bell.rung
    assert await worker.fire_next() == 1


async def test_a_step_back_holds_fires_until_their_time_has_come_again(
    owned: Database, worker: Timekeeper, set_clock: SetClock
) -> None:
    await add(owned, {"every": "PT1S"}, at(1))
    await work(worker)
    set_clock.step = timedelta(hours=-1)
    for moment in (1, 2, 3):
        set_clock.at = at(moment)
        await work(worker)
    assert {state for _, state, _ in await journal(owned)} == {"planned"}
    set_clock.step = timedelta()
    await work(worker)
    assert [state for slot, state, _ in await journal(owned) if slot <= at(3)] == ["fired"] * 3


async def test_no_slot_is_lost_or_doubled_while_the_clock_goes_back_and_forth(
    owned: Database, worker: Timekeeper, set_clock: SetClock, services: Services
) -> None:
    for _ in range(5):
        await add(owned, {"every": "PT7S"}, at(7), misfire="all")
    other = Timekeeper(owned.transaction, set_clock, Bell(), services.deliveries)
    for moment, hours in enumerate([0, 0, 1, 1, 0, -1, -1, 0, 1, 0, 0, 1]):
        set_clock.at, set_clock.step = at(moment * 3), timedelta(hours=hours)
        for keeper in (worker, other):
            await work(keeper)
    counted = await rows(
        owned,
        """
        select schedule_id, count(*), count(distinct scheduled_at), min(scheduled_at), max(scheduled_at),
            bool_and(fired_at >= scheduled_at or fired_at is null) as punctual
        from fires group by schedule_id
        """,
    )
    for _, count, distinct, first, last, punctual in counted:
        # Beyond what is caught up with, one row stands for many.
        assert count == distinct
        assert (first, punctual) == (at(7), True)
        assert last >= at(3600)
    bodies = await rung(owned)
    assert len({body["data"]["fire_id"] for body in bodies}) == len(bodies)


async def test_a_heap_that_is_full_looks_at_the_clock_all_the_same(
    owned: Database, worker: Timekeeper, set_clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "fires_held_max", 1)
    await add(owned, {"at": "2026-11-22T09:00:01.5Z"}, at(1.5))
    await drain(worker.plan_next)
    assert await worker.plan_next() == 0
    set_clock.step = timedelta(hours=1)
    set_clock.at = at(limits.sweep_seconds)
    assert await worker.fire_next() == 1
