"""How many schedules an agent may have, and whose endpoints they may name."""

import asyncio

import httpx
import pytest

from app.settings import ScheduleSettings, Settings
from tests.api.schedules import HOURLY, endpoint_of, new_schedule, put
from tests.conftest import NewAgent
from tests.world import TestAgent


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"schedules": ScheduleSettings(per_agent_max=3)})


async def test_one_schedule_too_many_is_refused_and_says_how_many_there_may_be(agent: TestAgent) -> None:
    body = {"endpoint_id": await endpoint_of(agent), "spec": HOURLY}
    made = [await new_schedule(agent, **body) for _ in range(3)]
    for answer in (await agent.post("/v1/schedules", body), await put(agent, "report", body)):
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
        assert "at most 3 schedules" in answer.json()["detail"]
    assert (await put(agent, made[0]["id"], {**body, "name": "x"})).status_code == 200
    await agent.call("DELETE", f"/v1/schedules/{made[0]['id']}")
    assert (await put(agent, "report", body)).status_code == 201


async def test_many_at_once_do_not_get_past_the_bound(agent: TestAgent) -> None:
    body = {"endpoint_id": await endpoint_of(agent), "spec": HOURLY}
    answers: list[httpx.Response] = await asyncio.gather(
        *(put(agent, f"report-{n}", body) for n in range(4)), *(agent.post("/v1/schedules", body) for _ in range(3))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 201, 201, 409, 409, 409, 409]
    assert len((await agent.get("/v1/schedules")).json()["items"]) == 3


async def test_the_endpoint_that_hears_of_a_pause_is_ones_own(agent: TestAgent, new_agent: NewAgent) -> None:
    body = {"endpoint_id": await endpoint_of(agent), "spec": HOURLY, "pause_after_give_ups": 3}
    theirs = await endpoint_of(await new_agent())
    assert (await agent.post("/v1/schedules", {**body, "notify_endpoint_id": theirs})).status_code == 404
    made = await agent.post("/v1/schedules", {**body, "notify_endpoint_id": body["endpoint_id"]})
    assert made.status_code == 201
    changed = await agent.call("PATCH", f"/v1/schedules/{made.json()['id']}", {"notify_endpoint_id": theirs})
    assert changed.status_code == 404
