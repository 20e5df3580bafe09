"""What the command line asks about endpoints, messages, deliveries and recoveries, and how it tells of them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from tests.unit.test_cli_schedules import Relay
from tocsin import Client, PrivateKey, cli
from tocsin.cli import show
from tocsin.cli.recoveries import steps, watch
from tocsin.schemas.deliveries import Attempt, Delivery, DeliveryDetail
from tocsin.schemas.endpoints import CreatedEndpoint, Endpoint, McpSubscription
from tocsin.schemas.messages import MessageDelivery, PublishedMessage
from tocsin.schemas.recoveries import Recovery, RecoveryState
from tocsin.schemas.wire import Page
from tocsin.webhooks import new_secret

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
KEY = PrivateKey.from_seed(bytes(32))

Type = Callable[..., str]


@pytest.fixture
def relay() -> Iterator[Relay]:
    opened = Relay()
    yield opened
    opened.close()


@pytest.fixture
def typing(relay: Relay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Type:
    """Types a command, and gives what it prints."""

    def type_(*typed: str) -> str:
        monkeypatch.setattr("sys.argv", ["tocsin", "--url", relay.url, "--key", KEY.text, *typed])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capfd.readouterr()
        assert ended.value.code in (0, None), told.err
        return told.out

    return type_


def delivery() -> DeliveryDetail:
    attempt = Attempt(
        number=1,
        started_at=NOW,
        duration_ms=61,
        status=503,
        lookup_ms=1,
        connect_ms=2,
        wait_ms=55,
        response_excerpt="busy\nreally",
        next_attempt_at=NOW + timedelta(seconds=5),
    )
    return DeliveryDetail(
        id="dlv_1",
        webhook_id="ep_1_msg_1",
        endpoint_id="ep_1",
        message_id="msg_1",
        type="test.said",
        state="pending",
        attempts=1,
        created_at=NOW,
        body={"type": "test.said"},
        history=[attempt],
    )


def recovery(state: RecoveryState = "done", sent: int = 3, skipped: int = 0) -> Recovery:
    return Recovery(
        id="rec_1",
        endpoint_id="ep_1",
        states=["failed"],
        since=NOW,
        until=NOW + timedelta(hours=1),
        rate_per_second=50,
        state=state,
        total=3,
        sent=sent,
        skipped=skipped,
        created_at=NOW,
    )


def test_what_never_arrived_is_asked_for_in_one_line(relay: Relay, typing: Type) -> None:
    relay.answers["GET /v1/deliveries"] = Page[Delivery](items=[])
    words = ["--undelivered", "--since", "2026-11-22T08:00:00Z", "--state", "failed", "--state", "cancelled"]

    told = typing("deliveries", "ls", *words, "--endpoint", "ep_1", "--order-key", "k")

    assert relay.asked[0][2] == {
        "undelivered": ["true"],
        "since": ["2026-11-22T08:00:00+00:00"],
        "state": ["failed,cancelled"],
        "endpoint": ["ep_1"],
        "order_key": ["k"],
        "limit": ["100"],
    }
    assert told.strip() == "No deliveries."


def test_a_delivery_shows_what_each_attempt_took(relay: Relay, typing: Type) -> None:
    relay.answers["GET /v1/deliveries/dlv_1"] = delivery()

    told = typing("deliveries", "show", "dlv_1")

    assert "503" in told
    assert "lookup 1, connect 2, wait 55" in told
    assert "busy" in told
    assert "really" not in told


def test_what_has_not_arrived_is_listed_with_why_and_when_next(relay: Relay, typing: Type) -> None:
    said = delivery().model_dump(exclude={"body", "history", "expunged_at"})
    differ = (
        {"id": "dlv_1", "last_status": 503, "next_attempt_at": NOW + timedelta(minutes=5)},
        {"id": "dlv_2", "waits_for": "endpoint"},
        {"id": "dlv_3", "waits_for": "order"},
        {"id": "dlv_4", "state": "failed", "last_error": "timeout", "reason": "no success in 9 attempts"},
    )
    items = [Delivery.model_validate(said | each) for each in differ]
    relay.answers["GET /v1/deliveries"] = Page[Delivery](items=items)

    retried, held, behind, failed = map(str.rstrip, typing("deliveries", "ls", "--undelivered").splitlines()[1:])

    assert "503" in retried
    assert show.local(NOW + timedelta(minutes=5)) in retried
    assert held.endswith("waits for its endpoint")
    assert behind.endswith("waits for an earlier one")
    assert "timeout" in failed
    assert failed.endswith("no success in 9 attempts")


@pytest.mark.parametrize("verb", ["redeliver", "cancel", "expunge"])
def test_one_delivery_is_dealt_with(relay: Relay, typing: Type, verb: str) -> None:
    relay.answers[f"POST /v1/deliveries/dlv_1/{verb}"] = (
        delivery()
        if verb == "expunge"
        else Delivery.model_validate(delivery().model_dump(exclude={"body", "history", "expunged_at"}))
    )

    assert "dlv_1" in typing("deliveries", verb, "dlv_1", *(["--yes"] if verb == "expunge" else []))


DANGEROUS = [["deliveries", "expunge", "dlv_1"], ["endpoints", "rm", "ep_1"]]


@pytest.mark.parametrize("typed", DANGEROUS)
def test_what_cannot_be_undone_needs_a_yes_where_nobody_can_be_asked(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], typed: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("y\n"))

    assert code_of(relay, monkeypatch, typed) == 2

    assert "If you mean it, add --yes" in " ".join(capfd.readouterr().err.replace("│", " ").split())
    assert relay.asked == []


@pytest.mark.parametrize("typed", DANGEROUS)
@pytest.mark.parametrize(("answer", "asked"), [("y", 1), ("n", 0), ("", 0)])
def test_what_cannot_be_undone_is_asked_at_a_terminal(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, typed: list[str], answer: str, asked: int
) -> None:
    for asking in ("POST /v1/deliveries/dlv_1/expunge", "DELETE /v1/endpoints/ep_1"):
        relay.answers[asking] = delivery()
    monkeypatch.setattr("sys.stdin", Typist(f"{answer}\n"))

    assert (code_of(relay, monkeypatch, typed) in (0, None)) is bool(asked)

    assert len(relay.asked) == asked


@pytest.mark.parametrize("typed", DANGEROUS)
def test_the_help_of_what_cannot_be_undone_says_so(typing: Type, typed: list[str]) -> None:
    assert "cannot be undone" in " ".join(typing(*typed[:2], "--help").split())


class Typist(StringIO):
    """Somebody at a terminal."""

    def isatty(self) -> bool:
        return True


def code_of(relay: Relay, monkeypatch: pytest.MonkeyPatch, typed: list[str]) -> object:
    """Types a command, and gives the code that it ends with."""
    monkeypatch.setattr("sys.argv", ["tocsin", "--url", relay.url, "--key", KEY.text, *typed])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_an_endpoint_is_recovered_and_watched(relay: Relay, typing: Type) -> None:
    relay.answers["POST /v1/endpoints/ep_1/recover"] = recovery("running", 1)
    relay.answers["GET /v1/recoveries/rec_1"] = recovery("done", 2, 1)

    told = typing(
        "endpoints", "recover", "ep_1", "--since", "2026-11-22T07:00:00Z", "--state", "delivered", "--rate", "9"
    )

    assert relay.asked[0][2] == {
        "since": "2026-11-22T07:00:00.000Z",
        "states": ["delivered"],
        "rate_per_second": 9.0,
    }
    assert told.splitlines() == [
        "rec_1  running  1 of 3 sent again",
        "rec_1  done  2 of 3 sent again, 1 skipped",
    ]


def test_a_day_is_meant_from_its_beginning_in_utc(relay: Relay, typing: Type) -> None:
    relay.answers["POST /v1/endpoints/ep_1/recover"] = recovery()

    typing("endpoints", "recover", "ep_1", "--since", "2026-11-22")

    assert relay.asked[0][2]["since"] == "2026-11-22T00:00:00.000Z"


def test_a_recovery_of_nothing_says_so(relay: Relay, typing: Type) -> None:
    nothing = recovery(sent=0).model_copy(update={"total": 0})
    relay.answers["POST /v1/endpoints/ep_1/recover"] = nothing

    told = typing("endpoints", "recover", "ep_1", "--since", "2026-11-22")

    assert told.strip() == "rec_1  done  there was nothing to send again"


def test_dead_letters_are_driven_again_without_waiting(relay: Relay, typing: Type) -> None:
    relay.answers["POST /v1/deliveries/redrive"] = recovery("running", 0)

    told = typing("deliveries", "redrive", "--type", "test.said", "--no-wait", "--json")

    assert relay.asked[0][2]["type"] == "test.said"
    assert '"state":"running"' in told


def test_recoveries_are_listed_shown_and_cancelled(relay: Relay, typing: Type) -> None:
    relay.answers["GET /v1/recoveries"] = Page[Recovery](items=[recovery()])
    relay.answers["GET /v1/recoveries/rec_1"] = recovery()
    relay.answers["DELETE /v1/recoveries/rec_1"] = recovery("cancelled", 1)

    assert "rec_1" in typing("recoveries", "ls")
    assert "3 of 3 sent again" in typing("recoveries", "watch", "rec_1")
    assert "rate_per_second" in typing("recoveries", "show", "rec_1")
    assert typing("recoveries", "cancel", "rec_1").strip() == "rec_1  cancelled  1 of 3 sent again"


def test_a_recovery_is_a_bar_that_grows() -> None:
    screen = Console(file=StringIO(), force_terminal=True, width=100)

    watch([recovery("running", 1), recovery()], "rec_1", screen, as_json=False)

    assert "3 of 3 sent again" in screen.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def test_a_recovery_is_shown_only_when_it_has_got_further(relay: Relay) -> None:
    relay.answers["GET /v1/recoveries/rec_1"] = recovery("running", 1)
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            relay.answers["GET /v1/recoveries/rec_1"] = recovery()

    with Client(relay.url, KEY) as client:
        shown = list(steps(client, recovery("running", 1), pause))

    assert [one.sent for one in shown] == [1, 3]
    assert len(waited) == 3


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["deliveries", "ls", "--since", "tomorrow"], "2h"),
        (["endpoints", "rotate-secret", "ep_1", "--overlap", "8d"], "7d at most"),
        (["deliveries", "ls", "--since", "2026-02-30"], "2h"),
        (["deliveries", "ls", "--since", "999999d"], "before the first year"),
        (["endpoints", "change", "ep_1", "--retry", "9999999s"], "too long: 1d at most"),
        (["endpoints", "change", "ep_1", "--timeout", "1m"], "too long: 30s at most"),
        (["endpoints", "change", "ep_1"], "say what to change"),
        (["endpoints", "change", "ep_1", "--remove", "secret"], "max-in-flight"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_the_words_of_the_options(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], typed: list[str], said: str
) -> None:
    monkeypatch.setattr("sys.argv", ["tocsin", "--key", KEY.text, *typed])

    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert ended.value.code == 2
    assert said in capfd.readouterr().err


def test_a_message_that_nobody_takes_is_told_apart(relay: Relay, typing: Type) -> None:
    relay.answers["POST /v1/messages"] = PublishedMessage(id="msg_1", type="a.b", deliveries=[], created_at=NOW)

    told = typing("messages", "publish", "a.b", "--idempotency-key", "o-1042")

    _, headers, body = relay.asked[0]
    assert {name.lower(): value for name, value in headers.items()}["idempotency-key"] == "o-1042"
    # What is left out is null, and null is said: a message has to say something.
    assert (body["type"], body["data"]) == ("a.b", None)
    assert "No endpoint takes it" in told


def test_deliveries_of_one_message_are_told_apart_by_their_endpoints(relay: Relay, typing: Type) -> None:
    both = [MessageDelivery(id=f"dlv_{n}", endpoint_id=f"ep_{n}") for n in (1, 2)]
    relay.answers["POST /v1/messages"] = PublishedMessage(id="msg_1", type="a.b", deliveries=both, created_at=NOW)
    one = Delivery.model_validate(delivery().model_dump(exclude={"body", "history", "expunged_at"}))
    relay.answers["GET /v1/deliveries"] = Page[Delivery](items=[one])

    assert "dlv_2  ep_2" in typing("messages", "publish", "a.b", "1")
    assert "dlv_1  ep_1" in typing("deliveries", "ls")


def test_an_endpoint_is_registered_and_changed_with_its_limits(relay: Relay, typing: Type) -> None:
    endpoint = Endpoint(id="ep_1", url="https://a.example/", state="active", created_at=NOW, updated_at=NOW)
    relay.answers["POST /v1/endpoints"] = CreatedEndpoint(**endpoint.model_dump(), secret="whsec_")
    relay.answers["PATCH /v1/endpoints/ep_1"] = endpoint

    typing(
        "endpoints", "add", "https://a.example/", "--rate", "20", "--retry", "5s", "--retry", "1m", "--timeout", "3s"
    )
    typing("endpoints", "change", "ep_1", "--max-in-flight", "4", "--header", "X-Team: us", "--remove", "rate")

    (_, _, added), (_, _, changed) = relay.asked
    assert added == {
        "url": "https://a.example/",
        "rate_per_second": 20.0,
        "retry_seconds": [5, 60],
        "timeout_seconds": 3.0,
    }
    assert changed == {"max_in_flight": 4, "headers": {"X-Team": "us"}, "rate_per_second": None}


def test_an_endpoint_of_mcp_events_is_registered_without_an_end(relay: Relay) -> None:
    endpoint = Endpoint(id="ep_1", url="https://a.example/", state="pending", created_at=NOW, updated_at=NOW)
    relay.answers["POST /v1/endpoints"] = CreatedEndpoint(**endpoint.model_dump(), secret="whsec_")
    subscription = McpSubscription(name="order.paid", ttl_seconds=None)

    with Client(relay.url, KEY) as client:
        client.endpoints.create("https://a.example/", secret=new_secret(), mcp=subscription)

    body = relay.asked[0][2]
    assert (body["profile"], body["mcp"]) == ("mcp", {"name": "order.paid", "ttl_seconds": None})
