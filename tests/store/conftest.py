"""What the tests of schedules share: an agent with an endpoint, and workers without a process."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from app.kit.database import Database
from app.kit.wake import Silence
from app.schedules.timekeeper import Timekeeper
from app.services import Services
from tests.scheduling import AGENT, ENDPOINT
from tests.world import EPOCH, OwnClock


@pytest.fixture
async def owned(database: Database) -> Database:
    """A database with an agent and its endpoint."""
    async with database.transaction() as db:
        await db.execute(text("insert into agents (id, created_at) values (:id, :at)"), {"id": AGENT, "at": EPOCH})
        await db.execute(
            text(
                """
                insert into endpoints
                    (id, agent_id, url, state, secret, attempts, attempts_before, created_at, updated_at)
                values (:id, :agent, 'https://agent.example/', 'active', 'whsec_', 0, 0, :at, :at)
                """
            ),
            {"id": ENDPOINT, "agent": AGENT, "at": EPOCH},
        )
    return database


@pytest.fixture
def keeper(owned: Database, services: Services, clock: OwnClock) -> Callable[[], Timekeeper]:
    """Makes workers, as many as the test wants, each with a memory of its own."""
    return lambda: Timekeeper(owned.transaction, clock, Silence(), services.deliveries)
