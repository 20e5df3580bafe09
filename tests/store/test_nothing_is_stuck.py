"""Whatever publishes, crashes, pauses, fails and deletes in whatever order: nothing pending is ever forgotten."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

import pytest
from aiohttp import web
from sqlalchemy import text

from app.deliveries.service import Outgoing
from app.kit.due import drain
from app.kit.wake import Silence
from app.services import Services, open_services
from app.settings import Settings
from tests.receivers import Post, Receiver, receiving
from tests.world import OwnClock, TestAgent

STEPS = 25

STUCK = """
    select d.id, d.endpoint_id, d.state, d.hold, d.due_at, d.order_key, e.state as endpoint, l.due_at as lane_due_at
    from deliveries d left join endpoints e on e.id = d.endpoint_id left join lanes l on l.endpoint_id = d.endpoint_id
    where d.state = 'pending' and not (
        (d.hold is null and d.due_at is not null)
        or (d.hold = 'lane' and d.due_at is null
            and (l.due_at is not null or (l.endpoint_id is not null and e.state in ('pending', 'paused', 'disabled'))))
        or (d.hold = 'order' and d.due_at is null and exists (
            select from deliveries first
            where first.endpoint_id = d.endpoint_id and first.order_key = d.order_key and first.state = 'pending'
                and first.hold is distinct from 'order'))
    )
"""

TWO_FIRSTS = """
    select endpoint_id, order_key from deliveries
    where order_key is not null and state = 'pending' and hold is distinct from 'order'
    group by 1, 2 having count(*) > 1
"""


class Relay:
    """Workers that can die, an agent, and endpoints that fail at random."""

    def __init__(self, settings: Settings, clock: OwnClock, agent: TestAgent, stack: AsyncExitStack, seed: int) -> None:
        self.settings, self.clock, self.agent, self.stack = settings, clock, agent, stack
        self.random = random.Random(seed)
        self.receiver = Receiver(answers=self.answer)
        self.is_well = False
        self.endpoint_ids: list[str] = []
        self.workers: list[Services] = []

    def answer(self, post: Post) -> web.Response:
        if self.is_well:
            return web.Response(status=204)
        return web.Response(status=self.random.choice([204, 204, 500, 503, 429, 410]))

    async def worker(self) -> Services:
        opening = open_services(self.settings, Silence(), name="tests", clock=self.clock)
        services = await self.stack.enter_async_context(opening)
        services.deliveries.start()
        self.workers.append(services)
        return services

    async def publish(self) -> None:
        worker = self.random.choice(self.workers)
        key = self.random.choice([None, None, "a", "b"])
        endpoint_ids = [id for id in self.endpoint_ids if self.random.random() < 0.7]
        outgoing = [Outgoing("test.said", b'{"type":"test.said"}', endpoint_ids, order_key=key)] * self.random.randint(
            1, 4
        )
        async with worker.database.transaction() as db:
            now = self.clock.at
            if self.random.random() < 0.5:
                take_off = (await worker.deliveries.dispatch(db, outgoing, now)).take_off
            else:
                await worker.deliveries.send(db, outgoing, now)
                take_off = None
        if take_off is not None and self.random.random() < 0.8:
            take_off()

    async def round(self) -> None:
        await self.random.choice(self.workers).deliveries.deliver_next()

    async def drain(self) -> None:
        await drain(self.random.choice(self.workers).deliveries.deliver_next)

    async def crash(self) -> None:
        """What this worker had claimed, and what it was about to conclude, is lost."""
        self.workers.pop(self.random.randrange(len(self.workers)))
        await self.worker()

    async def pause(self) -> None:
        await self.agent.post(f"/v1/endpoints/{self.random.choice(self.endpoint_ids)}/pause")

    async def resume(self) -> None:
        id = self.random.choice(self.endpoint_ids)
        await self.agent.post(f"/v1/endpoints/{id}/{self.random.choice(['resume', 'enable'])}")
        await drain(self.workers[0].deliveries.verify_next)

    async def wait(self) -> None:
        self.clock.advance(seconds=self.random.choice([0.5, 5, 31, 61, 3600]))

    async def redeliver(self) -> None:
        listed = (await self.agent.get("/v1/deliveries?limit=20")).json()["items"]
        listed = [each for each in listed if each["order_key"] is None]
        if listed:
            await self.agent.post(f"/v1/deliveries/{self.random.choice(listed)['id']}/redeliver")

    async def delete(self) -> None:
        """Rarely, and not the last."""
        if len(self.endpoint_ids) > 2 and self.random.random() < 0.3:
            id = self.endpoint_ids.pop(self.random.randrange(len(self.endpoint_ids)))
            (await self.agent.call("DELETE", f"/v1/endpoints/{id}")).raise_for_status()

    @property
    def actions(self) -> Mapping[Callable[[], Awaitable[None]], int]:
        """What may happen, and how often."""
        return {
            self.publish: 8,
            self.round: 10,
            self.drain: 3,
            self.wait: 4,
            self.crash: 2,
            self.pause: 2,
            self.resume: 3,
            self.redeliver: 2,
            self.delete: 1,
        }


@pytest.fixture(params=[1, 2, 3])
async def relay(
    request: pytest.FixtureRequest, settings: Settings, clock: OwnClock, agent: TestAgent
) -> AsyncIterator[Relay]:
    async with AsyncExitStack() as stack:
        made = Relay(settings, clock, agent, stack, request.param)
        await stack.enter_async_context(receiving(made.receiver))
        for members in ({}, {"max_in_flight": 2}, {"rate_per_second": 3}, {"max_in_flight": 1, "rate_per_second": 1}):
            created = await agent.post("/v1/endpoints", {"url": made.receiver.url, **members})
            made.endpoint_ids.append(created.json()["id"])
        for _ in range(2):
            await made.worker()
        await drain(made.workers[0].deliveries.verify_next)
        yield made


async def rows(relay: Relay, question: str) -> list[dict[str, object]]:
    async with relay.workers[0].database.transaction() as db:
        return [dict(row) for row in (await db.execute(text(question))).mappings()]


async def test_nothing_pending_is_forgotten_whatever_happens(relay: Relay) -> None:
    actions = relay.actions
    for number in range(STEPS):
        [act] = relay.random.choices(list(actions), list(actions.values()))
        await act()
        assert (number, act.__name__, await rows(relay, STUCK)) == (number, act.__name__, [])
        assert (number, act.__name__, await rows(relay, TWO_FIRSTS)) == (number, act.__name__, [])

    relay.is_well = True
    for id in relay.endpoint_ids:
        await relay.agent.post(f"/v1/endpoints/{id}/resume")
        await relay.agent.post(f"/v1/endpoints/{id}/enable")
    await drain(relay.workers[0].deliveries.verify_next)
    for _ in range(400):
        await relay.drain()
        if not await rows(relay, "select id from deliveries where state = 'pending'"):
            break
        relay.clock.advance(minutes=20)

    assert await rows(relay, "select id, hold, due_at from deliveries where state = 'pending'") == []
