"""Endpoints of MCP Events: a host that knows the draft and nothing of this relay is challenged and told."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from app.kit.due import drain
from app.services import Services
from tests.conftest import NewAgent
from tests.receivers import Post
from tests.world import OwnClock, TestAgent

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(24))).decode()


@dataclass
class Host:
    """An MCP host: verifies by its secret, echoes challenges, and keeps what it was told."""

    secret: str = SECRET
    status: int = 200
    url: str = ""
    challenges: list[Post] = field(default_factory=list)
    events: list[Post] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        post = Post(request.path, {k.lower(): v for k, v in request.headers.items()}, await request.read())
        if not self.is_signed(post):
            return web.Response(status=401)
        if post.json.get("type") == "verification":
            self.challenges.append(post)
            return web.json_response({"challenge": post.json["challenge"]})
        self.events.append(post)
        return web.Response(status=self.status, text="internal details")

    def is_signed(self, post: Post) -> bool:
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        content = f"{post.id}.{post.headers['webhook-timestamp']}.".encode() + post.body
        wanted = "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
        return wanted in post.headers["webhook-signature"].split(" ")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    told = Host()
    app = web.Application()
    app.router.add_post("/events", told.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    told.url = f"http://127.0.0.1:{runner.addresses[0][1]}/events"
    yield told
    await runner.cleanup()


async def subscribe(agent: TestAgent, host: Host, secret: str = SECRET, **mcp: Any) -> dict[str, Any]:
    asked = {"url": host.url, "secret": secret, "profile": "mcp", "mcp": {"name": "order.paid", **mcp}}
    created = await agent.post("/v1/endpoints", asked)
    assert created.status_code == 201, created.text
    return created.json()


async def publish(agent: TestAgent, type_: str = "order.paid", data: Any = None) -> dict[str, Any]:
    return (await agent.post("/v1/messages", {"type": type_, "data": data})).json()


async def work(services: Services) -> None:
    """Everything that is due now."""
    await drain(services.deliveries.verify_next)
    await drain(services.deliveries.deliver_next)


async def expire(services: Services) -> None:
    async with services.database.transaction() as db:
        await services.deliveries.endpoints.expire(db, await services.clock.now(db))


async def state_of(agent: TestAgent, id: str) -> str:
    return (await agent.get(f"/v1/endpoints/{id}")).json()["state"]


async def test_a_host_is_challenged_then_told_in_the_drafts_own_words(
    services: Services, agent: TestAgent, host: Host
) -> None:
    subscribed = await subscribe(agent, host, arguments={"region": "eu"})
    await work(services)
    published = await publish(agent, data={"order": "ö-1", "n": 1.5})
    await publish(agent, "order.sent")
    await work(services)

    [challenge], [event] = host.challenges, host.events
    assert await state_of(agent, subscribed["id"]) == "active"
    assert set(challenge.json) == {"type", "challenge"}
    assert challenge.id.startswith("msg_verification_")
    assert event.id == published["id"]
    assert "." not in event.id
    assert event.headers["x-mcp-subscription-id"] == subscribed["subscription_id"] == subscribed["id"]
    assert (
        event.body
        == (
            f'{{"eventId":"{event.id}","name":"order.paid","timestamp":"2026-11-22T09:00:00.000Z",'
            '"data":{"order":"ö-1","n":1.5},"cursor":null}'
        ).encode()
    )
    assert "v1a," in event.headers["webhook-signature"]


async def test_the_same_subscription_is_one_however_often_it_is_made(
    new_agent: NewAgent, host: Host, services: Services, clock: OwnClock
) -> None:
    agent, other = await new_agent(), await new_agent()
    first = await subscribe(agent, host, arguments={"a": 1, "b": [{"c": 2, "d": 3}]})
    await work(services)
    clock.advance(minutes=10)
    again = await subscribe(agent, host, arguments={"b": [{"d": 3, "c": 2}], "a": 1})
    ids = {
        first["id"],
        (await subscribe(agent, host, arguments={"a": 2}))["id"],
        (await subscribe(agent, host, name="order.sent"))["id"],
        (await subscribe(other, host, arguments={"a": 1, "b": [{"c": 2, "d": 3}]}))["id"],
    }

    assert again["id"] == first["id"]
    assert again["state"] == "active"
    assert (first["expires_at"], again["expires_at"]) == ("2026-11-22T10:00:00.000Z", "2026-11-22T10:10:00.000Z")
    assert len(ids) == 4
    assert len((await agent.get("/v1/endpoints")).json()["items"]) == 3


async def test_a_refresh_brings_time_and_a_secret(services: Services, agent: TestAgent, host: Host) -> None:
    id = (await subscribe(agent, host))["id"]
    await work(services)

    refreshed = await agent.post(f"/v1/endpoints/{id}/refresh", {"ttl_seconds": 120, "secret": OTHER})
    host.secret = OTHER
    await publish(agent)
    await work(services)

    assert refreshed.json()["expires_at"] == "2026-11-22T09:02:00.000Z"
    assert len(host.events) == 1


async def test_the_secret_before_a_refresh_signs_for_ten_minutes_more(
    services: Services, agent: TestAgent, host: Host, clock: OwnClock
) -> None:
    id = (await subscribe(agent, host))["id"]
    await work(services)
    await agent.post(f"/v1/endpoints/{id}/refresh", {"secret": OTHER})

    await publish(agent)
    await work(services)
    taken = len(host.events)
    clock.advance(seconds=601)
    await publish(agent)
    await work(services)

    assert (taken, len(host.events)) == (1, 1)


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ({}, "2026-11-22T10:00:00.000Z"),
        ({"ttl_seconds": 1}, "2026-11-22T09:01:00.000Z"),
        ({"ttl_seconds": 10**9}, "2026-11-23T09:00:00.000Z"),
        ({"ttl_seconds": None}, None),
    ],
)
async def test_time_is_granted_within_bounds(agent: TestAgent, host: Host, asked: Any, granted: str | None) -> None:
    subscribed = await subscribe(agent, host, **asked)
    refreshed = await agent.post(f"/v1/endpoints/{subscribed['id']}/refresh", asked)

    assert (subscribed["expires_at"], refreshed.json()["expires_at"]) == (granted, granted)


async def test_what_has_expired_is_told_nothing_until_it_is_refreshed(
    services: Services, agent: TestAgent, host: Host, clock: OwnClock
) -> None:
    id = (await subscribe(agent, host, ttl_seconds=60))["id"]
    await work(services)
    clock.advance(seconds=60)
    unsent = await publish(agent)
    await expire(services)
    expired = (await agent.get(f"/v1/endpoints/{id}")).json()

    await agent.post(f"/v1/endpoints/{id}/refresh", {})
    sent = await publish(agent)
    await work(services)

    assert (expired["state"], expired["state_reason"]) == ("disabled", "expired: POST …/refresh takes it up again")
    assert unsent["deliveries"] == []
    assert [event.id for event in host.events] == [sent["id"]]
    assert len(host.challenges) == 1


@pytest.mark.parametrize("status", [410, 413])
async def test_an_answer_that_ends_a_delivery_ends_no_subscription(
    services: Services, agent: TestAgent, host: Host, status: int
) -> None:
    id = (await subscribe(agent, host))["id"]
    await work(services)
    host.status = status
    [delivery] = (await publish(agent))["deliveries"]
    await work(services)

    shown = (await agent.get(f"/v1/deliveries/{delivery['id']}")).json()
    assert (shown["state"], shown["last_status"]) == ("failed", status)
    assert [attempt["response_excerpt"] for attempt in shown["history"]] == [None]
    assert await state_of(agent, id) == "active"


@pytest.mark.parametrize(
    "members",
    [
        {"secret": None},
        {"profile": "standard"},
        {"mcp": None},
        {"mcp": {"name": "a..b"}},
        {"mcp": {"name": "a", "version": "2020-01-01"}},
        {"mcp": {"name": "a", "ttl_seconds": 0}},
        {"mcp": {"name": "a", "arguments": []}},
    ],
)
async def test_what_is_no_subscription_is_refused(agent: TestAgent, host: Host, members: dict[str, Any]) -> None:
    asked = {"url": host.url, "secret": SECRET, "profile": "mcp", "mcp": {"name": "a"}} | members

    refused = await agent.post("/v1/endpoints", asked)

    assert refused.status_code == 422
    assert (await agent.get("/v1/endpoints")).json()["items"] == []


async def test_a_subscription_stays_where_it_is_and_others_do_not_expire(agent: TestAgent, host: Host) -> None:
    mcp = (await subscribe(agent, host))["id"]
    standard = (await agent.post("/v1/endpoints", {"url": host.url})).json()["id"]

    moved = await agent.call("PATCH", f"/v1/endpoints/{mcp}", {"url": "http://127.0.0.1:9000/other"})
    refreshed = await agent.post(f"/v1/endpoints/{standard}/refresh", {})

    assert (moved.status_code, moved.json()["errors"][0]["pointer"]) == (422, "/url")
    assert refreshed.status_code == 409
