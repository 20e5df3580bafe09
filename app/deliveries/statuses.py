"""How a subscription of MCP Events does, in the words that the draft has for it: the rule.

A category is all that is told of a host's answers, as whoever subscribes it may not be its owner.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from app.deliveries.breaker import CLOSED, Breaker
from tocsin.schemas.endpoints import DeliveryError, DeliveryStatus

__all__ = ["NOTHING", "Seen", "category", "status"]


class Seen(NamedTuple):
    """When an endpoint took something last, and how the latest that it did not take has failed."""

    delivered_at: datetime | None = None
    status: int | None = None
    error: str | None = None


NOTHING = Seen()


def status(state: str, reason: str | None, breaker: Breaker | None, seen: Seen, now: datetime) -> DeliveryStatus:
    """What is told of an endpoint in this state, whose lane has this breaker, if it has one."""
    breaker = breaker or CLOSED
    left_alone = breaker.open_until is not None and breaker.open_until > now
    # A wish to be left alone opens a breaker without counting as an opening.
    suspended = breaker.state != "closed" and breaker.opens > 0
    unverified = state == "pending" and reason is not None
    failing = breaker.failing_since is not None
    return DeliveryStatus(
        active=state == "active" and not suspended,
        last_delivery_at=seen.delivered_at,
        last_error="challenge_failed" if unverified else category(seen.status, seen.error) if failing else None,
        failed_since=breaker.failing_since,
        throttled=left_alone and not suspended,
        retry_after_ms=_milliseconds_to(breaker.open_until, now) if left_alone else None,
    )


def category(status: int | None, error: str | None) -> DeliveryError | None:
    """One of the draft's six for an answer that was no success, or for none at all; None when there was no attempt."""
    if status is not None:
        # What is neither, such as a redirect, is for whoever runs the host to mend.
        return "http_5xx" if status >= 500 else "http_4xx"
    if error is None:
        return None
    if error == "timeout" or error == "tls_error":
        return error
    return "connection_refused"


def _milliseconds_to(moment: datetime | None, now: datetime) -> int | None:
    return None if moment is None else max(0, (moment - now) // timedelta(milliseconds=1))
