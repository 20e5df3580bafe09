"""A document is asked for once for all who watch it, and whoever's value has changed is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from app.kit.due import drain
from app.services import Services
from tests.conftest import NewAgent
from tests.world import OwnClock, TestAgent


@dataclass
class Site:
    """A web server with one document, and the requests that it had."""

    body: bytes = b'{"usd": 1, "eur": 2}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    asked: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    url: str = ""
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append({name.lower(): value for name, value in request.headers.items()})
        await self.answers.wait()
        etag = self.headers.get("etag")
        if etag is not None and request.headers.get("if-none-match") == etag:
            return web.Response(status=304)
        return web.Response(status=self.status, body=self.body, headers=self.headers)


@asynccontextmanager
async def serving(site: Site) -> AsyncIterator[Site]:
    app = web.Application()
    app.router.add_get("/price", site.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}/price"
    yield site
    await runner.cleanup()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving(Site()) as site:
        site.answers.set()
        yield site


@dataclass
class Watching:
    services: Services
    clock: OwnClock

    async def look(self, seconds: float = 30) -> None:
        self.clock.advance(seconds=seconds)
        await drain(self.services.watchers.look_next)
        await drain(self.services.subscriptions.feed_next)


@pytest.fixture
def watching(services: Services, clock: OwnClock) -> Watching:
    return Watching(services, clock)


async def subscribe(agent: TestAgent, site: Site, pointer: str = "/usd") -> str:
    source = {"kind": "http.json", "url": site.url, "interval": "PT30S", "pointer": pointer}
    created = await agent.post("/v1/subscriptions", {"source": source})
    assert created.status_code == 201, created.text
    return created.json()["id"]


async def told(agent: TestAgent, subscription_id: str) -> list[tuple[Any, Any]]:
    """Each change that a subscription was told of, as (before, after)."""
    page = (await agent.get(f"/v1/subscriptions/{subscription_id}/events")).json()
    payloads = [item["data"]["payload"] for item in page["items"]]
    return [(each["previous"]["value"], each["current"]["value"]) for each in payloads]


async def watcher_of(agent: TestAgent) -> dict[str, Any]:
    [watcher] = (await agent.get("/v1/watchers")).json()["items"]
    return watcher


async def test_a_change_is_told_and_a_document_that_stays_is_not(
    agent: TestAgent, site: Site, watching: Watching
) -> None:
    subscription_id = await subscribe(agent, site)
    await watching.look()
    await watching.look()
    site.body = b'{"usd": 3, "eur": 2}'
    await watching.look()
    site.body = b'{"eur": 2, "usd": 3.0}'  # spelt otherwise
    await watching.look()
    site.body = b'{"usd": 1, "eur": 2}'
    await watching.look()
    assert await told(agent, subscription_id) == [(1, 3), (3, 1)]


async def test_only_those_whose_value_changed_are_told(agent: TestAgent, site: Site, watching: Watching) -> None:
    dollars, euros = await subscribe(agent, site, "/usd"), await subscribe(agent, site, "/eur")
    await watching.look()
    site.body = b'{"usd": 1, "eur": 9}'
    await watching.look()
    assert await told(agent, dollars) == []
    assert await told(agent, euros) == [(2, 9)]
    assert len(site.asked) == 2


async def test_requests_do_not_grow_with_subscriptions(agent: TestAgent, site: Site, watching: Watching) -> None:
    for _ in range(20):
        await subscribe(agent, site)
    for _ in range(3):
        await watching.look()
    assert len(site.asked) == 3
    assert (await watcher_of(agent))["upstream_calls"] == 3


async def test_it_is_not_asked_more_often_than_wished(agent: TestAgent, site: Site, watching: Watching) -> None:
    await subscribe(agent, site)
    await watching.look()
    await watching.look(seconds=29)
    assert len(site.asked) == 1
    await watching.look(seconds=1)
    assert len(site.asked) == 2


async def test_an_unchanged_document_is_asked_for_conditionally(
    agent: TestAgent, site: Site, watching: Watching
) -> None:
    site.headers = {"etag": '"v1"', "last-modified": "Sun, 22 Nov 2026 09:00:00 GMT"}
    subscription_id = await subscribe(agent, site)
    await watching.look()
    await watching.look()
    assert "if-none-match" not in site.asked[0]
    assert site.asked[1]["if-none-match"] == '"v1"'
    assert site.asked[1]["if-modified-since"] == "Sun, 22 Nov 2026 09:00:00 GMT"
    site.headers, site.body = {"etag": '"v2"'}, b'{"usd": 5}'
    await watching.look()
    assert await told(agent, subscription_id) == [(1, 5)]


async def test_a_new_value_of_a_known_document_is_read_although_it_has_not_changed(
    agent: TestAgent, site: Site, watching: Watching
) -> None:
    site.headers = {"etag": '"v1"'}
    await subscribe(agent, site, "/usd")
    await watching.look()
    euros = await subscribe(agent, site, "/eur")
    assert (await agent.get(f"/v1/subscriptions/{euros}")).json()["state"] == "starting"
    await watching.look(seconds=0)
    assert "if-none-match" not in site.asked[1]
    assert (await agent.get(f"/v1/subscriptions/{euros}")).json()["state"] == "active"
    site.headers, site.body = {"etag": '"v2"'}, b'{"usd": 1, "eur": 7}'
    await watching.look()
    assert await told(agent, euros) == [(2, 7)]


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b"{}", "500"),
        (404, b'{"usd": 9}', "404"),
        (302, b"", "a redirect to nowhere"),
        (200, b"<html>", "no JSON"),
        (200, b'{"usd": NaN}', "no JSON"),
        (200, b"[" * 50_000, "no JSON"),
        (200, b'"' + b"a" * 300_000 + b'"', "more than"),
    ],
)
async def test_a_failure_is_no_change(
    agent: TestAgent, site: Site, watching: Watching, status: int, body: bytes, reason: str
) -> None:
    subscription_id = await subscribe(agent, site)
    await watching.look()
    good = site.body
    site.status, site.body = status, body
    await watching.look()
    assert reason in (await watcher_of(agent))["last_error"]
    site.status, site.body = 200, good
    await watching.look()
    assert (await watcher_of(agent))["last_error"] is None
    assert await told(agent, subscription_id) == []


async def test_a_site_that_fails_is_asked_less_and_less_often(agent: TestAgent, site: Site, watching: Watching) -> None:
    site.status = 503
    await subscribe(agent, site)
    for _ in range(40):
        await watching.look()
    assert 5 <= len(site.asked) <= 8


async def test_a_value_that_goes_and_comes_back_is_told_both_times(
    agent: TestAgent, site: Site, watching: Watching
) -> None:
    subscription_id = await subscribe(agent, site)
    await watching.look()
    site.body = b"{}"
    await watching.look()
    site.body = b'{"usd": 1}'
    await watching.look()
    page = (await agent.get(f"/v1/subscriptions/{subscription_id}/events")).json()
    found = [item["data"]["payload"]["current"]["found"] for item in page["items"]]
    assert found == [False, True]
    assert len({item["data"]["event_id"] for item in page["items"]}) == 2


async def test_a_slow_site_holds_up_no_other(
    agent: TestAgent, new_agent: NewAgent, site: Site, watching: Watching
) -> None:
    async with serving(Site(answers=asyncio.Event())) as slow:
        impatient = await new_agent()
        await subscribe(agent, slow)
        await subscribe(impatient, site)
        looking = asyncio.create_task(watching.look())
        while (await watcher_of(impatient))["looked_at"] is None:
            assert not looking.done()
        assert (await watcher_of(agent))["looked_at"] is None
        slow.answers.set()
        await looking
    assert (await watcher_of(agent))["looked_at"] is not None
