"""`tocsin listen --subscription`: entries in order, for as long as they hang together."""

from collections.abc import Iterator, Sequence

import pytest

from tests.unit.test_cli_schedules import Relay
from tests.unit.test_following import SUBSCRIPTION, feed
from tocsin import PrivateKey, cli
from tocsin.schemas.subscriptions import EventPage, Subscription

KEY = PrivateKey.from_seed(bytes(32))


@pytest.fixture
def relay() -> Iterator[Relay]:
    opened = Relay()
    opened.answers["GET /v1/subscriptions/sub_1"] = Subscription.model_validate(SUBSCRIPTION, strict=False)
    yield opened
    opened.close()


def listen(monkeypatch: pytest.MonkeyPatch, relay: Relay, *bodies: str, more: Sequence[str] = ()) -> int:
    relay.answers["GET /v1/subscriptions/sub_1/events"] = EventPage(items=[], bodies=list(bodies), next="x")
    typed = ["listen", "--subscription", "sub_1", "--count", "2", *more]
    monkeypatch.setattr("sys.argv", ["tocsin", "--url", relay.url, "--key", KEY.text, *typed])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_entries_are_shown_in_order(
    monkeypatch: pytest.MonkeyPatch, relay: Relay, capfd: pytest.CaptureFixture[str]
) -> None:
    assert listen(monkeypatch, relay, *feed(2)) == 0
    lines = [line.split()[:4] for line in capfd.readouterr().out.splitlines() if "follows" in line]
    assert lines == [["1", "event.matched", "✓", "follows"], ["2", "event.matched", "✓", "follows"]]


def test_a_sequence_that_does_not_hold_is_said(
    monkeypatch: pytest.MonkeyPatch, relay: Relay, capfd: pytest.CaptureFixture[str]
) -> None:
    assert listen(monkeypatch, relay, feed(1)[0], feed(2, salt="other")[1]) == 1
    assert "the sequence does not hold: entry 2" in capfd.readouterr().err


def test_it_begins_after_a_number_where_one_is_named(
    monkeypatch: pytest.MonkeyPatch, relay: Relay, capfd: pytest.CaptureFixture[str]
) -> None:
    assert listen(monkeypatch, relay, *feed(9)[7:], more=["--after", "7"]) == 0
    assert [line.split()[0] for line in capfd.readouterr().out.splitlines() if "follows" in line] == ["8", "9"]
    asked = [query for path, _, query in relay.asked if path.endswith("/events")]
    assert asked[0]["after_seq"] == ["7"]


def test_rings_have_no_number_to_begin_after(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tocsin", "--key", KEY.text, "listen", "--after", "7"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "--after is for --subscription" in " ".join(capfd.readouterr().err.replace("│", "").split())


@pytest.mark.parametrize("more", [["--every", "2s"], ["--keep"], ["--port", "1"], ["--endpoint", "ep_1"]])
def test_nothing_is_rung_where_a_subscription_is_read(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], more: list[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tocsin", "--key", KEY.text, "listen", "--subscription", "sub_1", *more])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "nothing is rung here" in " ".join(capfd.readouterr().err.split())
