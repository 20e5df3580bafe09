"""A subscription as server-sent events: each entry as it comes, from where one left off, and no connection held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette

from app.kit import limits
from app.kit.clock import SystemClock
from app.kit.due import drain
from app.kit.wake import Silence
from app.main import assemble, routes
from app.services import Services, open_services
from app.settings import ChainSettings, Settings
from tests.conftest import NewAgent
from tests.feeding import Written
from tests.world import OwnClock, TestAgent
from tocsin.feeds import hash_of

CHAIN = "eip155:31337"
LOGS: dict[str, Any] = {"kind": "evm.log", "chain": CHAIN, "address": "0x" + "aa" * 20}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"chains": {CHAIN: ChainSettings.model_validate({"rpc_url": "http://127.0.0.1:1"})}}
    )


@pytest.fixture
async def app(services: Services) -> Starlette:
    return assemble(routes(services))


@pytest.fixture
async def subscription(agent: TestAgent) -> dict[str, Any]:
    created = await agent.post("/v1/subscriptions", {"source": LOGS})
    assert created.status_code == 201, created.text
    return created.json()


@pytest.fixture
async def chain(services: Services, clock: OwnClock, subscription: dict[str, Any]) -> Written:
    """The chain that the subscription is to, written by the test."""
    written = Written(
        services.database, services, clock, source_id=subscription["source_id"], filter_id=subscription["filter_id"]
    )
    await written.look(add=written.grow(0))
    return written


async def tell(services: Services, chain: Written, events: int) -> None:
    await chain.look(add=chain.grow(events))
    await drain(services.subscriptions.feed_next)


@asynccontextmanager
async def streaming(
    app: Starlette, agent: TestAgent, subscription: dict[str, Any], **headers: str
) -> AsyncGenerator[AsyncIterator[bytes]]:
    """What the API sends, piece by piece, until the reader leaves; the first piece is the status."""
    request = agent.signed("GET", f"/v1/subscriptions/{subscription['id']}/stream", headers=headers)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "path": request.url.path,
        "raw_path": request.url.raw_path,
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 1),
        "server": ("relay.test", 80),
        "scheme": "http",
    }
    sent: asyncio.Queue[bytes] = asyncio.Queue()
    left = asyncio.Event()
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        piece = str(message["status"]).encode() if message["type"] == "http.response.start" else message["body"]
        await sent.put(piece)

    async def pieces() -> AsyncGenerator[bytes]:
        while True:
            yield await sent.get()

    answering = asyncio.create_task(app(scope, receive, send))
    try:
        yield pieces()
    finally:
        left.set()
        await answering


async def entries(pieces: AsyncIterator[bytes], count: int) -> list[dict[str, bytes]]:
    """The next events, without comments."""
    found: list[dict[str, bytes]] = []
    async for piece in pieces:
        if piece.startswith(b"id: "):
            lines = piece.decode().rstrip("\n").split("\n")
            found.append({name: value.encode() for name, _, value in (line.partition(": ") for line in lines)})
        if len(found) == count:
            break
    return found


async def test_entries_are_streamed_as_they_are_rung(
    app: Starlette, services: Services, agent: TestAgent, subscription: dict[str, Any], chain: Written
) -> None:
    await tell(services, chain, 2)
    async with streaming(app, agent, subscription) as pieces:
        assert await anext(pieces) == b"200"
        first, second = await entries(pieces, 2)
        await tell(services, chain, 1)
        [third] = await entries(pieces, 1)
    assert [each["id"] for each in (first, second, third)] == [b"1", b"2", b"3"]
    assert first["event"] == b"event.matched"
    page = (await agent.get(f"/v1/subscriptions/{subscription['id']}/events?exact=true")).json()
    assert [each["data"].decode() for each in (first, second, third)] == page["bodies"]
    assert hash_of(first["data"]) in second["data"].decode()


async def test_a_stream_goes_on_after_the_last_event_that_was_seen(
    app: Starlette, services: Services, agent: TestAgent, subscription: dict[str, Any], chain: Written
) -> None:
    await tell(services, chain, 3)
    async with streaming(app, agent, subscription, last_event_id="2") as pieces:
        [only] = await entries(pieces, 1)
    assert only["id"] == b"3"


async def test_while_there_is_nothing_a_comment_comes(
    app: Starlette, agent: TestAgent, subscription: dict[str, Any], chain: Written
) -> None:
    async with streaming(app, agent, subscription) as pieces:
        assert [await anext(pieces) for _ in range(3)] == [b"200", b":\n\n", b":\n\n"]


async def test_a_stream_ends_with_its_subscription(
    app: Starlette, agent: TestAgent, subscription: dict[str, Any], chain: Written
) -> None:
    async with streaming(app, agent, subscription) as pieces:
        assert await anext(pieces) == b"200"
        assert (await agent.call("DELETE", f"/v1/subscriptions/{subscription['id']}")).status_code == 204
        async for piece in pieces:
            if piece == b"":
                break


async def test_an_agent_has_so_many_streams_and_no_more(
    app: Starlette,
    services: Services,
    agent: TestAgent,
    subscription: dict[str, Any],
    chain: Written,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "streams_per_agent_max", 1)
    async with streaming(app, agent, subscription) as pieces:
        assert [await anext(pieces) for _ in range(2)] == [b"200", b":\n\n"]
        refused = await agent.get(f"/v1/subscriptions/{subscription['id']}/stream")
        assert refused.status_code == 429
        assert refused.headers["retry-after"]
    async with streaming(app, agent, subscription) as pieces:
        assert await anext(pieces) == b"200"


async def test_a_request_that_waits_takes_a_place_until_it_is_answered(
    app: Starlette,
    services: Services,
    agent: TestAgent,
    subscription: dict[str, Any],
    chain: Written,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "streams_per_agent_max", 1)
    path = f"/v1/subscriptions/{subscription['id']}/events"
    async with streaming(app, agent, subscription) as pieces:
        assert [await anext(pieces) for _ in range(2)] == [b"200", b":\n\n"]
        with monkeypatch.context() as slowly:
            # The stream's own waiting moves the clock on: not so far that the second is over before it is waited for.
            slowly.setattr(limits, "events_tail_seconds", 0.0001)
            assert (await agent.get(f"{path}?wait=30")).status_code == 429
        # What does not wait needs none.
        assert (await agent.get(path)).status_code == 200
        await tell(services, chain, 1)
        assert len((await agent.get(f"{path}?wait=1")).json()["items"]) == 1
    for _ in range(2):
        assert (await agent.get(f"{path}?wait=1&after_seq=1")).status_code == 200


async def test_streams_that_are_asked_for_at_once_are_no_more_than_an_agent_may_have(
    services: Services, agent: TestAgent, subscription: dict[str, Any], chain: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "streams_per_agent_max", 2)
    follow, transaction = services.subscriptions.stream, services.database.transaction
    # All are let in before the first of them begins.
    streams = [await follow(transaction, agent.id, subscription["id"], None) for _ in range(5)]
    begun = [await anext(each, None) for each in streams]
    assert begun == [b":\n\n", b":\n\n", None, None, None]


@pytest.mark.parametrize("last", ["x", "-1", "1" * 19])
async def test_what_is_no_number_of_an_entry_is_refused(
    agent: TestAgent, subscription: dict[str, Any], chain: Written, last: str
) -> None:
    path = f"/v1/subscriptions/{subscription['id']}/stream"
    answer = await agent.call("GET", path, headers={"last_event_id": last})
    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/invalid-cursor"


async def test_a_stranger_hears_nothing(new_agent: NewAgent, subscription: dict[str, Any], chain: Written) -> None:
    stranger = await new_agent()
    assert (await stranger.get(f"/v1/subscriptions/{subscription['id']}/stream")).status_code == 404


async def test_many_streams_share_few_connections(
    settings: Settings, services: Services, agent: TestAgent, subscription: dict[str, Any], chain: Written
) -> None:
    narrow = settings.model_copy(update={"database": settings.database.model_copy(update={"connections": 2})})
    async with open_services(narrow, Silence(), name="tests", clock=SystemClock()) as waiting:
        follow, transaction = waiting.subscriptions.stream, waiting.database.transaction
        streams = [await follow(transaction, agent.id, subscription["id"], None) for _ in range(50)]
        hearing = [asyncio.create_task(entries(each, 1)) for each in streams]
        await tell(services, chain, 1)
        heard = await asyncio.gather(*hearing)
    assert [each[0]["id"] for each in heard] == [b"1"] * 50
