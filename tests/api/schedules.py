"""What tests of schedules have in common: registering one, and doing the workers' work."""

from typing import Any

from app.kit.due import drain
from app.services import Services
from tests.world import TestAgent

HOURLY: dict[str, Any] = {"every": "PT1H"}


async def endpoint_of(agent: TestAgent) -> str:
    """A new endpoint of this agent's, which nobody listens at."""
    answer = await agent.post("/v1/endpoints", {"url": "http://127.0.0.1:20009/hook"})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def new_schedule(agent: TestAgent, spec: Any, **more: Any) -> dict[str, Any]:
    """A new schedule, with an endpoint of its own unless it is given one."""
    endpoint_id = more.pop("endpoint_id", None) or await endpoint_of(agent)
    answer = await agent.post("/v1/schedules", {"endpoint_id": endpoint_id, "spec": spec, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def put(agent: TestAgent, name: str, body: dict[str, Any], **headers: str) -> Any:
    """The answer to a PUT."""
    return await agent.call("PUT", f"/v1/schedules/{name}", body, headers)


async def work(services: Services) -> None:
    """Plan what falls due, take over what nobody holds, and hand over what is due."""
    await drain(services.schedules.plan_next)
    await drain(services.schedules.take_over_next)
    await drain(services.schedules.fire_next)


async def catch_up(services: Services) -> None:
    """Hand over late fires, too, all of them."""
    await drain(services.schedules.catch_up_next)
    await drain(services.schedules.fire_next)


async def shown(agent: TestAgent, name: str) -> dict[str, Any]:
    """The schedule as it stands."""
    answer = await agent.get(f"/v1/schedules/{name}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def journal(agent: TestAgent, name: str, query: str = "") -> list[tuple[str, str, str | None]]:
    """Time, state and reason of every slot, the earliest first."""
    answer = await agent.get(f"/v1/schedules/{name}/fires?limit=100{query}")
    assert answer.status_code == 200, answer.text
    return [(f["scheduled_at"][11:19], f["state"], f["reason"]) for f in reversed(answer.json()["items"])]


async def told(agent: TestAgent, subject: str) -> list[str]:
    """The kinds of what happened to something, in order."""
    return [event["kind"] for event in (await agent.get(f"/v1/events?subject={subject}")).json()["items"]]
