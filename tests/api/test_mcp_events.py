"""Endpoints of MCP Events: a host that knows the draft and nothing of this relay is challenged and told."""

import base64
import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import text

from app.deliveries.models import Endpoint
from app.kit import due
from app.kit.due import drain
from app.services import Services
from tests.conftest import NewAgent
from tests.receivers import Post
from tests.sites import serving
from tests.world import OwnClock, TestAgent
from workers.housekeeping import tidy

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
    farewells: list[Post] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        post = Post(request.path, {k.lower(): v for k, v in request.headers.items()}, await request.read())
        if not self.is_signed(post):
            return web.Response(status=401)
        if post.json.get("type") == "verification":
            self.challenges.append(post)
            return web.json_response({"challenge": post.json["challenge"]})
        (self.farewells if post.json.get("type") == "terminated" else self.events).append(post)
        return web.Response(status=self.status, text="internal details")

    def is_signed(self, post: Post) -> bool:
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        content = f"{post.id}.{post.headers['webhook-timestamp']}.".encode() + post.body
        wanted = "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
        return wanted in post.headers["webhook-signature"].split(" ")


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    told = Host()
    async with serving(told.handle) as url:
        told.url = f"{url}/events"
        yield told


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


async def rows(services: Services) -> int:
    async with services.database.transaction() as db:
        return (await db.execute(text("select count(*) from endpoints"))).scalar_one()


GONE = {"code": -32011, "message": "NotFound", "data": {"kind": "subscription", "reason": "deleted"}}


async def test_a_host_is_told_once_that_its_subscription_was_deleted(
    services: Services, agent: TestAgent, host: Host
) -> None:
    id = (await subscribe(agent, host, arguments={"region": "eu"}))["id"]
    await work(services)

    deleted = await agent.call("DELETE", f"/v1/endpoints/{id}")
    listed, shown = await agent.get("/v1/endpoints"), await agent.get(f"/v1/endpoints/{id}")
    left = await rows(services)
    await publish(agent)
    await work(services)
    await work(services)

    [farewell] = host.farewells
    assert (deleted.status_code, shown.status_code, listed.json()["items"], left) == (204, 404, [], 1)
    assert farewell.json == {"type": "terminated", "error": GONE}
    assert farewell.headers["x-mcp-subscription-id"] == id
    assert re.fullmatch("msg_terminated_[0-9a-z]{26}", farewell.id)
    assert "v1a," in farewell.headers["webhook-signature"]
    assert host.events == []
    assert await rows(services) == 0


async def test_a_host_is_told_that_its_time_is_over_and_that_its_agent_was_revoked(
    services: Services, new_agent: NewAgent, host: Host, clock: OwnClock
) -> None:
    leaving, staying = await new_agent(), await new_agent()
    revoked = (await subscribe(leaving, host))["id"]
    expired = (await subscribe(staying, host, ttl_seconds=60))["id"]
    await work(services)
    (await leaving.post("/v1/agents/me/revoke", {})).raise_for_status()
    clock.advance(seconds=60)

    await tidy(services)
    await tidy(services)
    await work(services)

    told = {each.headers["x-mcp-subscription-id"]: each.json["error"] for each in host.farewells}
    assert told == {
        revoked: {"code": -32012, "message": "Forbidden", "data": {"reason": "Access revoked"}},
        expired: {"code": -32011, "message": "NotFound", "data": {"kind": "subscription", "reason": "expired"}},
    }
    assert len(host.farewells) == 2


async def test_a_farewell_is_repeated_under_one_id_until_it_is_taken_or_given_up(
    services: Services, agent: TestAgent, host: Host, clock: OwnClock
) -> None:
    id = (await subscribe(agent, host))["id"]
    await work(services)
    host.status = 503
    await agent.call("DELETE", f"/v1/endpoints/{id}")
    for _ in range(8):
        await work(services)
        clock.advance(minutes=11)

    stamps = {each.headers["webhook-timestamp"] for each in host.farewells}
    assert (len(host.farewells), len({each.id for each in host.farewells}), len(stamps)) == (5, 1, 5)
    assert await rows(services) == 0
    told = (await agent.get("/v1/events?kind=endpoint.terminated")).json()["items"]
    assert [(each["subject"], each["data"]) for each in told] == [(id, {"told": False, "reason": "deleted"})]


async def test_a_farewell_survives_who_was_about_to_send_it(
    services: Services, agent: TestAgent, host: Host, clock: OwnClock
) -> None:
    id = (await subscribe(agent, host))["id"]
    await work(services)
    await agent.call("DELETE", f"/v1/endpoints/{id}")
    async with services.database.transaction() as db:
        now, lease = await services.clock.now(db), services.settings.delivery.lease_seconds
        claimed = await due.claim(db, Endpoint, now=now, lease_seconds=lease, limit=10)
    # Whoever claimed it is dead.
    await work(services)
    before = len(host.farewells)
    clock.advance(seconds=lease)
    await work(services)

    assert (len(claimed), before, len(host.farewells)) == (1, 0, 1)


async def test_who_never_wanted_to_be_told_is_not_told_of_the_end(
    services: Services, agent: TestAgent, host: Host, clock: OwnClock
) -> None:
    unverified = await subscribe(agent, host)
    expiring = await subscribe(agent, host, name="order.sent", ttl_seconds=60)
    standard = (await agent.post("/v1/endpoints", {"url": host.url, "secret": SECRET})).json()
    await agent.call("DELETE", f"/v1/endpoints/{unverified['id']}")
    await agent.call("DELETE", f"/v1/endpoints/{standard['id']}")
    clock.advance(seconds=60)
    await expire(services)
    await work(services)

    assert (host.challenges, host.events, host.farewells) == ([], [], [])
    assert await state_of(agent, expiring["id"]) == "disabled"
    assert await rows(services) == 1


async def test_a_subscription_that_is_made_again_is_not_ended_by_its_old_farewell(
    services: Services, agent: TestAgent, host: Host
) -> None:
    id = (await subscribe(agent, host))["id"]
    await work(services)
    await agent.call("DELETE", f"/v1/endpoints/{id}")

    again = await subscribe(agent, host)
    await work(services)

    assert (again["id"], again["state"], await state_of(agent, id)) == (id, "pending", "active")
    assert host.farewells == []
    assert len(host.challenges) == 2


async def test_one_that_has_expired_and_been_told_so_is_deleted_without_a_word(
    services: Services, agent: TestAgent, host: Host, clock: OwnClock
) -> None:
    id = (await subscribe(agent, host, ttl_seconds=60))["id"]
    await work(services)
    clock.advance(seconds=60)
    await expire(services)
    await work(services)
    enabled = await agent.post(f"/v1/endpoints/{id}/enable", {})
    await agent.call("DELETE", f"/v1/endpoints/{id}")
    await work(services)

    assert enabled.status_code == 409
    assert len(host.farewells) == 1
    assert await rows(services) == 0


async def test_a_refresh_calls_the_farewell_off(
    services: Services, agent: TestAgent, host: Host, clock: OwnClock
) -> None:
    id = (await subscribe(agent, host, ttl_seconds=60))["id"]
    await work(services)
    clock.advance(seconds=60)
    await expire(services)
    refreshed = await agent.post(f"/v1/endpoints/{id}/refresh", {})
    await work(services)

    assert refreshed.json()["state"] == "active"
    assert host.farewells == []
    assert await state_of(agent, id) == "active"


async def test_a_repeated_subscription_has_what_is_given_and_keeps_the_rest(agent: TestAgent, host: Host) -> None:
    id = (await subscribe(agent, host))["id"]
    asked = {"url": host.url, "secret": SECRET, "profile": "mcp", "mcp": {"name": "order.paid"}}

    given = {"types": ["order.*"], "filter": {"region": "eu"}, "max_in_flight": 2, "headers": {"x-a": "b"}}
    changed = await agent.post("/v1/endpoints", asked | given)
    same = await agent.post("/v1/endpoints", asked)
    reset = await agent.post("/v1/endpoints", asked | {"types": None, "filter": None})
    refused = await agent.post("/v1/endpoints", asked | {"filter": {"$no": 1}})

    shown = [(each.json()["types"], each.json()["filter"], each.json()["id"]) for each in (changed, same, reset)]
    kept = (["order.*"], {"region": "eu"}, id)
    assert shown == [kept, kept, (["order.paid"], None, id)]
    assert (reset.json()["max_in_flight"], reset.json()["headers"]) == (2, {"x-a": "***"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/filter/$no")


async def test_a_repeated_subscription_asks_again_whoever_did_not_answer(
    services: Services, agent: TestAgent, host: Host, clock: OwnClock
) -> None:
    id = (await subscribe(agent, host, secret=OTHER))["id"]
    for _ in range(8):
        await work(services)
        clock.advance(hours=2)
    given_up = await state_of(agent, id)
    await subscribe(agent, host)
    await work(services)

    assert (given_up, await state_of(agent, id)) == ("pending", "active")


async def test_delivery_status_tells_of_failures_by_category_and_a_refresh_ends_the_suspension(
    services: Services, agent: TestAgent, host: Host, clock: OwnClock
) -> None:
    id = (await subscribe(agent, host))["id"]
    new = (await agent.get(f"/v1/endpoints/{id}")).json()["delivery_status"]
    await work(services)
    await publish(agent)
    await work(services)
    well = (await agent.get(f"/v1/endpoints/{id}")).json()["delivery_status"]
    host.status = 500
    for _ in range(6):
        await publish(agent)
    await work(services)
    clock.advance(seconds=1)
    held = await publish(agent)
    await work(services)
    failing = (await agent.get(f"/v1/endpoints/{id}")).json()["delivery_status"]
    refreshed = (await agent.post(f"/v1/endpoints/{id}/refresh", {})).json()["delivery_status"]
    host.status = 200
    await work(services)
    probed = (await agent.get(f"/v1/endpoints/{id}")).json()["delivery_status"]

    quiet = {"last_error": None, "failed_since": None, "throttled": False, "retry_after_ms": None}
    assert new == {"active": False, "last_delivery_at": None, **quiet}
    assert well == {"active": True, "last_delivery_at": "2026-11-22T09:00:00.000Z", **quiet}
    assert (failing["active"], failing["last_error"], failing["throttled"]) == (False, "http_5xx", False)
    assert failing["failed_since"] == "2026-11-22T09:00:00.000Z"
    assert failing["retry_after_ms"] > 0
    assert refreshed == failing
    assert host.events[-1].id == held["id"]
    assert (probed["active"], probed["last_error"]) == (True, None)
    [listed] = (await agent.get("/v1/endpoints")).json()["items"]
    assert listed["delivery_status"] is None


async def test_delivery_status_of_a_host_that_asks_to_be_left_alone(
    services: Services, agent: TestAgent, host: Host
) -> None:
    id = (await subscribe(agent, host))["id"]
    await work(services)
    host.status = 429
    await publish(agent)
    await work(services)

    status = (await agent.get(f"/v1/endpoints/{id}")).json()["delivery_status"]
    assert (status["active"], status["throttled"], status["last_error"]) == (True, True, None)
    assert 0 < status["retry_after_ms"] <= 5_000


async def test_delivery_status_of_a_host_that_does_not_echo(services: Services, agent: TestAgent, host: Host) -> None:
    id = (await subscribe(agent, host, secret=OTHER))["id"]
    await work(services)

    status = (await agent.get(f"/v1/endpoints/{id}")).json()["delivery_status"]
    assert (status["active"], status["last_error"]) == (False, "challenge_failed")


async def test_the_deliveries_of_a_subscription_are_shown_under_their_webhook_id(
    services: Services, agent: TestAgent, host: Host
) -> None:
    await subscribe(agent, host)
    await work(services)
    [delivery] = (await publish(agent))["deliveries"]
    await work(services)

    [event] = host.events
    [listed] = (await agent.get("/v1/deliveries")).json()["items"]
    shown = (await agent.get(f"/v1/deliveries/{delivery['id']}")).json()
    assert {listed["webhook_id"], shown["webhook_id"]} == {event.id}
