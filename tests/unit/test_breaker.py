"""The rule of when an endpoint is left alone, row by row."""

from datetime import UTC, datetime, timedelta

import pytest

from app.deliveries.attempts import Delivered, GiveUp, Retry, judge
from app.deliveries.breaker import CLOSED, Breaker, Tally, after, is_hopeless, look_at, permits, probing, tallied

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
EARLIER = NOW - MINUTE


def closed(failures: int = 0) -> Breaker:
    return Breaker("closed", failures, EARLIER if failures else None)


def opened(until: datetime, *, failures: int = 5, opens: int = 1) -> Breaker:
    return Breaker("open", failures, EARLIER, opens, until)


def half_open(*, failures: int = 5, opens: int = 1) -> Breaker:
    return Breaker("half_open", failures, EARLIER, opens, NOW + 30 * SECOND)


@pytest.mark.parametrize(
    ("breaker", "tally", "expected"),
    [
        # a success closes, whatever was, and whatever failed beside it
        (closed(), Tally(successes=3), CLOSED),
        (closed(4), Tally(successes=1, failures=9), CLOSED),
        (opened(NOW + MINUTE), Tally(successes=1), CLOSED),
        (half_open(opens=7), Tally(successes=1), CLOSED),
        # failures in a row open it, the fifth of them
        (closed(), Tally(failures=1), Breaker("closed", 1, NOW)),
        (closed(1), Tally(failures=3), Breaker("closed", 4, EARLIER)),
        (closed(4), Tally(failures=1), Breaker("open", 5, EARLIER, 1, NOW + 30 * SECOND)),
        (closed(), Tally(failures=200), Breaker("open", 200, NOW, 1, NOW + 30 * SECOND)),
        # what flew before it opened opens it no further
        (opened(NOW + SECOND), Tally(failures=6), opened(NOW + SECOND, failures=11)),
        # a probe that fails opens it for twice as long, up to a quarter of an hour
        (half_open(), Tally(failures=1), opened(NOW + MINUTE, failures=6, opens=2)),
        (half_open(opens=4), Tally(failures=1), opened(NOW + 8 * MINUTE, failures=6, opens=5)),
        (half_open(opens=5), Tally(failures=1), opened(NOW + 15 * MINUTE, failures=6, opens=6)),
        (half_open(opens=9_999), Tally(failures=1), opened(NOW + 15 * MINUTE, failures=6, opens=10_000)),
        (opened(NOW), Tally(failures=1), opened(NOW + MINUTE, failures=6, opens=2)),
        # a probe that was neither (too large, say) leaves the way free for another
        (half_open(), Tally(), opened(NOW)),
        # and nothing is nothing
        (closed(3), Tally(), closed(3)),
        (opened(NOW + SECOND), Tally(), opened(NOW + SECOND)),
    ],
)
def test_what_lands_moves_the_breaker(breaker: Breaker, tally: Tally, expected: Breaker) -> None:
    assert after(breaker, tally, NOW, 0.0) == expected


@pytest.mark.parametrize(
    ("breaker", "tally", "expected"),
    [
        # it opens one that was well, and counts as nothing
        (closed(), Tally(throttled_until=NOW + MINUTE), Breaker("open", 0, None, 0, NOW + MINUTE)),
        (closed(2), Tally(throttled_until=NOW + MINUTE), Breaker("open", 2, EARLIER, 0, NOW + MINUTE)),
        # also beside successes: some were taken, and no more are wanted now
        (half_open(), Tally(successes=9, throttled_until=NOW + MINUTE), Breaker("open", 0, None, 0, NOW + MINUTE)),
        # the later of the two reasons holds
        (closed(4), Tally(0, 1, NOW + 5 * SECOND), Breaker("open", 5, EARLIER, 1, NOW + 30 * SECOND)),
        (closed(4), Tally(0, 1, NOW + 5 * MINUTE), Breaker("open", 5, EARLIER, 1, NOW + 5 * MINUTE)),
        (opened(NOW + SECOND), Tally(throttled_until=NOW + MINUTE), opened(NOW + MINUTE)),
        (opened(NOW + MINUTE), Tally(throttled_until=NOW + SECOND), opened(NOW + MINUTE)),
        (half_open(), Tally(throttled_until=NOW + 5 * SECOND), opened(NOW + 5 * SECOND)),
        # what was asked for until a moment that has passed is over
        (closed(), Tally(throttled_until=NOW), closed()),
    ],
)
def test_a_throttle_opens_it_without_counting_as_despair(breaker: Breaker, tally: Tally, expected: Breaker) -> None:
    assert after(breaker, tally, NOW, 0.0) == expected


def test_jitter_only_delays_and_by_a_tenth_at_most() -> None:
    assert after(closed(4), Tally(failures=1), NOW, 1.0).open_until == NOW + 33 * SECOND


@pytest.mark.parametrize(
    ("breaker", "permitted", "looked_at"),
    [
        (closed(4), None, None),
        (opened(NOW + SECOND), 0, NOW + SECOND),
        (opened(NOW), 1, NOW),
        (opened(NOW - MINUTE), 1, NOW - MINUTE),
        (probing(opened(NOW), NOW + MINUTE), 0, NOW + MINUTE),  # one probe at a time
        (probing(opened(NOW - MINUTE), NOW), 1, NOW),  # and the next when it was lost
    ],
)
def test_an_open_breaker_lets_one_probe_pass_at_a_time(
    breaker: Breaker, permitted: int | None, looked_at: datetime | None
) -> None:
    assert permits(breaker, NOW) == permitted
    assert look_at(breaker) == looked_at


@pytest.mark.parametrize(
    ("breaker", "hopeless"),
    [
        (CLOSED, False),
        (Breaker("open", 50, NOW - timedelta(days=5), 9, NOW), True),
        (Breaker("half_open", 50, NOW - timedelta(days=9), 9, NOW), True),
        (Breaker("open", 50, NOW - timedelta(days=5) + SECOND, 9, NOW), False),
        (Breaker("closed", 2, NOW - timedelta(days=9)), False),  # rung twice in nine days
    ],
)
def test_only_days_of_failure_are_hopeless(breaker: Breaker, *, hopeless: bool) -> None:
    assert is_hopeless(breaker, NOW, days=5) == hopeless


def test_attempts_are_tallied_by_what_they_say_of_the_endpoint() -> None:
    statuses = [200, 204, 500, None, 404, 413, 429, 503]

    tally = tallied((status, judge(status, 1, NOW, wait=MINUTE if status == 503 else None)) for status in statuses)

    # one that is there fails at nothing when it takes no more, or not this one
    assert tally == Tally(successes=2, failures=4, throttled_until=NOW + MINUTE)


def test_the_410_of_an_mcp_host_is_no_failure_of_the_endpoint() -> None:
    assert tallied([(410, judge(410, 1, NOW, profile="mcp"))]) == Tally()


def test_the_last_failure_of_a_delivery_counts_like_any_other() -> None:
    verdicts = [(None, GiveUp("no success in 10 attempts")), (500, Retry(NOW)), (200, Delivered())]

    assert tallied(verdicts) == Tally(successes=1, failures=2)
