"""A host name that is slow to look up holds up its own request and nothing else."""

from collections.abc import Sequence

import pytest

from app.kit.database import Database
from app.services import Services
from tests.world import TestAgent

ASKS = [
    ("/v1/endpoints", {"url": "https://slow.example/rings"}),
    ("/v1/subscriptions", {"source": {"kind": "http.json", "url": "https://slow.example/"}}),
]


class Watchful:
    """A resolver that looks, during each look-up, how many connections to the database are in use."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.in_use: list[int] = []
        self.answers: Sequence[str] = ["93.184.215.14"]

    async def addresses(self, host: str) -> Sequence[str]:
        self.in_use.append(self.database.engine.pool.checkedout())  # pyright: ignore
        return self.answers


@pytest.fixture
def resolver(services: Services, monkeypatch: pytest.MonkeyPatch) -> Watchful:
    watchful = Watchful(services.database)
    monkeypatch.setattr(services.outbound, "_resolver", watchful)
    return watchful


@pytest.mark.parametrize(("path", "body"), ASKS)
async def test_no_connection_is_held_during_a_look_up(
    agent: TestAgent, resolver: Watchful, path: str, body: dict[str, object]
) -> None:
    answer = await agent.post(path, body)
    assert answer.status_code == 201
    assert resolver.in_use == [0]


@pytest.mark.parametrize(("path", "body"), ASKS)
async def test_a_repeat_is_answered_from_memory_whatever_the_name_says_today(
    agent: TestAgent, resolver: Watchful, path: str, body: dict[str, object]
) -> None:
    first = await agent.post(path, body, idempotency_key="once")
    resolver.answers = ["10.0.0.7"]
    repeat = await agent.post(path, body, idempotency_key="once")
    fresh = await agent.post(path, body, idempotency_key="again")
    assert (repeat.status_code, repeat.content) == (201, first.content)
    assert (fresh.status_code, fresh.json()["type"]) == (422, "/problems/forbidden-address")


@pytest.mark.parametrize(("path", "body"), ASKS)
async def test_a_refused_name_uses_up_its_nonce(
    agent: TestAgent, resolver: Watchful, path: str, body: dict[str, object]
) -> None:
    resolver.answers = ["10.0.0.7"]
    request = agent.signed("POST", path, body)
    assert (await agent.http.send(request)).status_code == 422
    assert (await agent.http.send(request)).json()["type"] == "/problems/replayed-nonce"
