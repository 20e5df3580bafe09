"""An inbox takes what other services post, tells its owner of each once, and refuses what it cannot verify."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import text

from app.kit import limits
from app.kit.due import drain
from app.local import sealed
from app.services import Services
from app.settings import Settings
from tests.conftest import NewAgent
from tests.sealed import SECRET_KEY
from tests.world import ORIGIN, OwnClock, TestAgent

SECRET = "a secret of some service"
GITHUB = {"scheme": "github", "secret": SECRET}
NONE = {"scheme": "none"}


async def opened(agent: TestAgent, where: str | None = None, **verify: Any) -> dict[str, Any]:
    created = await agent.post("/v1/subscriptions", {"source": {"kind": "inbox", "verify": verify, "where": where}})
    assert created.status_code == 201, created.text
    return created.json()


def path(subscription: dict[str, Any]) -> str:
    return urlsplit(subscription["source"]["url"]).path


def signed(body: bytes, **headers: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {"content-type": "application/json", "x-hub-signature-256": f"sha256={signature}", **named}


async def told(agent: TestAgent, services: Services, subscription: dict[str, Any]) -> list[dict[str, Any]]:
    await drain(services.subscriptions.feed_next)
    page = (await agent.get(f"/v1/subscriptions/{subscription['id']}/events")).json()
    return [item["data"] for item in page["items"]]


async def test_a_webhook_is_told_to_the_owner_of_the_inbox(
    agent: TestAgent, http: httpx.AsyncClient, services: Services
) -> None:
    inbox = await opened(agent, **GITHUB)
    assert inbox["state"] == "active"
    assert inbox["source"]["url"].startswith(f"{ORIGIN}/v1/inbox/")
    body = b'{"action": "opened", "number": 7}'
    headers = signed(body, x_github_event="issues", x_github_delivery="d-1", authorization="Bearer x", cookie="a=b")
    taken = await http.post(path(inbox), content=body, headers=headers)
    assert taken.status_code == 200
    [event] = await told(agent, services, inbox)
    assert event["event_id"] == taken.json()["event_id"]
    payload = event["payload"]
    assert (payload["encoding"], payload["body"]) == ("json", {"action": "opened", "number": 7})
    assert (payload["verified_by"], payload["content_type"]) == ("github", "application/json")
    assert payload["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert {"x-github-event", "x-github-delivery"} <= set(payload["headers"])
    assert {"x-hub-signature-256", "authorization", "cookie"}.isdisjoint(payload["headers"])


async def test_only_what_meets_the_condition_is_told(
    agent: TestAgent, http: httpx.AsyncClient, services: Services
) -> None:
    inbox = await opened(agent, "headers['x-github-event'] == 'push' && body.n > 1", **GITHUB)
    assert inbox["source"]["where"] == "headers['x-github-event'] == 'push' && body.n > 1"
    came = ((b'{"n":1}', "push"), (b'{"n":2}', "push"), (b'{"n":3}', "issues"), (b'{"n":"4"}', "push"))
    answers = [
        await http.post(path(inbox), content=body, headers=signed(body, x_github_event=event)) for body, event in came
    ]
    assert {(answer.status_code, answer.json()["duplicate"]) for answer in answers} == {(200, False)}
    assert [each["payload"]["body"] for each in await told(agent, services, inbox)] == [{"n": 2}]
    body, _ = came[0]
    again = await http.post(path(inbox), content=body, headers=signed(body))
    assert again.json() == {**answers[0].json(), "duplicate": True}


async def test_what_is_not_verified_is_refused_with_one_answer_and_changes_nothing(
    agent: TestAgent, http: httpx.AsyncClient, services: Services
) -> None:
    inbox, body = await opened(agent, **GITHUB), b"{}"
    forged = [
        {},
        {"x-hub-signature-256": "sha256=" + "0" * 64},
        {"x-hub-signature-256": signed(b"[]")["x-hub-signature-256"]},
        {"x-hub-signature": "sha1=0"},
    ]
    answers = [await http.post(path(inbox), content=body, headers=each) for each in forged]
    assert {answer.status_code for answer in answers} == {401}
    said = [{**answer.json(), "instance": ""} for answer in answers]
    assert all(each == said[0] for each in said)
    assert "X-Hub-Signature-256" in said[0]["detail"]
    assert await told(agent, services, inbox) == []


async def test_a_repetition_is_taken_and_not_told_again(
    agent: TestAgent, http: httpx.AsyncClient, services: Services, clock: OwnClock
) -> None:
    inbox, body = await opened(agent, **GITHUB), b'{"n": 1}'
    first = await http.post(path(inbox), content=body, headers=signed(body, x_github_delivery="d-1"))
    clock.advance(days=6)
    again = await http.post(path(inbox), content=body, headers=signed(body, x_github_delivery="d-1"))
    other = await http.post(path(inbox), content=body, headers=signed(body, x_github_delivery="d-2"))
    assert again.json() == {"event_id": first.json()["event_id"], "duplicate": True}
    assert other.json()["duplicate"] is False
    assert len(await told(agent, services, inbox)) == 2


async def test_without_an_id_the_same_body_is_a_repetition_for_a_while(
    agent: TestAgent, http: httpx.AsyncClient, services: Services, clock: OwnClock
) -> None:
    inbox = await opened(agent, **NONE)
    for seconds in (0, 1, limits.inbox_bodies_seconds):
        clock.advance(seconds=seconds)
        assert (await http.post(path(inbox), content=b"ping")).status_code == 200
    assert len(await told(agent, services, inbox)) == 2


async def test_two_that_come_at_once_are_told_once(
    agent: TestAgent, http: httpx.AsyncClient, services: Services
) -> None:
    inbox = await opened(agent, **NONE)
    answers = await asyncio.gather(*(http.post(path(inbox), content=b"same") for _ in range(5)))
    assert sorted(answer.json()["duplicate"] for answer in answers) == [False, True, True, True, True]
    assert len({answer.json()["event_id"] for answer in answers}) == 1
    assert len(await told(agent, services, inbox)) == 1


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "value"),
    [
        (b'{"a": 1.5}', "application/cloudevents+json; charset=utf-8", "json", {"a": 1.5}),
        (b"null", "application/json", "json", None),
        (b'{"a": 1', "application/json", "text", '{"a": 1'),
        (b'{"a": "\\u0000"}', "application/json", "text", '{"a": "\\u0000"}'),
        (b'"\\ud800"', "application/json", "text", '"\\ud800"'),
        (b"[" * 5_000, "application/json", "text", "[" * 5_000),
        (b'{"n": 0.12345678901234567890}', "application/json", "text", '{"n": 0.12345678901234567890}'),
        (b'{"n": [12345678901234567890]}', "application/json", "json", {"n": [12345678901234567890]}),
        (b"a=1&b=2", "application/x-www-form-urlencoded", "text", "a=1&b=2"),
        ("grüß".encode(), "text/plain", "text", "grüß"),
        (b"a\x00b", "text/plain", "base64", "YQBi"),
        (b"\xff\xfe", "application/octet-stream", "base64", "//4="),
        (b"", "text/plain", "text", ""),
    ],
)
async def test_a_body_of_any_type_is_passed_on(
    agent: TestAgent,
    http: httpx.AsyncClient,
    services: Services,
    body: bytes,
    content_type: str,
    encoding: str,
    value: Any,
) -> None:
    inbox = await opened(agent, **NONE)
    taken = await http.post(path(inbox), content=body, headers={"content-type": content_type})
    assert taken.status_code == 200, taken.text
    [event] = await told(agent, services, inbox)
    assert (event["payload"]["encoding"], event["payload"]["body"]) == (encoding, value)
    assert event["payload"]["verified_by"] == "none"


async def test_a_secret_is_shown_to_nobody_and_lies_sealed(agent: TestAgent, services: Services) -> None:
    inbox = await opened(agent, **GITHUB)
    shown = (await agent.get(f"/v1/subscriptions/{inbox['id']}")).json()
    [listed] = (await agent.get("/v1/subscriptions")).json()["items"]
    assert shown == inbox == listed
    assert shown["source"]["verify"]["secret"] == "***"
    token = path(inbox).rpartition("/")[2]
    async with services.database.transaction() as db:
        for table in ("inboxes", "sources", "filters", "events", "kept_answers"):
            rows = (await db.execute(text(f"select cast(t as text) from {table} t"))).scalars().all()
            assert all(SECRET not in row and token not in row for row in rows), table


async def test_an_inbox_is_sealed_anew_with_a_new_key(agent: TestAgent, services: Services, migrated: str) -> None:
    from app.kit.sealing import Keyring, SecretKey

    await opened(agent, **GITHUB)
    following = Keyring(SecretKey.new(), before=[SECRET_KEY])
    await asyncio.to_thread(sealed.reseal, migrated, following)
    counts = await asyncio.to_thread(sealed.sealed_by, migrated, following)
    assert set(counts) == {following.current}


@pytest.mark.parametrize(
    ("source", "pointer"),
    [
        ({"verify": {"scheme": "github"}}, "/source/verify/secret"),
        ({"verify": {"scheme": "github", "secret": "***"}}, "/source/verify/secret"),
        ({"verify": {"scheme": "standard-webhooks", "secret": SECRET}}, "/source/verify/secret"),
        ({"verify": {"scheme": "none", "secret": SECRET}}, "/source/verify/secret"),
        ({"verify": {"scheme": "stripe", "secret": SECRET, "header": "X-A"}}, "/source/verify"),
        ({"verify": NONE, "url": "https://relay.example/v1/inbox/mine"}, "/source/url"),
        ({"verify": {"scheme": "md5", "secret": SECRET}}, "/source/verify/scheme"),
    ],
)
async def test_an_inbox_that_could_not_verify_is_not_opened(
    agent: TestAgent, source: dict[str, Any], pointer: str
) -> None:
    refused = await agent.post("/v1/subscriptions", {"source": {"kind": "inbox", **source}})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == pointer


async def test_no_two_inboxes_are_one(new_agent: NewAgent) -> None:
    one, other = await new_agent(), await new_agent()
    inboxes = [await opened(one, **NONE), await opened(one, **NONE), await opened(other, **NONE)]
    assert len({each["source_id"] for each in inboxes}) == 3
    assert len({each["source"]["url"] for each in inboxes}) == 3


async def test_an_inbox_whose_subscription_ended_is_gone(
    agent: TestAgent, http: httpx.AsyncClient, services: Services
) -> None:
    inbox = await opened(agent, **NONE)
    await http.post(path(inbox), content=b"1")
    assert (await agent.call("DELETE", f"/v1/subscriptions/{inbox['id']}")).status_code == 204
    assert (await http.post(path(inbox), content=b"2")).status_code == 404
    async with services.database.transaction() as db:
        assert (await db.execute(text("select count(*) from inboxes, inbox_calls"))).scalar_one() == 0


@pytest.mark.parametrize("token", ["x", "x" * 43, "%00", "..", "a%2fb"])
async def test_a_token_that_nobody_has_leads_nowhere(http: httpx.AsyncClient, token: str) -> None:
    assert (await http.post(f"/v1/inbox/{token}", content=b"{}")).status_code == 404


async def test_what_is_compressed_or_too_large_is_refused(agent: TestAgent, http: httpx.AsyncClient) -> None:
    inbox = await opened(agent, **NONE)
    compressed = await http.post(path(inbox), content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    large = await http.post(path(inbox), content=b"a" * (limits.inbox_body_bytes_max + 1))
    assert (compressed.status_code, large.status_code) == (415, 413)


async def test_an_inbox_takes_so_many_a_second(agent: TestAgent, http: httpx.AsyncClient, clock: OwnClock) -> None:
    inbox = await opened(agent, **NONE)
    answers = [
        await http.post(path(inbox), content=b"%d" % number) for number in range(limits.inbox_events_per_second + 1)
    ]
    assert {answer.status_code for answer in answers[:-1]} == {200}
    assert answers[-1].status_code == 429
    assert answers[-1].headers["retry-after"] == "1"
    clock.advance(seconds=1)
    assert (await http.post(path(inbox), content=b"once more")).status_code == 200


async def test_large_webhooks_count_as_several(agent: TestAgent, http: httpx.AsyncClient, clock: OwnClock) -> None:
    inbox = await opened(agent, **NONE)
    large = [bytes([number]) * limits.inbox_body_bytes_max for number in range(2)]
    assert [(await http.post(path(inbox), content=each)).status_code for each in large] == [200, 429]
    clock.advance(seconds=1)
    assert (await http.post(path(inbox), content=large[1])).status_code == 200


class TestADay:
    """What the inboxes of one agent take between two midnights, UTC."""

    most = 3 * (1024 + 1024)

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        watching = settings.watching.model_copy(update={"inbox_bytes_per_day_max": self.most})
        return settings.model_copy(update={"watching": watching})

    async def test_all_of_them_together_take_so_much(
        self, agent: TestAgent, new_agent: NewAgent, http: httpx.AsyncClient, clock: OwnClock
    ) -> None:
        one, other, strangers = [path(await opened(each, **NONE)) for each in (agent, agent, await new_agent())]
        bodies = [bytes([number]) * 1024 for number in range(4)]
        for inbox, body in ((one, bodies[0]), (other, bodies[1]), (one, bodies[2])):
            assert (await http.post(inbox, content=body)).status_code == 200
        # A repetition takes nothing.
        assert (await http.post(one, content=bodies[2])).json()["duplicate"] is True
        refused = await http.post(other, content=bodies[3])
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-many-requests")
        assert f"take {self.most} bytes a day" in refused.json()["detail"]
        wait_seconds = int(refused.headers["retry-after"])
        assert 0 < wait_seconds <= 86_400
        assert (await http.post(strangers, content=bodies[3])).status_code == 200
        clock.advance(seconds=wait_seconds)
        assert (await http.post(other, content=bodies[3])).status_code == 200

    async def test_to_open_another_one_makes_no_room(self, agent: TestAgent, http: httpx.AsyncClient) -> None:
        inbox = await opened(agent, **NONE)
        assert (await http.post(path(inbox), content=b"a" * (self.most - 1024))).status_code == 200
        assert (await agent.call("DELETE", f"/v1/subscriptions/{inbox['id']}")).status_code == 204
        assert (await http.post(path(await opened(agent, **NONE)), content=b"a")).status_code == 429


async def test_an_agent_has_so_many_inboxes(
    agent: TestAgent, new_agent: NewAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "inboxes_per_agent_max", 2)
    first = await opened(agent, **NONE)
    await opened(agent, **NONE)
    refused = await agent.post("/v1/subscriptions", {"source": {"kind": "inbox", "verify": NONE}})
    assert refused.status_code == 409
    await opened(await new_agent(), **NONE)
    await agent.call("DELETE", f"/v1/subscriptions/{first['id']}")
    await opened(agent, **NONE)


async def test_the_watcher_of_an_inbox_says_how_much_came(agent: TestAgent, http: httpx.AsyncClient) -> None:
    inbox = await opened(agent, **NONE)
    await http.post(path(inbox), content=b"1")
    [watcher] = (await agent.get("/v1/watchers")).json()["items"]
    assert (watcher["kind"], watcher["target"], watcher["events"], watcher["upstream_calls"]) == ("inbox", None, 1, 0)


async def test_stripe_and_standard_webhooks_are_known_by_their_ids(
    agent: TestAgent, http: httpx.AsyncClient, clock: OwnClock
) -> None:
    from tocsin import webhooks

    secret, body = webhooks.new_secret(), b'{"id": "evt_9", "type": "x"}'
    standard = path(await opened(agent, scheme="standard-webhooks", secret=secret))
    stripe = path(await opened(agent, scheme="stripe", secret=secret))
    seen = []
    for _ in range(2):
        clock.advance(minutes=30)
        headers = webhooks.sign("msg_1", clock.wall(), body, secrets=[secret])
        seen.append((await http.post(standard, content=body, headers=headers)).json()["duplicate"])
        seconds = str(int(clock.wall().timestamp()))
        signature = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
        header = {"stripe-signature": f"t={seconds},v1={signature}"}
        seen.append((await http.post(stripe, content=body, headers=header)).json()["duplicate"])
    assert seen == [False, False, True, True]
    assert json.loads(body)["id"] == "evt_9"
