"""The database's clock goes on by itself, and leases end of what is in flight: who carries it knows it again."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from app.deliveries.service import Outgoing
from app.kit.due import drain
from app.services import Services
from tests.receivers import Post, Receiver, receiving
from tests.world import OwnClock, TestAgent


class Slow:
    """A receiver that answers when it is let."""

    def __init__(self) -> None:
        self.let, self.status = asyncio.Event(), 204

    async def __call__(self, post: Post) -> web.Response:
        await self.let.wait()
        return web.Response(status=self.status)


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
async def receiver(slow: Slow) -> AsyncIterator[Receiver]:
    async with receiving(Receiver(answers=slow)) as listening:
        yield listening


@pytest.fixture
async def endpoint_id(services: Services, agent: TestAgent, receiver: Receiver) -> str:
    endpoint = (await agent.post("/v1/endpoints", {"url": receiver.url})).json()
    await drain(services.deliveries.verify_next)
    async with services.database.transaction() as db:
        ring = Outgoing("test.said", b'{"type":"test.said","data":{}}', [endpoint["id"]])
        await services.deliveries.send(db, [ring], await services.clock.now(db))
    await services.deliveries.deliver_next()
    return endpoint["id"]


async def test_what_is_in_flight_is_not_sent_again_by_who_sent_it(
    services: Services, agent: TestAgent, receiver: Receiver, endpoint_id: str, slow: Slow, clock: OwnClock
) -> None:
    for _ in range(3):
        clock.advance(hours=1)
        await services.deliveries.deliver_next()
    slow.let.set()

    await drain(services.deliveries.deliver_next)

    [delivery] = (await agent.get("/v1/deliveries")).json()["items"]
    history = (await agent.get(f"/v1/deliveries/{delivery['id']}")).json()["history"]
    assert (delivery["state"], delivery["attempts"], len(receiver.rings)) == ("delivered", 1, 1)
    assert [each["number"] for each in history] == [1]


async def test_what_fails_after_a_step_is_tried_again_by_its_ladder(
    services: Services, agent: TestAgent, receiver: Receiver, endpoint_id: str, slow: Slow, clock: OwnClock
) -> None:
    clock.advance(hours=1)
    await services.deliveries.deliver_next()
    slow.status = 500
    slow.let.set()
    await drain(services.deliveries.deliver_next)
    [waiting] = (await agent.get("/v1/deliveries")).json()["items"]
    slow.status = 204
    clock.advance(seconds=6)

    await drain(services.deliveries.deliver_next)

    [delivery] = (await agent.get("/v1/deliveries")).json()["items"]
    assert (waiting["state"], waiting["attempts"]) == ("pending", 1)
    assert (delivery["state"], delivery["attempts"], len(receiver.rings)) == ("delivered", 2, 2)
