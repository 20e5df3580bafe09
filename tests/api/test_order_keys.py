"""What carries an order key arrives one after the other; other keys do not wait for it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import text

from app.deliveries.service import Outgoing
from app.kit.due import drain
from app.services import Services
from tests.receivers import Post, Receiver, receiving
from tests.world import TestAgent


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


@pytest.fixture
async def endpoint_id(services: Services, agent: TestAgent, receiver: Receiver) -> str:
    endpoint = (await agent.post("/v1/endpoints", {"url": receiver.url})).json()
    await drain(services.deliveries.verify_next)
    services.deliveries.start()
    return endpoint["id"]


async def send(services: Services, endpoint_id: str, *said: tuple[str | None, int]) -> None:
    """Dispatch these numbers under these keys, all at once."""
    rings = [
        Outgoing("test.said", b'{"type":"test.said","data":%d}' % number, [endpoint_id], order_key=key)
        for key, number in said
    ]
    async with services.database.transaction() as db:
        dispatched = await services.deliveries.dispatch(db, rings, await services.clock.now(db))
    dispatched.take_off()


def heard(receiver: Receiver) -> list[int]:
    return [post.json["data"] for post in receiver.rings]


async def states(agent: TestAgent) -> list[tuple[Any, ...]]:
    items = (await agent.get("/v1/deliveries")).json()["items"]
    return [(each["state"], each["waits_for"]) for each in reversed(items)]


async def test_one_key_arrives_in_the_order_in_which_it_was_sent(services, agent, receiver, endpoint_id) -> None:
    await send(services, endpoint_id, *(("a", number) for number in range(10)))
    await send(services, endpoint_id, *(("a", number) for number in range(10, 15)))
    before = await states(agent)

    await drain(services.deliveries.deliver_next)

    assert before == [("pending", None), *[("pending", "order")] * 14]
    assert heard(receiver) == list(range(15))


async def test_the_next_waits_for_the_retries_of_the_one_before_and_other_keys_do_not(
    services, receiver, endpoint_id, clock
) -> None:
    receiver.answers = lambda post: web.Response(status=500 if post.json["data"] == 1 else 204)
    await send(services, endpoint_id, ("a", 1), ("a", 2), ("b", 3), (None, 4))
    await drain(services.deliveries.deliver_next)
    while_it_fails = sorted(heard(receiver))
    receiver.answers = Receiver().answers
    clock.advance(seconds=6)

    await drain(services.deliveries.deliver_next)

    assert while_it_fails == [1, 3, 4]
    assert heard(receiver)[3:] == [1, 2]


async def test_the_next_goes_when_the_one_before_has_failed_for_good(services, agent, receiver, endpoint_id) -> None:
    receiver.answers = lambda post: web.Response(status=413 if post.json["data"] == 1 else 204)
    await send(services, endpoint_id, ("a", 1), ("a", 2))

    await drain(services.deliveries.deliver_next)

    assert heard(receiver) == [1, 2]
    assert [state for state, _ in await states(agent)] == ["failed", "delivered"]


async def test_deleting_the_endpoint_cancels_those_that_wait_for_their_turn(
    services, agent, receiver, endpoint_id
) -> None:
    await agent.post(f"/v1/endpoints/{endpoint_id}/pause")
    await send(services, endpoint_id, ("a", 1), ("a", 2), ("b", 3))
    (await agent.call("DELETE", f"/v1/endpoints/{endpoint_id}")).raise_for_status()

    await drain(services.deliveries.deliver_next)

    assert [state for state, _ in await states(agent)] == ["cancelled"] * 3
    assert receiver.rings == []


async def test_one_added_while_its_endpoint_goes_is_cancelled_in_its_turn(services, agent, endpoint_id) -> None:
    await send(services, endpoint_id, ("a", 1), ("a", 2), ("a", 3))
    async with services.database.transaction() as db:
        await db.execute(text("delete from endpoints"))

    await drain(services.deliveries.deliver_next)

    services.deliveries.stop()
    assert {state for state, _ in await states(agent)} == {"cancelled"}


async def test_order_is_kept_through_a_breaker_that_opens(services, receiver, endpoint_id, clock) -> None:
    def fails_at_first(post: Post) -> web.Response:
        return web.Response(status=500 if len(receiver.rings) <= 6 else 204)

    receiver.answers = fails_at_first
    await send(services, endpoint_id, *((f"k{number % 3}", number) for number in range(12)))
    for _ in range(20):
        await drain(services.deliveries.deliver_next)
        clock.advance(minutes=6)

    arrived = list(dict.fromkeys(heard(receiver)))
    assert sorted(arrived) == list(range(12))
    assert all(arrived.index(number) < arrived.index(number + 3) for number in range(9))
