"""The same key and the same request get the same answer, and have one effect."""

import asyncio

from app.services import Services
from tests.conftest import NewAgent
from tests.world import OwnClock, TestAgent
from workers.housekeeping import tidy

ENDPOINT = {"url": "http://127.0.0.1:9001/rings"}


async def _ids(agent: TestAgent) -> list[str]:
    return [endpoint["id"] for endpoint in (await agent.get("/v1/endpoints")).json()["items"]]


async def test_a_repeated_write_is_answered_from_memory(agent: TestAgent) -> None:
    first = await agent.post("/v1/endpoints", ENDPOINT, idempotency_key='"k"')
    again = await agent.post("/v1/endpoints", ENDPOINT, idempotency_key='"k"')
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert await _ids(agent) == [first.json()["id"]]


async def test_the_same_key_for_another_request_is_refused(agent: TestAgent) -> None:
    await agent.post("/v1/endpoints", ENDPOINT, idempotency_key='"k"')
    other = await agent.post("/v1/endpoints", {**ENDPOINT, "description": "another"}, idempotency_key='"k"')
    assert other.status_code == 422
    assert other.json()["type"] == "/problems/idempotency-key-reused"
    assert len(await _ids(agent)) == 1


async def test_a_key_belongs_to_its_agent(new_agent: NewAgent) -> None:
    one, other = await new_agent(), await new_agent()
    first = await one.post("/v1/endpoints", ENDPOINT, idempotency_key='"k"')
    second = await other.post("/v1/endpoints", ENDPOINT, idempotency_key='"k"')
    assert second.status_code == 201
    assert second.json()["id"] != first.json()["id"]


async def test_a_refusal_is_not_kept(agent: TestAgent) -> None:
    assert (await agent.post("/v1/endpoints", {}, idempotency_key='"k"')).status_code == 422
    assert (await agent.post("/v1/endpoints", ENDPOINT, idempotency_key='"k"')).status_code == 201


async def test_many_at_once_do_it_once(agent: TestAgent) -> None:
    requests = [agent.signed("POST", "/v1/endpoints", ENDPOINT, {"idempotency_key": '"k"'}) for _ in range(8)]
    answers = await asyncio.gather(*(agent.http.send(request) for request in requests))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 409)
    assert await _ids(agent) == [next(answer.json()["id"] for answer in answers if answer.status_code == 201)]


async def test_a_key_is_forgotten_after_a_day(agent: TestAgent, clock: OwnClock, services: Services) -> None:
    first = await agent.post("/v1/endpoints", ENDPOINT, idempotency_key='"k"')
    clock.advance(hours=23, minutes=59)
    await tidy(services)
    assert (await agent.post("/v1/endpoints", ENDPOINT, idempotency_key='"k"')).json() == first.json()
    clock.advance(minutes=1)
    await tidy(services)
    second = await agent.post("/v1/endpoints", ENDPOINT, idempotency_key='"k"')
    assert second.status_code == 201
    assert second.json()["id"] != first.json()["id"]


async def test_a_key_that_is_no_key_is_refused(agent: TestAgent) -> None:
    answer = await agent.post("/v1/endpoints", ENDPOINT, idempotency_key="a b")
    assert answer.json()["type"] == "/problems/invalid-idempotency-key"
