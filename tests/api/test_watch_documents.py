"""A document is asked for once for all who watch it, and whoever's value has changed is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from app.kit import limits
from app.kit.due import drain
from app.kit.ids import Ids
from app.services import Services
from app.watchers.documents import Documents
from app.watchers.media import Fetched, JsonMedium
from app.watchers.rules import Judged, Memory
from tests.conftest import NewAgent
from tests.sites import serving
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
async def opened(site: Site) -> AsyncIterator[Site]:
    async with serving(site.handle) as url:
        site.url = f"{url}/price"
        yield site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with opened(Site()) as site:
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


async def subscribe(agent: TestAgent, site: Site, pointer: str = "/usd", jmespath: str | None = None) -> str:
    selecting = {"pointer": pointer} if jmespath is None else {"jmespath": jmespath}
    source = {"kind": "http.json", "url": site.url, "interval": "PT30S", **selecting}
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
    async with opened(Site(answers=asyncio.Event())) as slow:
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


async def test_slow_sites_of_one_kind_take_no_place_from_another(
    agent: TestAgent, new_agent: NewAgent, site: Site, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "looks_at_once_max", 2)
    site.body = b"<rss><channel><title>News</title></channel></rss>"
    async with opened(Site(answers=asyncio.Event())) as slow:
        for number in range(3):
            await subscribe(agent, Site(url=f"{slow.url}?{number}"))
        other = await new_agent()
        await other.post("/v1/subscriptions", {"source": {"kind": "http.feed", "url": site.url, "interval": "PT30S"}})
        looking = asyncio.create_task(watching.look())
        async with asyncio.timeout(10):
            while (await watcher_of(other))["looked_at"] is None:
                assert not looking.done()
        assert len(slow.asked) == 2
        slow.answers.set()
        await looking


class Pondering(JsonMedium):
    """Judges, or says what there is to tell, when it is let."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.begun, self.go_on = threading.Event(), threading.Event()

    def judge(self, document: Any, spec: Mapping[str, Any], memory: Memory | None) -> Judged:
        self.ponder("judge")
        return super().judge(document, spec, memory)

    def payloads(
        self, document: Any, spec: Mapping[str, Any], fetched: Fetched, judged: Judged
    ) -> Sequence[Mapping[str, Any]]:
        self.ponder("payloads")
        return super().payloads(document, spec, fetched, judged)

    def ponder(self, at: str) -> None:
        if at == self.at:
            self.begun.set()
            assert self.go_on.wait(10)


@pytest.mark.parametrize("at", ["judge", "payloads"])
async def test_whoever_subscribes_does_not_wait_for_what_is_being_judged(
    agent: TestAgent, site: Site, services: Services, watching: Watching, at: str
) -> None:
    first = await subscribe(agent, site, "/usd")
    medium, clock = Pondering(at), watching.clock
    watcher = Documents(medium, services.database.transaction, clock, Ids(), services.subscriptions, services.outbound)
    async with services.database.transaction() as db:
        [taken] = await services.subscriptions.take(db, ["http.json"], clock.at, 1)
    looking = asyncio.create_task(watcher.look(taken))
    await asyncio.to_thread(medium.begun.wait, 10)
    second = await asyncio.wait_for(subscribe(agent, site, "/eur"), 5)
    medium.go_on.set()
    await looking
    # It was not judged, so it has not begun: the next look is for it.
    assert (await agent.get(f"/v1/subscriptions/{second}")).json()["state"] == "starting"
    await watching.look(seconds=0)
    assert (await agent.get(f"/v1/subscriptions/{second}")).json()["state"] == "active"
    site.body = b'{"usd": 7, "eur": 8}'
    await watching.look()
    assert (await told(agent, first), await told(agent, second)) == ([(1, 7)], [(2, 8)])


async def test_those_that_time_does_not_suffice_for_are_judged_by_the_next_looks(
    agent: TestAgent, site: Site, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "judging_seconds_max", 0)
    site.headers = {"etag": '"v1"'}
    wanted = [await subscribe(agent, site, jmespath=name) for name in ("usd", "eur", "yen")]
    for _ in range(3):
        await watching.look()
    troubles = [(await agent.get(f"/v1/subscriptions/{each}")).json()["trouble"] for each in wanted]
    assert [each for each in troubles if each is not None] == ["all that is asked of this document takes too long"] * 2
    site.headers, site.body = {"etag": '"v2"'}, b'{"usd": 7, "eur": 8, "yen": 9}'
    for _ in range(3):
        await watching.look()
    assert [await told(agent, each) for each in wanted] == [[(1, 7)], [(2, 8)], [(None, 9)]]


async def test_what_asks_no_expression_waits_for_none(
    agent: TestAgent, site: Site, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "judging_seconds_max", 0)
    expressions = [await subscribe(agent, site, jmespath=name) for name in ("usd", "eur", "yen")]
    plain = await subscribe(agent, site, "/usd")
    await watching.look()
    for value in (7, 8, 9):
        site.body = b'{"usd": %d}' % value
        await watching.look()
    assert await told(agent, plain) == [(1, 7), (7, 8), (8, 9)]
    assert [await told(agent, each) for each in expressions] == [[], [], []]
