"""What the command line makes of a wish to watch the web, and how it shows an inbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.test_cli_schedules import Relay
from tocsin import PrivateKey, cli
from tocsin.schemas.subscriptions import ChainPosition, FeedPosition, HttpFeed, Inbox, InboxPosition, Subscription
from tocsin.schemas.watchers import Watcher
from tocsin.schemas.web import Verification
from tocsin.schemas.wire import Page

KEY = PrivateKey.from_seed(bytes(32))
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
URL = "https://relay.example/v1/inbox/token"

Type = Callable[..., tuple[int, str, str]]


@pytest.fixture
def relay() -> Iterator[Relay]:
    opened = Relay()
    opened.answers["POST /v1/subscriptions"] = subscription(HttpFeed(kind="http.feed", url="https://a.example/f"))
    yield opened
    opened.close()


@pytest.fixture
def typing(relay: Relay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Type:
    """Types `tocsin subscribe …`, and gives how it ends and what it prints."""

    def type_(*typed: str) -> tuple[int, str, str]:
        command = ["tocsin", "--url", relay.url, "--key", KEY.text, "subscribe", *typed]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capfd.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return type_


def subscription(source: Any) -> Subscription:
    return Subscription(
        id="sub_1",
        source=source,
        source_id="src_1",
        filter_id="flt_1",
        feed_id="fed_1",
        joins_after=FeedPosition(seq=0, hash="0" * 64),
        state="active",
        begins_after=InboxPosition(opened_at=NOW),
        created_at=NOW,
    )


def sent(relay: Relay) -> dict[str, Any]:
    [(_, _, body)] = relay.asked
    return {name: value for name, value in body["source"].items() if value is not None}


JSON = {"kind": "http.json", "url": "https://a.example/p", "interval": "PT1M", "pointer": ""}


@pytest.mark.parametrize(
    ("typed", "source"),
    [
        (["--pointer", "/usd"], {**JSON, "pointer": "/usd", "rule": {"kind": "changed"}}),
        (
            ["--jmespath", "a[0]", "--above", "3000.50", "--below", "-1"],
            {**JSON, "jmespath": "a[0]", "rule": {"kind": "threshold", "above": "3000.5", "below": "-1"}},
        ),
        (["--appeared", "--key", "id"], {**JSON, "rule": {"kind": "appeared", "key": "id"}}),
    ],
)
def test_options_mean_a_rule(relay: Relay, typing: Type, typed: list[str], source: dict[str, Any]) -> None:
    code, _, error = typing("json", JSON["url"], "--pull", *typed)
    assert code == 0, error
    assert sent(relay) == source


@pytest.mark.parametrize("typed", [["--above", "1", "--appeared"], ["--key", "id"], ["--below", "1", "--key", "id"]])
def test_options_that_contradict_one_another_are_refused(relay: Relay, typing: Type, typed: list[str]) -> None:
    code, _, _ = typing("json", JSON["url"], "--pull", *typed)
    assert code == 2
    assert relay.asked == []


def test_to_ring_an_endpoint_and_none_is_refused(relay: Relay, typing: Type) -> None:
    code, _, error = typing("feed", "https://a.example/f", "--endpoint", "ep_1", "--pull")
    assert (code, relay.asked) == (2, [])
    assert "not both" in error


def test_a_feed_is_subscribed_to(relay: Relay, typing: Type) -> None:
    assert typing("feed", "https://a.example/f", "--every", "1h", "--updates", "--pull")[0] == 0
    assert sent(relay) == {"kind": "http.feed", "url": "https://a.example/f", "interval": "PT1H", "updates": True}


TOKEN, CHAIN = "0x" + "a" * 40, "eip155:8453"
HOW = ["--finality", "safe", "--batch", "--heartbeat-blocks", "9"]


@pytest.mark.parametrize(
    ("typed", "source"),
    [
        (["logs", "--address", TOKEN, "--where", "log.index > 1"], {"kind": "evm.log", "where": "log.index > 1"}),
        (["transfers", "--asset", TOKEN, "--min", "5"], {"kind": "evm.transfer", "min": "5"}),
        (["blocks", "--every", "5", "--where", "block.number > 9"], {"every": 5, "where": "block.number > 9"}),
        (["mints", "--to", TOKEN], {"kind": "evm.nft_mint", "to": [TOKEN]}),
        (["liquidity", "--pool", TOKEN, "--change", "added"], {"kind": "evm.liquidity", "change": "added"}),
    ],
)
def test_a_kind_of_a_chain_may_begin_in_the_past(
    relay: Relay, typing: Type, typed: list[str], source: dict[str, Any]
) -> None:
    code, _, error = typing(*typed, "--chain", CHAIN, *HOW, "--from-block", "7", "--pull")
    assert code == 0, error
    assert sent(relay).items() >= {**source, "chain": CHAIN, "finality": "safe"}.items()
    [(_, _, body)] = relay.asked
    assert (body["batch"], body["heartbeat_blocks"], body["from_block"]) == ("block", 9, 7)


@pytest.mark.parametrize(
    ("typed", "source"),
    [
        (["price", "--pool", TOKEN, "--crosses", "3000"], {"when": {"rule": "crosses", "level": "3000"}}),
        (["contracts", "--creator", TOKEN], {"kind": "evm.contract_created", "creator": [TOKEN]}),
        (["call", TOKEN, "f(uint256) returns (uint256)", "7"], {"kind": "evm.call", "arguments": [7]}),
    ],
)
def test_what_is_in_no_log_or_compared_with_what_was_before_begins_now(
    relay: Relay, typing: Type, typed: list[str], source: dict[str, Any]
) -> None:
    code, _, error = typing(*typed, "--chain", CHAIN, *HOW, "--pull")
    assert code == 0, error
    assert sent(relay).items() >= {**source, "chain": CHAIN, "finality": "safe"}.items()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--min", "5", "--max", "4"], "`min` is greater than `max`"),
        (["--min", "many"], "an amount is a decimal number"),
    ],
)
def test_amounts_that_nothing_can_have_are_refused(relay: Relay, typing: Type, typed: list[str], said: str) -> None:
    code, _, error = typing("transfers", "--chain", CHAIN, *typed, "--pull")
    assert (code, relay.asked) == (1, [])
    assert said in error


def test_an_inbox_prints_where_to_post(relay: Relay, typing: Type) -> None:
    shown = Inbox(kind="inbox", verify=Verification(scheme="github", secret="***"), url=URL)
    relay.answers["POST /v1/subscriptions"] = subscription(shown)
    code, out, error = typing("inbox", "--verify", "github", "--secret", "of the sender", "--pull")
    assert code == 0, error
    assert URL in out + error
    assert sent(relay) == {"kind": "inbox", "verify": {"scheme": "github", "secret": "of the sender"}}


def test_watchers_say_where_they_are_and_what_is_wrong(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    place = ChainPosition(number=121, hash="0x" + "a" * 64, timestamp=1)
    shared = {"state": "active", "subscriptions": 2, "events": 3, "upstream_calls": 4}
    chain = Watcher(source_id="src_1", kind="evm", target=CHAIN, position=place, last_error="away", **shared)
    inbox = Watcher(source_id="src_2", kind="inbox", target=None, position=InboxPosition(opened_at=NOW), **shared)
    relay.answers["GET /v1/watchers"] = Page[Watcher](items=[chain, inbox])
    monkeypatch.setattr("sys.argv", ["tocsin", "--url", relay.url, "--key", KEY.text, "watchers"])
    with pytest.raises(SystemExit):
        cli.main()
    _, evm, posted = (line.split() for line in capfd.readouterr().out.splitlines())
    assert evm == ["evm", CHAIN, "active", "block", "121", "2", "3", "4", "-", "away"]
    assert posted == ["inbox", "-", "active", "-", "2", "3", "4", "-", "-"]


def test_one_that_has_not_begun_says_where_to_look(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    begins = {"state": "starting", "begins_after": None}
    found = subscription(HttpFeed(kind="http.feed", url="https://a.example/f")).model_copy(update=begins)
    relay.answers["GET /v1/subscriptions/sub_1"] = found
    monkeypatch.setattr("sys.argv", ["tocsin", "--url", relay.url, "--key", KEY.text, "subscriptions", "show", "sub_1"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "tocsin watchers" in capfd.readouterr().err


def test_it_is_said_what_a_senders_secret_has_to_be(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tocsin", "subscribe", "inbox", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "8 to 500 characters" in " ".join(capfd.readouterr().out.replace("│", "").split())
