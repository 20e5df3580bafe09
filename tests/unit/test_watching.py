"""What is counted and said of attempts."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from prometheus_client import REGISTRY

from app.deliveries.attempts import Delivered, GiveUp, Retry, Verdict
from app.deliveries.standing import Standing
from app.deliveries.watching import Attempted, Failures, attempted, round_ended, stands
from app.kit import telemetry
from app.kit.outbound import Category, Timings
from tests.logged import Lines, written

__all__ = ["written"]

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def attempt(verdict: Verdict, **members: Any) -> Attempted:
    values: dict[str, Any] = {
        "delivery_id": "dlv_1",
        "endpoint_id": "ep_1",
        "message_id": "msg_1",
        "agent_id": "agt_1",
        "number": 1,
        "due_at": NOW - SECOND,
        "started_at": NOW,
        "duration_ms": 40,
        "timings": Timings(wait_ms=30, read_ms=1),
        "status": 200,
        "error": None,
        "verdict": verdict,
    }
    return Attempted(**(values | members))


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Counted:
    """By how much a metric rises."""

    def __init__(self, name: str, **labels: str) -> None:
        self._read = lambda: value(name, **labels)
        self._before = self._read()

    def __call__(self) -> float:
        return self._read() - self._before


@pytest.mark.parametrize(
    ("one", "outcome", "cause"),
    [
        (attempt(Delivered(), status=204), "delivered", "2xx"),
        (attempt(Retry(NOW), status=503), "retried", "5xx"),
        (attempt(Retry(NOW), status=302), "retried", "3xx"),
        (attempt(Retry(NOW), status=None, error="timeout"), "retried", "timeout"),
        (attempt(GiveUp("no success in 10 attempts"), status=None, error="tls_error"), "failed", "tls_error"),
        (attempt(GiveUp("the endpoint answered 410 Gone", gone=True), status=410), "failed", "4xx"),
    ],
)
def test_attempts_are_counted_by_outcome_and_cause(one: Attempted, outcome: str, cause: str) -> None:
    counted = Counted("tocsin_attempts_total", outcome=outcome, cause=cause)

    attempted([one, one], NOW)

    assert counted() == 2


@pytest.mark.parametrize("cause", [*get_args(Category), "4xx", "5xx"])
def test_deliveries_given_up_are_counted_from_the_start(cause: str) -> None:
    assert REGISTRY.get_sample_value("tocsin_attempts_total", {"outcome": "failed", "cause": cause}) is not None


def test_the_lag_is_from_when_it_was_due_until_it_began() -> None:
    total, count = Counted("tocsin_attempt_lag_seconds_sum"), Counted("tocsin_attempt_lag_seconds_count")

    early = attempt(Delivered(), due_at=NOW + SECOND)  # by a clock that is behind
    held = attempt(Delivered(), due_at=None)
    attempted([attempt(Delivered(), due_at=NOW - 3 * SECOND), early, held], NOW)

    assert total() == 3
    assert count() == 2


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (attempt(Delivered()), {"status": 200, "wait_ms": 30, "read_ms": 1, "outcome": "delivered"}),
        (
            attempt(Retry(NOW + 5 * SECOND), status=None, error="timeout", timings=Timings(lookup_ms=2)),
            {"error": "timeout", "lookup_ms": 2, "outcome": "retried", "next_attempt_at": "2026-11-22T09:00:05Z"},
        ),
        (
            attempt(GiveUp("no success in 10 attempts"), status=500, timings=Timings(), number=10),
            {"number": 10, "status": 500, "outcome": "failed", "reason": "no success in 10 attempts"},
        ),
        (
            attempt(
                Delivered(), timings=Timings(), traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            ),
            {"status": 200, "outcome": "delivered", "trace": "0af7651916cd43dd8448eb211c80319c"},
        ),
    ],
)
def test_each_attempt_gets_one_wide_line(written: Lines, one: Attempted, said: dict[str, Any]) -> None:
    telemetry.configure("json", "info")

    attempted([one], NOW)

    named = {"delivery": "dlv_1", "endpoint": "ep_1", "message": "msg_1", "agent": "agt_1", "number": 1}
    about = {"event": "attempt", "level": "info", "logger": "app.deliveries.watching"}
    [line] = map(json.loads, written())
    assert line == {**named, **about, "timestamp": "2026-11-22T09:00:00.000000Z", "duration_ms": 40, **said}


@pytest.mark.parametrize(("wished", "lines"), [("all", 3), ("failures", 2), ("none", 0)])
def test_the_operator_chooses_which_attempts_get_a_line(
    written: Lines, wished: telemetry.AttemptLog, lines: int
) -> None:
    telemetry.configure("text", "info", wished)

    attempted([attempt(Delivered()), attempt(Retry(NOW), status=500), attempt(GiveUp("gone"), status=410)], NOW)

    assert len(written()) == lines


def test_a_round_without_attempts_says_nothing() -> None:
    counted = Counted("tocsin_round_attempts_count")

    attempted([], NOW)

    assert counted() == 0


def test_a_round_says_how_long_it_took_and_what_flies() -> None:
    counted = Counted("tocsin_round_seconds_count")

    round_ended(0.01, flying=3, waiting=4)

    assert counted() == 1
    assert (value("tocsin_deliveries_in_flight"), value("tocsin_deliveries_waiting")) == (3, 4)


def test_the_endpoints_that_fail_most_are_named_and_no_others() -> None:
    failures = Failures()
    for number in range(50):
        failures.count([f"ep_{number}"] * (number + 1), NOW)

    worst = failures.worst(NOW)

    assert [count for _, count in worst] == list(range(50, 30, -1))


def test_failures_of_some_minutes_ago_are_forgotten() -> None:
    failures = Failures()
    failures.count(["ep_old"], NOW)
    failures.count(["ep_new"], NOW + 200 * SECOND)

    assert dict(failures.worst(NOW + 299 * SECOND)) == {"ep_old": 1, "ep_new": 1}
    assert dict(failures.worst(NOW + 300 * SECOND)) == {"ep_new": 1}


def test_however_many_endpoints_fail_few_are_remembered() -> None:
    failures = Failures()
    failures.count(["ep_worst"] * 3, NOW)

    failures.count((f"ep_{number}" for number in range(20_000)), NOW)

    assert failures.worst(NOW)[0] == ("ep_worst", 3)
    assert sum(count for _, count in failures.worst(NOW)) == 22


def test_how_things_stand_is_shown_whole() -> None:
    stands(Standing(NOW - 7 * SECOND, 12, 3, 4, {"open": 2}, {"active": 40, "disabled": 1}), NOW)

    assert value("tocsin_deliveries_oldest_due_seconds") == 7
    assert value("tocsin_deliveries_due") == 12
    assert value("tocsin_deliveries_held", hold="lane") == 3
    assert value("tocsin_deliveries_held", hold="order") == 4
    assert value("tocsin_breakers", state="open") == 2
    assert value("tocsin_breakers", state="half_open") == 0
    assert value("tocsin_endpoints", state="active") == 40
    assert value("tocsin_looked_timestamp_seconds") == NOW.timestamp()


def test_what_was_shown_before_and_is_no_more_is_zero() -> None:
    stands(Standing(NOW, 1, 1, 1, {"open": 1, "half_open": 1}, {"paused": 3}), NOW)

    stands(Standing(None, 0, 0, 0, {}, {}), NOW)

    assert value("tocsin_deliveries_oldest_due_seconds") == 0
    assert value("tocsin_breakers", state="open") == 0
    assert value("tocsin_endpoints", state="paused") == 0
