"""How a worker hands over: in batches, without leaving any behind when a drain has reached its bound."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from app.kit import limits
from app.kit.database import Database
from app.services import Services, open_services
from app.settings import Settings
from tests.world import EPOCH, OwnClock
from workers import schedules


class Rung:
    """A bell that notes what is rung."""

    def __init__(self) -> None:
        self.features: list[str] = []

    def ring(self, feature: str) -> None:
        self.features.append(feature)

    def ring_in(self, seconds: float, feature: str) -> None:
        return None


@pytest.fixture
def bell() -> Rung:
    return Rung()


@pytest.fixture
async def worker(settings: Settings, database: Database, clock: OwnClock, bell: Rung) -> AsyncIterator[Services]:
    """A worker that holds three fires, all of them due."""
    async with database.transaction() as db:
        await db.execute(text("insert into agents (id, created_at) values ('agt_1', :at)"), {"at": EPOCH})
        await db.execute(
            text(
                """
                insert into schedules
                    (id, agent_id, spec, payload, version, state, next_fire, runs, created_at, updated_at)
                select 'sch_' || n, 'agt_1', '{"every": "PT1H"}', 'null', 1, 'active', :at, 0, :at, :at
                from generate_series(1, 3) as n
                """
            ),
            {"at": EPOCH},
        )
    async with open_services(settings, bell, name="tests", clock=clock) as services:
        await schedules.plan(services)
        bell.features.clear()
        yield services


async def open_fires(services: Services) -> int:
    async with services.database.transaction() as db:
        return (await db.execute(text("select count(*) from fires where state = 'planned'"))).scalar_one()


async def test_a_drain_that_reaches_its_bound_rings_for_the_rest(
    worker: Services, bell: Rung, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "fire_batch_max", 1)
    monkeypatch.setattr(limits, "drain_rounds_max", 2)

    await schedules.fire(worker)
    first = (await open_fires(worker), bell.features.count("fires"))
    await schedules.fire(worker)

    assert first == (1, 1)
    assert (await open_fires(worker), bell.features.count("fires")) == (0, 1)


async def test_what_falls_due_a_little_later_goes_with_the_next_hand_over(worker: Services, clock: OwnClock) -> None:
    before = clock.at

    await schedules.fire(worker)

    assert await open_fires(worker) == 0
    assert (clock.at - before).total_seconds() == limits.fires_apart_seconds
