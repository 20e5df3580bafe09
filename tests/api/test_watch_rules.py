"""Values that cross a bound, items that appear, feeds, and sites that move or ask for patience, on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiohttp import web

from app.kit import limits
from app.kit.due import drain
from app.services import Services
from tests.sites import serving
from tests.strangers import says, says_endlessly, stranger
from tests.world import OwnClock, TestAgent

Answer = tuple[int, bytes, dict[str, str]]


@dataclass
class Site:
    """A web server that answers each path as it was told to, and notes what it was asked."""

    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    asked: list[str] = field(default_factory=list[str])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    url: str = ""

    def says(self, path: str, body: Any, status: int = 200, **headers: str) -> None:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        self.answers[path] = (status, raw, {name.replace("_", "-"): value for name, value in headers.items()})

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        status, body, headers = self.answers[request.path]
        if (etag := headers.get("etag")) and request.headers.get("if-none-match") == etag:
            return web.Response(status=304)
        return web.Response(status=status, body=body, headers=headers)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    async with serving(site.handle) as site.url:
        yield site


@dataclass
class Watching:
    services: Services
    clock: OwnClock

    async def look(self, seconds: float = 60) -> None:
        self.clock.advance(seconds=seconds)
        await drain(self.services.watchers.look_next)
        await drain(self.services.subscriptions.feed_next)


@pytest.fixture
def watching(services: Services, clock: OwnClock) -> Watching:
    return Watching(services, clock)


async def subscribe(agent: TestAgent, kind: str, url: str, **source: Any) -> str:
    asked = {"kind": kind, "url": url, "interval": "PT1M", **source}
    created = await agent.post("/v1/subscriptions", {"source": asked})
    assert created.status_code == 201, created.text
    return created.json()["id"]


async def payloads(agent: TestAgent, subscription_id: str) -> list[dict[str, Any]]:
    page = (await agent.get(f"/v1/subscriptions/{subscription_id}/events?limit=100")).json()
    return [item["data"]["payload"] for item in page["items"]]


async def last_error(agent: TestAgent) -> str | None:
    [watcher] = (await agent.get("/v1/watchers")).json()["items"]
    return watcher["last_error"]


async def trouble(agent: TestAgent, subscription_id: str) -> str | None:
    return (await agent.get(f"/v1/subscriptions/{subscription_id}")).json()["trouble"]


async def test_a_price_is_told_when_it_crosses(agent: TestAgent, site: Site, watching: Watching) -> None:
    rule = {"kind": "threshold", "above": "3000", "below": "2900"}
    subscription_id = await subscribe(agent, "http.json", f"{site.url}/p", jmespath="data.price", rule=rule)
    for price in ("2950", "3000.01", "2999", "2899.99", "3001"):
        site.says("/p", b'{"data": {"price": %s}}' % price.encode())
        await watching.look()
    told = await payloads(agent, subscription_id)
    assert [(each["crossed"], each["bound"], each["number"]) for each in told] == [
        ("above", "3000", "3000.01"),
        ("below", "2900", "2899.99"),
        ("above", "3000", "3001"),
    ]
    assert (told[0]["jmespath"], told[0]["pointer"]) == ("data.price", None)


async def test_a_change_that_does_not_meet_the_condition_is_seen_and_not_told(
    agent: TestAgent, site: Site, watching: Watching
) -> None:
    where = "current.value > 2 * previous.value"
    subscription_id = await subscribe(agent, "http.json", f"{site.url}/p", pointer="/n", where=where)
    for number in (1, 2, 5, 11, 20):
        site.says("/p", {"n": number})
        await watching.look()
    told = await payloads(agent, subscription_id)
    assert [(each["previous"]["value"], each["current"]["value"]) for each in told] == [(2, 5), (5, 11)]


async def test_items_of_a_feed_are_told_by_their_words(agent: TestAgent, site: Site, watching: Watching) -> None:
    url = f"{site.url}/f"
    subscription_id = await subscribe(agent, "http.feed", url, where="title.contains('urgent')")
    for titles in ((), ("an urgent one",), ("nothing much", "urgent again", "an urgent one")):
        items = [{"id": title, "title": title} for title in titles]
        site.says("/f", {"version": "https://jsonfeed.org/version/1.1", "title": "f", "items": items})
        await watching.look()
    assert [each["title"] for each in await payloads(agent, subscription_id)] == ["an urgent one", "urgent again"]


async def test_a_value_of_another_type_is_trouble_that_is_shown_and_passes(
    agent: TestAgent, site: Site, watching: Watching
) -> None:
    rule = {"kind": "threshold", "above": 10}
    subscription_id = await subscribe(agent, "http.json", f"{site.url}/p", pointer="/price", rule=rule)
    for body in (b'{"price": 9}', b'{"price": {"usd": 11}}'):
        site.says("/p", body)
        await watching.look()
    assert await trouble(agent, subscription_id) == "the value is no number"
    site.says("/p", b'{"price": 11}')
    await watching.look()
    assert await trouble(agent, subscription_id) is None
    assert [each["crossed"] for each in await payloads(agent, subscription_id)] == ["above"]


async def test_items_that_wait_are_told_although_the_document_stays(
    agent: TestAgent, site: Site, watching: Watching
) -> None:
    rule = {"kind": "appeared", "key": "id"}
    subscription_id = await subscribe(agent, "http.json", f"{site.url}/l", pointer="/items", rule=rule)
    site.says("/l", {"items": []}, etag='"1"')
    await watching.look()
    site.says("/l", {"items": [{"id": number} for number in range(60)]}, etag='"2"')
    await watching.look()
    assert len(await payloads(agent, subscription_id)) == limits.appeared_told_max
    await watching.look()
    told = await payloads(agent, subscription_id)
    assert [each["key"]["value"] for each in told] == list(range(60))
    asked = len(site.asked)
    await watching.look()
    assert "if-none-match" in site.headers[asked]


async def test_each_filter_of_one_document_has_its_own_rule(agent: TestAgent, site: Site, watching: Watching) -> None:
    url = f"{site.url}/p"
    changes = await subscribe(agent, "http.json", url, pointer="/n")
    crossings = await subscribe(agent, "http.json", url, pointer="/n", rule={"kind": "threshold", "above": 10})
    broken = await subscribe(agent, "http.json", url, jmespath="length(n)")
    for number in (1, 2, 11):
        site.says("/p", {"n": number})
        await watching.look()
    assert len(await payloads(agent, changes)) == 2
    assert len(await payloads(agent, crossings)) == 1
    assert "length()" in (await trouble(agent, broken) or "")
    assert len(site.asked) == 3


RSS = "<rss><channel><title>News</title>{}</channel></rss>"


def rss(*ids: int, text: str = "") -> bytes:
    items = "".join(f"<item><guid>g{each}</guid><title>No {each}</title>{text}</item>" for each in ids)
    return RSS.format(items).encode()


async def test_new_items_of_a_feed_are_told_oldest_first(agent: TestAgent, site: Site, watching: Watching) -> None:
    subscription_id = await subscribe(agent, "http.feed", f"{site.url}/feed")
    for body in (rss(1), rss(1), rss(3, 2, 1), rss(3)):
        site.says("/feed", body, content_type="application/rss+xml")
        await watching.look()
    told = await payloads(agent, subscription_id)
    assert [(each["id"], each["title"], each["change"]) for each in told] == [
        ("g2", "No 2", "new"),
        ("g3", "No 3", "new"),
    ]
    assert (told[0]["feed_title"], told[0]["feed_url"]) == ("News", f"{site.url}/feed")


async def test_a_feed_is_asked_for_conditionally_and_by_what_it_is(
    agent: TestAgent, site: Site, watching: Watching
) -> None:
    await subscribe(agent, "http.feed", f"{site.url}/feed")
    site.says("/feed", rss(1), etag='"1"')
    await watching.look()
    await watching.look()
    assert "application/rss+xml" in site.headers[0]["accept"]
    assert site.headers[1]["if-none-match"] == '"1"'


async def test_a_feed_that_becomes_a_page_is_a_failure_and_tells_nothing_when_it_is_back(
    agent: TestAgent, site: Site, watching: Watching
) -> None:
    subscription_id = await subscribe(agent, "http.feed", f"{site.url}/feed")
    for body in (rss(1), b"<!DOCTYPE html><html>Soon</html>"):
        site.says("/feed", body)
        await watching.look()
    assert "document type" in (await last_error(agent) or "")
    site.says("/feed", rss(1))
    await watching.look(seconds=600)
    assert await last_error(agent) is None
    assert await payloads(agent, subscription_id) == []


async def test_a_document_that_has_moved_is_found(agent: TestAgent, site: Site, watching: Watching) -> None:
    subscription_id = await subscribe(agent, "http.json", f"{site.url}/old")
    site.says("/old", b"", 301, location="/newer")
    site.says("/newer", b"", 307, location=f"{site.url}/newest#part")
    for value in (1, 2):
        site.says("/newest", value)
        await watching.look()
    assert site.asked == ["/old", "/newer", "/newest"] * 2
    assert [each["current"]["value"] for each in await payloads(agent, subscription_id)] == [2]
    [watcher] = (await agent.get("/v1/watchers")).json()["items"]
    assert watcher["upstream_calls"] == 6


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/again", "more than 3 redirects"),
        ("http://10.0.0.1/", "no_public_address"),
        ("http://169.254.169.254/latest/meta-data", "no_public_address"),
        ("file:///etc/passwd", "no URL"),
        ("http://user:pass@127.0.0.1/", "no URL"),
        ("http://[", "no URL"),
    ],
)
async def test_a_redirect_leads_only_where_a_subscription_could(
    agent: TestAgent, site: Site, watching: Watching, location: str, reason: str
) -> None:
    await subscribe(agent, "http.json", f"{site.url}/again")
    site.says("/again", b"", 302, location=location)
    await watching.look()
    assert reason in (await last_error(agent) or "")


@pytest.mark.parametrize("status", [429, 503])
async def test_a_site_that_asks_for_patience_is_given_it(
    agent: TestAgent, site: Site, watching: Watching, status: int
) -> None:
    await subscribe(agent, "http.json", f"{site.url}/p")
    site.says("/p", b"", status, retry_after="1800")
    await watching.look()
    await watching.look(seconds=1799)
    assert len(site.asked) == 1
    await watching.look(seconds=1)
    assert len(site.asked) == 2


async def test_no_site_buys_more_than_an_hour(agent: TestAgent, site: Site, watching: Watching) -> None:
    await subscribe(agent, "http.json", f"{site.url}/p")
    site.says("/p", b"", 503, retry_after="86400")
    await watching.look()
    await watching.look(seconds=3600)
    assert len(site.asked) == 2


GZIPPED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
CUT = b'HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{"a": 1}'
HUGE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (says(GZIPPED), "compressed"),
        (says(CUT, then="close"), "connection_lost"),
        (says(b"HTTP/1.1 200 OK\r\n", then="reset"), "connection_lost"),
        (says_endlessly(HUGE, b"10000\r\n" + b" " * 0x10000 + b"\r\n"), "more than"),
        (says(b"nonsense\r\n\r\n"), "bad_response"),
    ],
)
@pytest.mark.parametrize("kind", ["http.json", "http.feed"])
async def test_a_hostile_server_is_a_failure(
    agent: TestAgent, watching: Watching, kind: str, talk: Any, reason: str
) -> None:
    async with stranger(talk) as server:
        subscription_id = await subscribe(agent, kind, server.url)
        await asyncio.wait_for(watching.look(), 30)
        assert reason in (await last_error(agent) or "")
        assert await payloads(agent, subscription_id) == []
