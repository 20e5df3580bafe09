"""What is told of a subscription of MCP Events: six categories, and nothing else of what a host answered."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from app.deliveries.breaker import Breaker
from app.deliveries.profiles import ENDED, farewell, timeout_of
from app.deliveries.statuses import Seen, category, status
from app.kit.outbound.answers import Category
from tocsin.schemas.endpoints import DeliveryError

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(minutes=5), NOW + timedelta(seconds=7)
FAILED = Seen(None, 503, None)


@pytest.mark.parametrize(
    ("code", "error", "expected"),
    [
        (400, None, "http_4xx"),
        (404, None, "http_4xx"),
        (302, None, "http_4xx"),  # none of the six is for a redirect
        (500, None, "http_5xx"),
        (599, None, "http_5xx"),
        (None, "timeout", "timeout"),
        (None, "tls_error", "tls_error"),
        (None, "connection_failed", "connection_refused"),
        (None, "no_public_address", "connection_refused"),
        (None, None, None),
    ],
)
def test_an_answer_is_told_by_its_category(code: int | None, error: str | None, expected: str | None) -> None:
    assert category(code, error) == expected


def test_every_fault_has_one_of_the_drafts_categories() -> None:
    assert {category(None, fault) for fault in get_args(Category)} < set(get_args(DeliveryError))


@pytest.mark.parametrize(
    ("state", "reason", "breaker", "seen", "told"),
    [
        ("active", None, None, Seen(EARLIER), {"active": True, "last_delivery_at": EARLIER}),
        # a few failures do not suspend it
        (
            "active",
            None,
            Breaker("closed", 2, EARLIER),
            FAILED,
            {"active": True, "last_error": "http_5xx", "failed_since": EARLIER},
        ),
        # five do
        (
            "active",
            None,
            Breaker("open", 5, EARLIER, 1, LATER),
            FAILED,
            {"active": False, "last_error": "http_5xx", "failed_since": EARLIER, "retry_after_ms": 7000},
        ),
        # the probe is on its way
        (
            "active",
            None,
            Breaker("half_open", 5, EARLIER, 1, EARLIER),
            FAILED,
            {"active": False, "last_error": "http_5xx", "failed_since": EARLIER},
        ),
        # it asked to be left alone
        (
            "active",
            None,
            Breaker("open", 0, None, 0, LATER),
            Seen(EARLIER, 429, None),
            {"active": True, "last_delivery_at": EARLIER, "throttled": True, "retry_after_ms": 7000},
        ),
        # what failed long ago, and was followed by successes, is no error of now
        ("active", None, Breaker(), Seen(EARLIER, 500, None), {"active": True, "last_delivery_at": EARLIER}),
        ("pending", None, None, Seen(), {"active": False}),
        ("pending", "the challenge was not answered: timeout", None, Seen(), {"last_error": "challenge_failed"}),
        ("paused", None, None, Seen(), {"active": False}),
        ("disabled", "every attempt has failed", None, Seen(), {"active": False}),
    ],
)
def test_a_subscription_is_told_as_it_stands(
    state: str, reason: str | None, breaker: Breaker | None, seen: Seen, told: dict[str, Any]
) -> None:
    nothing = {
        "active": False,
        "last_delivery_at": None,
        "last_error": None,
        "failed_since": None,
        "throttled": False,
        "retry_after_ms": None,
    }
    assert dict(status(state, reason, breaker, seen, NOW)) == nothing | told


def test_each_end_is_told_under_an_id_of_its_own_that_stays() -> None:
    told = {farewell("ep_1", ending, reason).webhook_id for ending in ("a", "b") for reason in ENDED}
    assert len(told) == 2 * len(ENDED)
    assert farewell("ep_1", "a", ENDED[0]) == farewell("ep_1", "a", ENDED[0])


@pytest.mark.parametrize(
    ("profile", "own", "most", "seconds"),
    [
        ("standard", None, 15, 15),
        ("mcp", None, 15, 5),
        ("mcp", None, 3, 3),
        ("mcp", 12, 15, 12),
        ("mcp", 30, 15, 15),
        ("standard", 2, 15, 2),
        (None, None, 15, 15),
    ],
)
def test_a_host_has_five_seconds_unless_its_endpoint_says_otherwise(
    profile: str | None, own: float | None, most: float, seconds: float
) -> None:
    assert timeout_of(profile, own, most) == seconds
