"""Subscribing: what is shared, what is refused, and what an agent sees of it."""

from __future__ import annotations

from typing import Any

import pytest

from app.kit import limits
from app.settings import ChainSettings, Settings
from tests.conftest import NewAgent
from tests.world import TestAgent

TOKEN, TOPIC = "0x" + "Aa" * 20, "0x" + "1B" * 32
LOGS: dict[str, Any] = {"kind": "evm.log", "chain": "eip155:31337", "address": TOKEN, "topics": [TOPIC]}
ON: dict[str, Any] = {"chain": "eip155:31337"}
MOVES: dict[str, Any] = {"rule": "moves", "percent": "5", "window": "PT1H"}
CALL: dict[str, Any] = {
    **ON,
    "kind": "evm.call",
    "address": TOKEN,
    "function": "balanceOf(address) returns (uint256)",
    "arguments": [TOKEN],
}
VALUE: dict[str, Any] = {
    "kind": "http.json",
    "url": "http://127.0.0.1:8080/price",
    "interval": "PT30S",
    "pointer": "/usd",
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A relay that knows a chain, whose node is away."""
    chains = {"eip155:31337": ChainSettings.model_validate({"rpc_url": "http://127.0.0.1:1"})}
    return settings.model_copy(update={"chains": chains})


async def subscribe(agent: TestAgent, source: dict[str, Any], **members: Any) -> dict[str, Any]:
    created = await agent.post("/v1/subscriptions", {"source": source, **members})
    assert created.status_code == 201, created.text
    return created.json()


async def test_a_subscription_is_shown_as_it_was_made(agent: TestAgent) -> None:
    created = await subscribe(agent, LOGS, description="my token")
    expected = {"address": [TOKEN.lower()], "topics": [[TOPIC.lower()]], "event": None, "where": None}
    assert created["source"] == {**LOGS, **expected, "finality": "latest"}
    assert (created["state"], created["endpoint_id"], created["description"]) == ("starting", None, "my token")
    assert (await agent.get(f"/v1/subscriptions/{created['id']}")).json() == created
    assert (await agent.get("/v1/subscriptions")).json() == {"items": [created], "next": None}


async def test_a_value_to_watch_is_shown_as_it_was_made(agent: TestAgent) -> None:
    plain = {"jmespath": None, "rule": {"kind": "changed"}, "where": None}
    assert (await subscribe(agent, VALUE))["source"] == {**VALUE, **plain}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            {"jmespath": "a[0]", "rule": {"kind": "threshold", "above": 3000.50, "below": "2900.0"}},
            {"jmespath": "a[0]", "rule": {"kind": "threshold", "above": "3000.5", "below": "2900"}},
        ),
        ({"rule": {"kind": "appeared", "key": "id"}}, {"rule": {"kind": "appeared", "key": "id"}}),
    ],
)
async def test_a_rule_is_shown_in_its_one_spelling(
    agent: TestAgent, said: dict[str, Any], shown: dict[str, Any]
) -> None:
    watched = {**VALUE, "pointer": ""}
    assert (await subscribe(agent, {**watched, **said}))["source"] == {
        **watched,
        "jmespath": None,
        "where": None,
        **shown,
    }


async def test_a_feed_to_watch_is_shown_as_it_was_made(agent: TestAgent) -> None:
    feed = {"kind": "http.feed", "url": VALUE["url"], "interval": "PT15M", "updates": True}
    assert (await subscribe(agent, feed))["source"] == {**feed, "where": None}


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({"jmespath": "a["}, "/source/jmespath"),
        ({"jmespath": "nowhere(@)"}, "/source/jmespath"),
        ({"rule": {"kind": "appeared", "key": "]"}}, "/source/rule/key"),
        ({"pointer": "/a", "jmespath": "a"}, "/source"),
        ({"rule": {"kind": "threshold"}}, "/source/rule"),
        ({"rule": {"kind": "threshold", "above": 1, "below": 2}}, "/source/rule"),
        ({"rule": {"kind": "threshold", "above": "1e3"}}, "/source/rule/above"),
    ],
)
async def test_a_rule_that_cannot_be_judged_is_refused(agent: TestAgent, said: dict[str, Any], pointer: str) -> None:
    source = {**VALUE, "pointer": "", **said}
    refused = await agent.post("/v1/subscriptions", {"source": source})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"].startswith(pointer)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"kind": "evm.block"}, {"kind": "evm.block", "every": 1}),
        (
            {"kind": "evm.log", "event": "event T(uint a, address indexed)"},
            {"kind": "evm.log", "event": "T( uint256 a,address indexed );"},
        ),
        (
            {"kind": "evm.transfer", "asset": TOKEN, "from": TOKEN, "min": "1.50"},
            {"kind": "evm.transfer", "asset": TOKEN.lower(), "from": [TOKEN.lower(), TOKEN], "min": "1.5", "to": []},
        ),
        ({"kind": "evm.nft_mint", "to": TOKEN}, {"kind": "evm.nft_mint", "to": [TOKEN.lower()], "collection": []}),
        (
            {"kind": "evm.price", "pool": TOKEN, "when": MOVES},
            {"kind": "evm.price", "pool": TOKEN.lower(), "when": {**MOVES, "window": "PT60M"}, "decimals0": 18},
        ),
    ],
)
async def test_wishes_of_one_kind_are_equal_however_they_are_spelt(
    agent: TestAgent, one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = await subscribe(agent, {**ON, **one}), await subscribe(agent, {**ON, **other})
    assert first["filter_id"] == second["filter_id"]
    assert first["source"] == second["source"]
    again = await subscribe(agent, first["source"])
    assert again["filter_id"] == first["filter_id"]


async def test_a_refusal_says_at_which_character(agent: TestAgent) -> None:
    wrong = {**LOGS, "topics": None, "event": "Transfer(address from address to)"}
    [error] = (await agent.post("/v1/subscriptions", {"source": wrong})).json()["errors"]
    assert error["pointer"] == "/source/event"
    assert "at character 23: expected ','; found 'address'" in error["detail"]
    [error] = (await agent.post("/v1/subscriptions", {"source": {**LOGS, "where": "log.index = 1"}})).json()["errors"]
    assert error == {
        "pointer": "/source/where",
        "detail": "at character 11: '=' has no place here; write == for equality",
    }
    [error] = (await agent.post("/v1/subscriptions", {"source": {**CALL, "arguments": [5]}})).json()["errors"]
    assert "arguments/0: address is a string" in error["detail"]


@pytest.mark.parametrize(
    "source",
    [
        LOGS,
        {**ON, "kind": "evm.block"},
        {**ON, "kind": "evm.transfer", "asset": TOKEN},
        {**ON, "kind": "evm.nft_mint", "to": TOKEN},
        {**ON, "kind": "evm.liquidity", "pool": TOKEN},
    ],
)
async def test_what_logs_or_numbers_find_begins_in_the_past(agent: TestAgent, source: dict[str, Any]) -> None:
    subscribed = await subscribe(agent, source, from_block=7)
    assert subscribed["catching_up"]["from_block"] == 7


async def test_a_kind_that_cannot_begin_in_the_past_is_told_which_can(agent: TestAgent) -> None:
    refused = (await agent.post("/v1/subscriptions", {"source": CALL, "from_block": 1})).json()
    assert "evm.block, evm.log, evm.transfer of a token" in refused["errors"][0]["detail"]


async def test_an_agent_has_a_bounded_number_of_calls(agent: TestAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "calls_per_agent_max", 2)
    for data in ("0x01", "0x02"):
        await subscribe(agent, {**ON, "kind": "evm.call", "address": TOKEN, "data": data})
    refused = await agent.post(
        "/v1/subscriptions", {"source": {**ON, "kind": "evm.call", "address": TOKEN, "data": "0x03"}}
    )
    assert refused.status_code == 409, refused.text
    await subscribe(agent, LOGS)


async def test_equal_wishes_share_their_source_and_filter(new_agent: NewAgent) -> None:
    one, other = await new_agent(), await new_agent()
    first = await subscribe(one, LOGS)
    spelt_otherwise = {**LOGS, "address": [TOKEN.lower(), TOKEN], "topics": [[TOPIC.lower()]]}
    second = await subscribe(other, spelt_otherwise)
    third = await subscribe(other, {**LOGS, "topics": None})
    assert first["id"] != second["id"]
    assert (first["source_id"], first["filter_id"]) == (second["source_id"], second["filter_id"])
    assert third["source_id"] == first["source_id"]
    assert third["filter_id"] != first["filter_id"]


async def test_what_is_told_in_the_same_way_is_one_feed(new_agent: NewAgent) -> None:
    one, other = await new_agent(), await new_agent()
    first, same = await subscribe(one, LOGS), await subscribe(other, LOGS, description="mine")
    ways = [
        await subscribe(one, {**LOGS, "finality": "finalized"}),
        await subscribe(one, {**LOGS, "finality": "confirmations:12"}),
        await subscribe(one, LOGS, batch="block"),
        await subscribe(one, LOGS, heartbeat_blocks=10),
    ]
    assert first["feed_id"] == same["feed_id"]
    assert len({first["feed_id"], *(each["feed_id"] for each in ways)}) == 5
    assert {each["filter_id"] for each in ways} == {first["filter_id"]}
    assert first["joins_after"] == {"seq": 0, "hash": "0" * 64}
    assert [each["source"]["finality"] for each in ways] == ["finalized", "confirmations:12", "latest", "latest"]
    assert (ways[2]["batch"], ways[3]["heartbeat_blocks"]) == ("block", 10)


async def test_no_confirmations_are_the_latest(agent: TestAgent) -> None:
    none, latest = await subscribe(agent, {**LOGS, "finality": "confirmations:0"}), await subscribe(agent, LOGS)
    assert none["feed_id"] == latest["feed_id"]
    assert none["source"]["finality"] == "latest"


async def test_a_cursor_from_before_there_were_feeds_is_refused(agent: TestAgent) -> None:
    created = await subscribe(agent, LOGS)
    answer = await agent.get(f"/v1/subscriptions/{created['id']}/events?after=MTc")
    assert answer.status_code == 400
    assert answer.json()["type"].endswith("/invalid-cursor")


async def test_values_of_one_document_share_their_source(agent: TestAgent) -> None:
    first, second = await subscribe(agent, VALUE), await subscribe(agent, {**VALUE, "pointer": "/eur"})
    other = await subscribe(agent, {**VALUE, "interval": "PT1M"})
    assert first["source_id"] == second["source_id"] != other["source_id"]
    assert first["filter_id"] != second["filter_id"]


async def test_an_agent_sees_only_its_own(new_agent: NewAgent) -> None:
    owner, stranger = await new_agent(), await new_agent()
    theirs = await subscribe(owner, LOGS)
    for method, path in (("GET", ""), ("GET", "/events"), ("DELETE", "")):
        assert (await stranger.call(method, f"/v1/subscriptions/{theirs['id']}{path}")).status_code == 404
    assert (await stranger.get("/v1/subscriptions")).json()["items"] == []
    assert (await stranger.get("/v1/watchers")).json()["items"] == []


async def test_a_watcher_says_how_many_it_serves(new_agent: NewAgent) -> None:
    one, other = await new_agent(), await new_agent()
    await subscribe(one, LOGS)
    await subscribe(other, LOGS)
    [watcher] = (await one.get("/v1/watchers")).json()["items"]
    assert (watcher["kind"], watcher["target"]) == ("evm", "eip155:31337")
    assert (watcher["subscriptions"], watcher["state"], watcher["upstream_calls"]) == (2, "starting", 0)


async def test_lists_are_paged(agent: TestAgent) -> None:
    made = [(await subscribe(agent, {**LOGS, "topics": [f"0x{number:064x}"]}))["id"] for number in range(3)]
    first = (await agent.get("/v1/subscriptions?limit=2")).json()
    second = (await agent.get(f"/v1/subscriptions?limit=2&cursor={first['next']}")).json()
    assert [each["id"] for each in first["items"] + second["items"]] == made
    assert second["next"] is None


async def test_a_subscription_ends_once(agent: TestAgent) -> None:
    created = await subscribe(agent, LOGS)
    assert (await agent.call("DELETE", f"/v1/subscriptions/{created['id']}")).status_code == 204
    assert (await agent.call("DELETE", f"/v1/subscriptions/{created['id']}")).status_code == 404
    assert (await agent.get(f"/v1/subscriptions/{created['id']}")).status_code == 404
    happened = (await agent.get(f"/v1/events?subject={created['id']}")).json()["items"]
    assert [each["kind"] for each in happened] == ["subscription.created", "subscription.deleted"]


async def test_a_repeated_request_subscribes_once(agent: TestAgent) -> None:
    body = {"source": LOGS}
    answers = [await agent.post("/v1/subscriptions", body, idempotency_key="once") for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len((await agent.get("/v1/subscriptions")).json()["items"]) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/source"),
        ({"source": {"kind": "evm.weather"}}, "/source"),
        ({"source": {**LOGS, "chain": "eip155:0"}}, "/source/chain"),
        ({"source": {**LOGS, "chain": "eip155:1"}}, "/source/chain"),  # one that this relay does not watch
        ({"source": {**LOGS, "address": "0x12"}}, "/source/address"),
        ({"source": {**LOGS, "address": [TOKEN] * 33}}, "/source/address"),
        ({"source": {**LOGS, "address": None, "topics": None}}, "/source"),  # everything
        ({"source": {**LOGS, "address": [], "topics": [[], None]}}, "/source"),  # everything, in other words
        ({"source": {**LOGS, "topics": [TOPIC] * 5}}, "/source/topics"),
        ({"source": {**LOGS, "topics": ["Transfer"]}}, "/source/topics/0"),
        ({"source": {**LOGS, "finality": "soon"}}, "/source/finality"),
        ({"source": {**LOGS, "finality": "confirmations:010"}}, "/source/finality"),
        ({"source": {**VALUE, "finality": "finalized"}}, "/source/finality"),
        ({"source": LOGS, "batch": "day"}, "/batch"),
        ({"source": VALUE, "batch": "block"}, "/batch"),
        ({"source": LOGS, "heartbeat_blocks": 0}, "/heartbeat_blocks"),
        ({"source": VALUE, "heartbeat_blocks": 5}, "/heartbeat_blocks"),
        ({"source": {**LOGS, "from_block": 1}}, "/source/from_block"),
        ({"source": VALUE, "from_block": 1}, "/from_block"),
        ({"source": CALL, "from_block": 1}, "/from_block"),
        ({"source": {**ON, "kind": "evm.transfer", "asset": "native"}, "from_block": 1}, "/from_block"),
        ({"source": {**ON, "kind": "evm.contract_created"}, "from_block": 1}, "/from_block"),
        ({"source": {**ON, "kind": "evm.price", "pool": TOKEN, "when": MOVES}, "from_block": 1}, "/from_block"),
        ({"source": {**LOGS, "where": "log.index =1"}}, "/source/where"),
        ({"source": {**LOGS, "event": "Transfer(adress)"}}, "/source/event"),
        ({"source": {**LOGS, "event": "Transfer(address)"}}, "/source"),  # two first topics
        ({"source": {**ON, "kind": "evm.block", "every": 0}}, "/source/every"),
        ({"source": {**ON, "kind": "evm.transfer", "asset": "ether"}}, "/source/asset"),
        ({"source": {**ON, "kind": "evm.transfer", "asset": "native", "decimals": 6}}, "/source"),
        ({"source": {**ON, "kind": "evm.transfer", "asset": TOKEN, "decimals": 2, "min": "0.001"}}, "/source"),
        ({"source": {**ON, "kind": "evm.transfer", "asset": TOKEN, "min": 5}}, "/source/min"),
        ({"source": {**ON, "kind": "evm.transfer", "asset": TOKEN, "from_": TOKEN}}, "/source/from_"),
        ({"source": {**ON, "kind": "evm.nft_mint"}}, "/source"),
        ({"source": {**ON, "kind": "evm.liquidity", "pool": []}}, "/source"),
        ({"source": {**ON, "kind": "evm.price", "pool": TOKEN, "when": {"rule": "falls"}}}, "/source/when"),
        (
            {"source": {**ON, "kind": "evm.price", "pool": TOKEN, "when": {**MOVES, "percent": "0"}}},
            "/source/when/percent",
        ),
        (
            {"source": {**ON, "kind": "evm.price", "pool": TOKEN, "when": {**MOVES, "window": "P2D"}}},
            "/source/when/window",
        ),
        ({"source": {**ON, "kind": "evm.call", "address": TOKEN}}, "/source"),
        ({"source": {**ON, "kind": "evm.call", "address": TOKEN, "function": "f()"}}, "/source/function"),
        ({"source": {**CALL, "arguments": ["0x12"]}}, "/source"),
        ({"source": {**CALL, "data": "0x12"}}, "/source"),
        ({"source": {"kind": "http.json"}}, "/source/url"),
        ({"source": {**VALUE, "url": "http://user:pass@127.0.0.1:8080/"}}, "/source/url"),
        ({"source": {**VALUE, "url": "file:///etc/passwd"}}, "/source/url"),
        ({"source": {**VALUE, "url": "http://10.1.2.3/"}}, "/source/url"),
        ({"source": {**VALUE, "url": "http://0x7f000001/"}}, "/source/url"),
        ({"source": {**VALUE, "interval": "PT1S"}}, "/source/interval"),
        ({"source": {**VALUE, "interval": "P2D"}}, "/source/interval"),
        ({"source": {**VALUE, "interval": 60}}, "/source/interval"),
        ({"source": {**VALUE, "pointer": "usd"}}, "/source/pointer"),
        ({"source": {**VALUE, "pointer": "/~2"}}, "/source/pointer"),
        ({"source": {**VALUE, "where": "current.value = 1"}}, "/source/where"),
        ({"source": {**VALUE, "where": "current.vaule == 1"}}, "/source/where"),
        ({"source": {"kind": "http.feed", "url": VALUE["url"], "where": "("}}, "/source/where"),
        ({"source": {"kind": "inbox", "verify": {"scheme": "none"}, "where": "a b"}}, "/source/where"),
        ({"source": LOGS, "endpoint_id": 5}, "/endpoint_id"),
        ({"source": LOGS, "description": "two\nlines"}, "/description"),
    ],
)
async def test_a_wish_that_cannot_be_met_is_pointed_at(agent: TestAgent, body: dict[str, Any], pointer: str) -> None:
    answer = await agent.post("/v1/subscriptions", body)
    assert answer.status_code == 422, answer.text
    assert {error["pointer"] for error in answer.json()["errors"]} <= {pointer, pointer.removesuffix("/0")}, answer.text
    assert (await agent.get("/v1/subscriptions")).json()["items"] == []


async def test_an_endpoint_must_be_the_agents_own(new_agent: NewAgent) -> None:
    owner, stranger = await new_agent(), await new_agent()
    endpoint = (await owner.post("/v1/endpoints", {"url": "http://127.0.0.1:8080/hook"})).json()
    answer = await stranger.post("/v1/subscriptions", {"source": LOGS, "endpoint_id": endpoint["id"]})
    assert answer.status_code == 404


@pytest.mark.parametrize("query", ["after=!", "after=bm90IGEgbnVtYmVy", "wait=31", "wait=-1", "limit=0", "since=1"])
async def test_a_query_that_cannot_be_read_is_refused(agent: TestAgent, query: str) -> None:
    created = await subscribe(agent, LOGS)
    assert (await agent.get(f"/v1/subscriptions/{created['id']}/events?{query}")).status_code == 400


async def test_the_number_of_subscriptions_is_bounded(agent: TestAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "subscriptions_per_agent_max", 1)
    await subscribe(agent, LOGS)
    answer = await agent.post("/v1/subscriptions", {"source": LOGS})
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/too-many-subscriptions"


async def refused(agent: TestAgent, source: dict[str, Any], **members: Any) -> str:
    answer = await agent.post("/v1/subscriptions", {"source": source, **members})
    assert answer.status_code == 409, answer.text
    assert answer.json()["type"] == "/problems/too-many-subscriptions"
    return answer.json()["detail"]


async def test_an_agent_asks_so_many_things_of_one_document(
    agent: TestAgent, new_agent: NewAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "document_filters_max", 2)
    for pointer in ("/a", "/b", "/b"):
        await subscribe(agent, {**VALUE, "pointer": pointer})
    assert "2 things" in await refused(agent, {**VALUE, "pointer": "/c"})
    await subscribe(agent, {**VALUE, "pointer": "/a"})
    await subscribe(agent, {**VALUE, "pointer": "/c", "url": "http://127.0.0.1:8080/other"})
    await subscribe(await new_agent(), {**VALUE, "pointer": "/c"})


async def test_one_host_is_asked_so_often_for_an_agent(
    agent: TestAgent, new_agent: NewAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "host_requests_per_second_max", 0.3)
    host = "http://127.0.0.1:8080"
    for path, interval in (("/a", "PT10S"), ("/b", "PT10S"), ("/c", "PT20S"), ("/d", "PT20S")):
        await subscribe(agent, {**VALUE, "url": host + path, "interval": interval})
    assert "0.3 times a second" in await refused(agent, {**VALUE, "url": f"{host}/e", "interval": "P1D"})
    # What is asked already is asked no more often.
    await subscribe(agent, {**VALUE, "url": f"{host}/a", "interval": "PT10S", "pointer": "/other"})
    await subscribe(agent, {**VALUE, "url": "http://127.0.0.1:8081/e"})
    await subscribe(await new_agent(), {**VALUE, "url": f"{host}/e"})


async def test_so_many_of_an_agents_subscriptions_catch_up_at_a_time(
    agent: TestAgent, new_agent: NewAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "backfills_per_agent_max", 2)
    for block in (1, 2):
        await subscribe(agent, LOGS, from_block=block)
    assert "2 subscriptions of yours" in await refused(agent, LOGS, from_block=3)
    await subscribe(agent, LOGS)
    await subscribe(await new_agent(), LOGS, from_block=3)
