"""An endpoint that is not simply rung: paused, broken, throttling, limited or disabled. What is for it waits, and
burns no attempts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import text

from app.deliveries.breaker import cool_down, failures_max
from app.deliveries.service import Outgoing
from app.kit.database import Database
from app.kit.due import drain
from app.kit.wake import Silence
from app.services import Services, open_services
from app.settings import DeliverySettings, Settings
from tests.receivers import Post, Receiver, receiving
from tests.world import OwnClock, TestAgent

FAILS: Callable[[Post], web.Response] = lambda post: web.Response(status=500)  # noqa: E731
AFTER_COOLING = cool_down.total_seconds() * 1.2


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


@pytest.fixture
async def other(settings: Settings, database: Database, clock: OwnClock) -> AsyncIterator[Services]:
    """Another worker."""
    async with open_services(settings, Silence(), name="tests", clock=clock) as opened:
        yield opened


async def work(*workers: Services) -> None:
    for services in workers:
        await drain(services.deliveries.verify_next)
        await drain(services.deliveries.deliver_next)


async def active(services: Services, agent: TestAgent, receiver: Receiver, **members: Any) -> str:
    endpoint = (await agent.post("/v1/endpoints", {"url": receiver.url, **members})).json()
    await drain(services.deliveries.verify_next)
    return endpoint["id"]


async def send(services: Services, endpoint_id: str, number: int = 1) -> None:
    async with services.database.transaction() as db:
        rings = [Outgoing("test.said", b'{"type":"test.said","data":{}}', [endpoint_id])] * number
        await services.deliveries.send(db, rings, await services.clock.now(db))


async def listed(agent: TestAgent, state: str) -> list[dict[str, Any]]:
    return (await agent.get(f"/v1/deliveries?state={state}&limit=100")).json()["items"]


async def test_what_is_sent_to_a_paused_endpoint_goes_when_it_is_resumed(services, agent, receiver) -> None:
    endpoint_id = await active(services, agent, receiver)
    paused = (await agent.post(f"/v1/endpoints/{endpoint_id}/pause")).json()
    await send(services, endpoint_id, 3)
    await work(services)
    waiting, rung = await listed(agent, "pending"), len(receiver.rings)

    resumed = (await agent.post(f"/v1/endpoints/{endpoint_id}/resume")).json()
    await work(services)

    assert (paused["state"], resumed["state"]) == ("paused", "active")
    assert [(each["waits_for"], each["next_attempt_at"]) for each in waiting] == [("endpoint", None)] * 3
    assert (rung, len(receiver.rings), len(receiver.challenges)) == (0, 3, 1)
    assert [each["attempts"] for each in await listed(agent, "delivered")] != []


async def test_one_that_moves_while_it_is_paused_is_challenged_when_it_is_resumed(services, agent, receiver) -> None:
    endpoint_id = await active(services, agent, receiver)
    await agent.post(f"/v1/endpoints/{endpoint_id}/pause")
    moved = await agent.call("PATCH", f"/v1/endpoints/{endpoint_id}", {"url": f"{receiver.url}/new"})

    resumed = (await agent.post(f"/v1/endpoints/{endpoint_id}/resume")).json()
    await work(services)

    assert (moved.json()["state"], resumed["state"]) == ("paused", "pending")
    assert len(receiver.challenges) == 2
    assert (await agent.get(f"/v1/endpoints/{endpoint_id}")).json()["state"] == "active"


async def test_a_disabled_endpoint_is_neither_paused_nor_resumed(services, agent, receiver) -> None:
    endpoint_id = await active(services, agent, receiver)
    async with services.database.transaction() as db:
        await db.execute(text("update endpoints set state = 'disabled'"))

    refusals = [await agent.post(f"/v1/endpoints/{endpoint_id}/{verb}") for verb in ("pause", "resume")]

    assert [each.json()["type"] for each in refusals] == ["/problems/endpoint-not-active"] * 2


async def test_a_broken_endpoint_is_left_alone_and_probed_by_one_and_then_gets_all(
    services, agent, receiver, clock
) -> None:
    receiver.answers = FAILS
    endpoint_id = await active(services, agent, receiver)
    await send(services, endpoint_id, failures_max)
    await work(services)
    await send(services, endpoint_id, 10)
    await work(services)
    while_open = len(receiver.rings)
    clock.advance(seconds=AFTER_COOLING)
    await work(services)
    probed = len(receiver.rings) - while_open
    tries = sorted([len(await history(agent, each)) for each in await listed(agent, "pending")])
    receiver.answers = Receiver().answers
    clock.advance(minutes=6)

    await work(services)

    assert (while_open, probed) == (failures_max, 1)
    # What was sent since has not been tried, and has not burned an attempt on the one that was probed.
    assert tries == [0] * 10 + [1] * 4 + [2]
    assert {each["state"] for each in (await agent.get("/v1/deliveries")).json()["items"]} == {"delivered"}


async def history(agent: TestAgent, delivery: dict[str, Any]) -> list[Any]:
    return (await agent.get(f"/v1/deliveries/{delivery['id']}")).json()["history"]


async def test_an_endpoint_that_asks_for_less_is_left_alone_as_long_as_it_asks(
    services, agent, receiver, clock
) -> None:
    receiver.answers = lambda post: web.Response(status=429, headers={"Retry-After": "60"})
    endpoint_id = await active(services, agent, receiver)
    await send(services, endpoint_id)
    await work(services)
    receiver.answers = Receiver().answers
    await send(services, endpoint_id, 4)
    await work(services)
    clock.advance(seconds=59)
    await work(services)
    early = len(receiver.rings)

    clock.advance(seconds=1)
    await work(services)

    assert early == 1
    assert len(receiver.rings) == 6


async def test_a_rate_holds_over_all_workers(services, other, agent, receiver, clock) -> None:
    endpoint_id = await active(services, agent, receiver, rate_per_second=3)
    await send(services, endpoint_id, 12)
    counted = list[int]()

    for _ in range(4):
        await work(services, other)
        counted.append(len(receiver.rings))
        clock.advance(seconds=1)

    assert counted == [3, 6, 9, 12]


async def test_no_more_fly_than_the_owner_allows_over_all_workers(services, other, agent, receiver) -> None:
    released, most = asyncio.Event(), 0

    async def slowly(post: Post) -> web.Response:
        nonlocal most
        most = max(most, len(receiver.rings))
        await released.wait()
        return web.Response(status=204)

    receiver.answers = slowly
    endpoint_id = await active(services, agent, receiver, max_in_flight=2)
    await send(services, endpoint_id, 6)
    for _ in range(3):
        await services.deliveries.deliver_next()
        await other.deliveries.deliver_next()
    at_first = len(receiver.rings)
    released.set()
    await work(services, other, services)

    assert (at_first, most >= 2, len(receiver.rings)) == (2, True, 6)
    assert await listed(agent, "pending") == []


async def test_a_place_whose_worker_died_is_free_when_its_lease_ends(services, other, agent, receiver, clock) -> None:
    hanging = asyncio.Event()

    async def hangs(post: Post) -> web.Response:
        await hanging.wait()
        return web.Response(status=204)

    receiver.answers = hangs
    endpoint_id = await active(services, agent, receiver, max_in_flight=1)
    await send(services, endpoint_id, 2)
    for _ in range(3):
        await other.deliveries.deliver_next()
    receiver.answers = Receiver().answers
    await work(services)
    before = len(receiver.rings)

    clock.advance(seconds=61)
    await work(services)
    hanging.set()

    assert (before, len(receiver.rings)) == (1, 3)


async def test_an_endpoint_that_fails_for_days_is_disabled_and_its_owner_is_told_elsewhere(
    services, agent, receiver, clock
) -> None:
    receiver.answers = FAILS
    async with receiving() as elsewhere:
        endpoint_id = await active(services, agent, receiver)
        await active(services, agent, elsewhere)
        for _ in range(12):
            await send(services, endpoint_id)
            await work(services)
            clock.advance(hours=12)
        shown = (await agent.get(f"/v1/endpoints/{endpoint_id}")).json()

    assert shown["state"] == "disabled"
    assert "every attempt has failed for 5 days" in shown["state_reason"]
    [told] = elsewhere.rings
    assert (told.type, told.json["data"]["endpoint_id"]) == ("endpoint.disabled", endpoint_id)
    kinds = [event["kind"] for event in (await agent.get("/v1/events?limit=100")).json()["items"]]
    assert kinds.count("endpoint.disabled") == 1


async def test_an_endpoint_is_tried_by_its_owners_own_ladder(services, agent, receiver, clock) -> None:
    receiver.answers = FAILS
    endpoint_id = await active(services, agent, receiver, retry_seconds=[7], timeout_seconds=2)
    await send(services, endpoint_id)
    await work(services)
    [waiting] = await listed(agent, "pending")
    clock.advance(seconds=8)
    await work(services)

    [failed] = await listed(agent, "failed")
    due = (datetime.fromisoformat(waiting["next_attempt_at"]) - clock.wall()).total_seconds() + 8
    assert 7 <= due <= 7.7
    assert failed["reason"] == "no success in 2 attempts"
    [first, _] = await history(agent, failed)
    assert first["next_attempt_at"] == waiting["next_attempt_at"]


async def test_an_endpoint_that_is_enabled_again_is_not_disabled_by_its_next_failure(
    services, agent, receiver, clock
) -> None:
    receiver.answers = FAILS
    endpoint_id = await active(services, agent, receiver)
    for _ in range(12):
        await send(services, endpoint_id)
        await work(services)
        clock.advance(hours=12)
    disabled = (await agent.get(f"/v1/endpoints/{endpoint_id}")).json()["state"]
    await agent.post(f"/v1/endpoints/{endpoint_id}/enable")

    await work(services)
    await work(services)

    shown = (await agent.get(f"/v1/endpoints/{endpoint_id}")).json()["state"]
    stats = (await agent.get(f"/v1/endpoints/{endpoint_id}/stats")).json()
    assert (disabled, shown) == ("disabled", "active")
    assert stats["failures"] > 0
    assert stats["failing_since"] == clock.wall().isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def test_lanes_have_their_turn_while_a_backlog_fills_the_worker(
    settings, services, agent, receiver, clock
) -> None:
    """What is held for an endpoint that was paused, and a backlog of many others that takes all the room there is."""
    narrow = settings.model_copy(update={"delivery": DeliverySettings(connections=4)})

    def takes_its_time(post: Post) -> web.Response:
        clock.advance(seconds=0.05)
        return web.Response(status=204)

    async with receiving() as calm, open_services(narrow, Silence(), name="tests", clock=clock) as worker:
        paused = await active(services, agent, calm)
        await agent.post(f"/v1/endpoints/{paused}/pause")
        await send(services, paused)
        await work(services)
        await agent.post(f"/v1/endpoints/{paused}/resume")
        receiver.answers = takes_its_time
        for endpoint_id in await many(services, agent, receiver, 100):
            await send(services, endpoint_id, 5)
        while not calm.rings:
            await worker.deliveries.deliver_next()
        behind = len(receiver.rings)

    assert behind < 300


async def many(services: Services, agent: TestAgent, receiver: Receiver, number: int) -> list[str]:
    """So many active endpoints, without asking each."""
    statement = """
        insert into endpoints (id, agent_id, url, state, secret, attempts, attempts_before, created_at, updated_at)
        select 'ep_' || n, :agent, :url, 'active', 'whsec_YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3', 0, 0, :now, :now
        from generate_series(1, :number) n returning id
    """
    values = {"agent": agent.id, "url": receiver.url, "now": services.clock.wall(), "number": number}
    async with services.database.transaction() as db:
        return list((await db.execute(text(statement), values)).scalars())
