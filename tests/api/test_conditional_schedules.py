"""A write may say which version it has in mind, and changes nothing if there is another."""

import asyncio

import pytest

from tests.api.schedules import HOURLY, endpoint_of, new_schedule, put, shown
from tests.world import TestAgent


async def test_a_schedule_is_answered_with_its_version(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    answer = await agent.get(f"/v1/schedules/{made['id']}")
    assert answer.headers["etag"] == '"1"'


WRITES = [
    ("PATCH", "", {"name": "x"}),
    ("POST", "/pause", {}),
    ("POST", "/resume", None),
    ("POST", "/trigger", None),
    ("POST", "/skip-next", None),
    ("POST", "/backfill", {"start": "2026-11-22T07:00:00Z", "end": "2026-11-22T09:00:00Z"}),
    ("DELETE", "", None),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_a_write_against_another_version_is_refused_and_tells_it(
    agent: TestAgent, method: str, path: str, body: dict[str, str] | None
) -> None:
    made = await new_schedule(agent, HOURLY)
    answer = await agent.call(method, f"/v1/schedules/{made['id']}{path}", body, {"if_match": '"2"'})
    assert answer.status_code == 412
    assert (answer.json()["type"], answer.json()["version"]) == ("/problems/precondition-failed", 1)
    assert await shown(agent, made["id"]) == made
    assert (await agent.get(f"/v1/schedules/{made['id']}/fires")).json()["items"] == []


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_a_write_against_the_present_version_goes_ahead(
    agent: TestAgent, method: str, path: str, body: dict[str, str] | None
) -> None:
    made = await new_schedule(agent, HOURLY)
    answer = await agent.call(method, f"/v1/schedules/{made['id']}{path}", body, {"if_match": '"7", "1"'})
    assert answer.status_code < 300, answer.text


async def test_a_put_only_if_nothing_is_there(agent: TestAgent) -> None:
    body = {"endpoint_id": await endpoint_of(agent), "spec": HOURLY}
    assert (await put(agent, "report", body, if_none_match="*")).status_code == 201
    again = await put(agent, "report", body, if_none_match="*")
    assert (again.status_code, again.json()["version"]) == (412, 1)


@pytest.mark.parametrize("condition", ["*", '"1"'])
async def test_a_put_only_if_something_is_there(agent: TestAgent, condition: str) -> None:
    body = {"endpoint_id": await endpoint_of(agent), "spec": HOURLY}
    answer = await put(agent, "report", body, if_match=condition)
    assert answer.status_code == 412
    assert "version" not in answer.json()
    assert (await agent.get("/v1/schedules")).json()["items"] == []


async def test_of_two_writers_with_the_same_version_in_mind_one_wins(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    path = f"/v1/schedules/{made['id']}"
    answers = await asyncio.gather(
        *(agent.call("PATCH", path, {"name": f"writer {n}"}, {"if_match": '"1"'}) for n in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    assert (await shown(agent, made["id"]))["version"] == 2


async def test_of_many_that_put_only_if_nothing_is_there_one_wins(agent: TestAgent) -> None:
    body = {"endpoint_id": await endpoint_of(agent), "spec": HOURLY}
    answers = await asyncio.gather(*(put(agent, "report", body, if_none_match="*") for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 412, 412, 412, 412]


@pytest.mark.parametrize("condition", ["1", '"1', "W/1", "*, *", '"1";'])
async def test_what_is_no_condition_is_refused(agent: TestAgent, condition: str) -> None:
    made = await new_schedule(agent, HOURLY)
    answer = await agent.call("DELETE", f"/v1/schedules/{made['id']}", None, {"if_match": condition})
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-precondition")
    assert (await agent.get(f"/v1/schedules/{made['id']}")).status_code == 200


async def test_a_condition_cannot_be_taken_off_a_signed_request(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    request = agent.signed("DELETE", f"/v1/schedules/{made['id']}", None, {"if_match": '"7"'})
    del request.headers["if-match"]
    assert (await agent.http.send(request)).status_code == 401
    request = agent.signed("DELETE", f"/v1/schedules/{made['id']}")
    request.headers["if-none-match"] = "*"
    assert (await agent.http.send(request)).status_code == 401


async def test_the_same_key_on_another_condition_is_another_request(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    path = f"/v1/schedules/{made['id']}"
    first = await agent.call("PATCH", path, {"name": "x"}, {"idempotency_key": '"k"', "if_match": '"1"'})
    again = await agent.call("PATCH", path, {"name": "x"}, {"idempotency_key": '"k"', "if_match": '"1"'})
    other = await agent.call("PATCH", path, {"name": "x"}, {"idempotency_key": '"k"', "if_match": '"2"'})
    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 422)
    assert (again.json(), again.headers["etag"]) == (first.json(), '"2"')
    assert other.json()["type"] == "/problems/idempotency-key-reused"
