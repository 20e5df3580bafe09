"""Challenges: whose turn it is, and what operators see of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from app.deliveries import challenger
from app.kit.due import drain
from app.services import Services
from tests.receivers import Post, Receiver, receiving
from tests.world import TestAgent


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


async def test_endpoints_of_one_agent_that_never_answer_leave_room_for_others(
    services: Services, agent: TestAgent, new_agent: Callable[[], Awaitable[TestAgent]], receiver: Receiver
) -> None:
    never = asyncio.Event()

    async def hangs(post: Post) -> web.Response:
        await never.wait()
        return web.Response(status=204)

    other = await new_agent()
    async with receiving(Receiver(verifies=hangs)) as dead:
        for number in range(2 * challenger.challenges_at_once_max):
            await agent.post("/v1/endpoints", {"url": f"{dead.url}/{number}"})
        endpoint = (await other.post("/v1/endpoints", {"url": receiver.url})).json()
        for _ in range(20):
            await services.deliveries.verify_next()
        shown = (await other.get(f"/v1/endpoints/{endpoint['id']}")).json()
        asked = len(dead.challenges)
        never.set()

    assert shown["state"] == "active"
    assert challenger.agent_challenges_max <= asked <= 2 * challenger.agent_challenges_max


@pytest.mark.parametrize(
    ("status", "outcome", "cause"), [(200, "verified", "2xx"), (500, "again", "5xx"), (410, "disabled", "4xx")]
)
async def test_what_became_of_a_challenge_is_counted(
    services: Services, agent: TestAgent, receiver: Receiver, status: int, outcome: str, cause: str
) -> None:
    def verifies(post: Post) -> web.Response:
        return web.json_response({"challenge": post.json["data"]["challenge"]}, status=status)

    def counted() -> float:
        labels = {"outcome": outcome, "cause": cause}
        return REGISTRY.get_sample_value("tocsin_challenges_total", labels) or 0.0

    receiver.verifies, before = verifies, counted()
    await agent.post("/v1/endpoints", {"url": receiver.url})

    await drain(services.deliveries.verify_next)

    assert counted() - before == 1
