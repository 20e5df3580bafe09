"""The breaker of an endpoint: when to leave it alone, and how to find out that it is well again.

Transitions, by what has landed of its attempts since the last look. A row applies where none above it does:

| state             | landed        | becomes | open until                                     | failures  | opens |
|-------------------|---------------|---------|------------------------------------------------|-----------|-------|
| any               | success       | closed  | -                                              | 0         | 0     |
| closed            | failures, < 5 | closed  | -                                              | + so many | 0     |
| closed            | failures      | open    | now + the cool-down                            | + so many | + 1   |
| open, until later | failures      | open    | as it was: these flew before it opened         | + so many | as is |
| open, until now   | failures      | open    | now + the next cool-down                       | + so many | + 1   |
| half open         | failures      | open    | now + the next cool-down                       | + so many | + 1   |
| half open         | neither       | open    | now: the probe said nothing, so another may go | as is     | as is |
| closed, open      | neither       | as is   | as is                                          | as is     | as is |

The cool-down doubles with each opening in a row, up to a bound.

A throttle comes on top of what its row makes of the rest: it opens a breaker that would be closed, after a success
too, and keeps open for longer one that is open. It is a wish of somebody who is there: it counts neither as a failure
nor as an opening. An open one becomes half open when a probe is sent (`probing`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from app.deliveries.attempts import Delivered, Verdict

__all__ = ["CLOSED", "Breaker", "State", "Tally", "after", "is_hopeless", "look_at", "permits", "probing", "tallied"]

State = Literal["closed", "open", "half_open"]

failures_max = 5  # in a row, and it opens
cool_down = timedelta(seconds=30)
cool_down_max = timedelta(minutes=15)
jitter_share_max = 0.1

# What a receiver answers to that is well, and only does not want this one message, or so many.
_ALIVE = frozenset({410, 413, 429})


@dataclass(frozen=True, slots=True)
class Breaker:
    """`failures` and `opens` are counted in a row: since the last success, as `failing_since`.

    `open_until` is set while it is not closed. Open: no probe goes before. Half open: the probe is lost by then.
    """

    state: State = "closed"
    failures: int = 0
    failing_since: datetime | None = None
    opens: int = 0
    open_until: datetime | None = None


CLOSED = Breaker()


@dataclass(frozen=True, slots=True)
class Tally:
    """What has landed of one endpoint's attempts, in whatever order, and until when it asked to be left alone."""

    successes: int = 0
    failures: int = 0
    throttled_until: datetime | None = None


def tallied(attempts: Iterable[tuple[int | None, Verdict]]) -> Tally:
    """The tally of these attempts of one endpoint: their status, if any, and what was judged of each.

    A 429, a 413 and a 410 are no failures: they come from one who is there. A 502, 503 or 504 is one, and throttles.
    """
    successes = failures = 0
    throttled_until: datetime | None = None
    for status, verdict in attempts:
        if isinstance(verdict, Delivered):
            successes += 1
            continue
        failures += status not in _ALIVE
        if verdict.throttle is not None:
            throttled_until = max(verdict.throttle, throttled_until or verdict.throttle)
    return Tally(successes, failures, throttled_until)


def after(breaker: Breaker, tally: Tally, now: datetime, jitter: float) -> Breaker:
    """The breaker after these attempts have landed. `jitter` is from [0, 1]; it delays, by a tenth at most."""
    if tally.successes:
        breaker = CLOSED
    elif tally.failures:
        breaker = _failed(breaker, tally.failures, now, jitter)
    elif breaker.state == "half_open":
        breaker = replace(breaker, state="open", open_until=now)
    return _throttled(breaker, tally.throttled_until, now)


def permits(breaker: Breaker, now: datetime) -> int | None:
    """How many may be sent: None, as many as suit; 1, a probe; or 0."""
    if breaker.open_until is None:
        return None
    return 0 if now < breaker.open_until else 1


def probing(breaker: Breaker, until: datetime) -> Breaker:
    """The breaker once its probe has been sent, which is lost when nothing has come of it by then: the lease's end."""
    assert breaker.state != "closed", "what is closed needs no probe"
    return replace(breaker, state="half_open", open_until=until)


def look_at(breaker: Breaker) -> datetime | None:
    """When it is to be looked at again, because a probe may go then; None while it is closed."""
    return breaker.open_until


def is_hopeless(breaker: Breaker, now: datetime, days: float) -> bool:
    """Whether it has done nothing but fail for that many days; not when it was hardly tried."""
    if breaker.failing_since is None or breaker.failures < failures_max:
        return False
    return now - breaker.failing_since >= timedelta(days=days)


def _failed(breaker: Breaker, failures: int, now: datetime, jitter: float) -> Breaker:
    failed = replace(breaker, failures=breaker.failures + failures, failing_since=breaker.failing_since or now)
    if not _opens(failed, now):
        return failed
    return replace(
        failed,
        state="open",
        opens=breaker.opens + 1,
        open_until=now + _cooling(breaker.opens) * (1 + jitter * jitter_share_max),
    )


def _opens(failed: Breaker, now: datetime) -> bool:
    match failed.state:
        case "closed":
            return failed.failures >= failures_max
        case "half_open":
            return True
        case "open":
            return failed.open_until is None or failed.open_until <= now


def _cooling(opens: int) -> timedelta:
    # Beyond ten doublings it is the longest anyway, and further on it would be longer than a timedelta can be.
    return min(cool_down * 2 ** min(opens, 10), cool_down_max)


def _throttled(breaker: Breaker, until: datetime | None, now: datetime) -> Breaker:
    if until is None or until <= now:
        return breaker
    return replace(breaker, state="open", open_until=max(until, breaker.open_until or until))
