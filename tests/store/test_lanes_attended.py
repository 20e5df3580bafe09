"""Lanes as couriers attend them: nothing held is forgotten, whoever changes the endpoint just then."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from app.deliveries import lane_book
from app.deliveries.service import Outgoing
from app.kit.database import Database
from app.kit.due import drain
from app.services import Services
from tests.receivers import Receiver, receiving
from tests.store.test_deliveries_races import blocked
from tests.world import OwnClock, TestAgent


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


@pytest.fixture
async def endpoint_id(services: Services, agent: TestAgent, receiver: Receiver) -> str:
    """One that is paused."""
    endpoint = (await agent.post("/v1/endpoints", {"url": receiver.url})).json()
    await drain(services.deliveries.verify_next)
    await agent.post(f"/v1/endpoints/{endpoint['id']}/pause")
    return endpoint["id"]


async def send(services: Services, endpoint_id: str) -> None:
    async with services.database.transaction() as db:
        ring = Outgoing("test.said", b'{"type":"test.said","data":{}}', [endpoint_id])
        await services.deliveries.send(db, [ring], await services.clock.now(db))


async def test_what_is_held_while_somebody_resumes_its_endpoint_goes_when_he_has(
    services: Services, agent: TestAgent, receiver: Receiver, endpoint_id: str, clock: OwnClock
) -> None:
    """He has looked for what is held, and found nothing, when something is held and its lane is attended."""
    async with services.database.transaction() as resuming:
        await services.deliveries.endpoints.resume(resuming, agent.id, endpoint_id, clock.at)
        await send(services, endpoint_id)
        for _ in range(3):
            await services.deliveries.deliver_next()
        before = len(receiver.rings)

    await drain(services.deliveries.deliver_next)

    assert (before, len(receiver.rings)) == (0, 1)


async def test_a_lane_that_was_let_go_of_just_now_is_made_anew(database: Database, clock: OwnClock) -> None:
    """Held for an endpoint that is no more, a delivery is found by its lane, and cancelled."""
    async with database.transaction() as db:
        await lane_book.lock(db, ["ep_1", "ep_2"])
    async with database.transaction() as attending:
        await lane_book.lock(attending, ["ep_2"])

        async def holding() -> list[str]:
            async with database.transaction() as db:
                return [lane.endpoint_id for lane in await lane_book.lock(db, ["ep_1", "ep_2"])]

        held = asyncio.create_task(holding())
        await blocked(database)
        await lane_book.let_go(attending, ["ep_2"], clock.at, 10)

    assert await held == ["ep_1", "ep_2"]


async def test_the_lane_of_an_endpoint_that_failed_goes_with_it(
    services: Services, agent: TestAgent, database: Database, receiver: Receiver, endpoint_id: str, clock: OwnClock
) -> None:
    await agent.post(f"/v1/endpoints/{endpoint_id}/resume")
    async with database.transaction() as db:
        await db.execute(
            text("insert into lanes (endpoint_id, breaker, failures) values (:id, 'open', 9), ('ep_gone', 'open', 9)"),
            {"id": endpoint_id},
        )

    (await agent.call("DELETE", f"/v1/endpoints/{endpoint_id}")).raise_for_status()
    async with database.transaction() as db:
        await services.deliveries.forget(db, clock.at)
    await drain(services.deliveries.deliver_next)

    async with database.transaction() as db:
        assert await db.scalar(text("select count(*) from lanes")) == 0
