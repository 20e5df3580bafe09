"""While Postgres is away a request is told to come back, and nothing of it has happened."""

from collections.abc import AsyncIterator

import pytest

from app.kit.database import Database
from app.local.postgres import Postgres
from tests.world import TestAgent

ENDPOINT = {"url": "http://127.0.0.1:9001/rings"}


@pytest.fixture
async def stoppable(postgres: Postgres, connections: Database) -> AsyncIterator[Postgres]:
    """The server of these tests, which runs again afterwards whatever happened, and to which nobody is connected."""
    yield postgres
    if postgres.exit_code() is not None:
        postgres.launch()
    await connections.close()


async def test_a_request_during_a_restart_is_repeated_as_it_was(agent: TestAgent, stoppable: Postgres) -> None:
    request = agent.signed("POST", "/v1/endpoints", ENDPOINT, {"idempotency_key": '"k"'})

    stoppable.stop()
    refused = await agent.http.send(request)
    stoppable.launch()
    # The very same bytes: not even the nonce has been used.
    repeated = await agent.http.send(request)

    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/database-unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert repeated.status_code == 201
    assert len((await agent.get("/v1/endpoints")).json()["items"]) == 1


async def test_whoever_asks_whether_it_is_ready_is_told_that_it_is_not(agent: TestAgent, stoppable: Postgres) -> None:
    stoppable.stop()
    away = await agent.http.get("/readyz")
    stoppable.launch()

    assert (away.status_code, away.json()["type"]) == (503, "/problems/database-unavailable")
    assert (await agent.http.get("/readyz")).status_code == 200
