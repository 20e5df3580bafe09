"""What to do next with a delivery: the rule, given how its latest attempt went.

The ladder and the meaning of each status are those of the Standard Webhooks specification:

| answer             | means                                                                                           |
|--------------------|-------------------------------------------------------------------------------------------------|
| 2xx                | delivered, and nothing else is                                                                  |
| 410                | given up, and the endpoint is gone for good                                                     |
| 413                | given up: the same body would be too large again                                                |
| 429, 502, 503, 504 | tried again, and nothing goes to this endpoint for a moment, or for as long as it asks          |
| any other, 3xx too | tried again; a redirect is never followed                                                       |
| none that is whole | tried again                                                                                     |

A fault has no status, whatever it had when it broke: a 2xx that is reset in the middle of its body counts as a failure.
Its receiver may have taken it, and sees the same `webhook-id` again.

The profile `mcp` (MCP Events) differs: fewer attempts within a quarter of an hour, and a 410 ends that delivery only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from app.kit.http_dates import http_date

__all__ = [
    "LADDER",
    "MCP_LADDER",
    "VERIFICATION_LADDER",
    "Delivered",
    "GiveUp",
    "Profile",
    "Retry",
    "Verdict",
    "judge",
    "ladder_of",
    "retry_after",
]

Profile = Literal["standard", "mcp"]

# How long after the attempt before it each attempt follows. A delivery whose last one fails has failed.
LADDER = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)

# A host that is told of an event an hour late has moved on.
MCP_LADDER = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
)

# A challenge is answered by somebody who waits for it, or not at all.
VERIFICATION_LADDER = (
    timedelta(0),
    timedelta(seconds=2),
    timedelta(seconds=10),
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
)

jitter_share_max = 0.1
retry_after_max = timedelta(hours=24)
throttle_step = timedelta(
    seconds=5
)  # for how long nothing goes to an endpoint that asks for less without saying how long

_GONE: Final = 410
_TOO_LARGE: Final = 413
_THROTTLING: Final = frozenset({429, 502, 503, 504})

_SECONDS = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again at that moment. `throttle`: until when nothing at all should go to this endpoint."""

    at: datetime
    throttle: datetime | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Try no more. `gone`: the receiver says that this endpoint is no more, so nothing else should be sent there.
    `throttle`: as in Retry, where the last answer asked for it."""

    reason: str
    gone: bool = False
    throttle: datetime | None = None


Verdict = Delivered | Retry | GiveUp

_delivered = Delivered()


def judge(
    status: int | None,
    attempts: int,
    now: datetime,
    *,
    wait: timedelta | None = None,
    jitter: float = 0.0,
    ladder: Sequence[timedelta] | None = None,
    profile: Profile = "standard",
) -> Verdict:
    """What to do next, after `attempts` attempts of which the latest ended in `status` (None: in no complete answer).

    `wait` is what the receiver asked for by Retry-After: it delays the next attempt, and never hastens it. `jitter` is
    from [0, 1] and spreads attempts that failed together; it delays too, by a tenth at most. `ladder` is the
    endpoint's own; None: its profile's.
    """
    if status is not None and 200 <= status < 300:
        return _delivered
    if status == _GONE:
        return GiveUp("the endpoint answered 410 Gone", gone=profile == "standard")
    if status == _TOO_LARGE:
        return GiveUp("the endpoint answered 413 Content Too Large")
    ladder = ladder or _ladders[profile]
    throttle = now + max(throttle_step, wait or throttle_step) if status in _THROTTLING else None
    if attempts >= len(ladder):
        return GiveUp(f"no success in {attempts} {'attempt' if attempts == 1 else 'attempts'}", throttle=throttle)
    step = ladder[attempts] * (1 + jitter * jitter_share_max)
    return Retry(now + max(step, wait or step), throttle)


def ladder_of(retry_seconds: Sequence[float] | None, profile: Profile = "standard") -> tuple[timedelta, ...]:
    """The ladder of an endpoint whose owner chose the waits before its second, third and further attempts, or did not:
    None means its profile's. No waits at all mean a single attempt."""
    if retry_seconds is None:
        return _ladders[profile]
    return (timedelta(0), *(timedelta(seconds=seconds) for seconds in retry_seconds))


_ladders: dict[Profile, tuple[timedelta, ...]] = {"standard": LADDER, "mcp": MCP_LADDER}


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """How long a Retry-After header asks us to wait: seconds or an HTTP date in any of its three forms, a day at
    most; None for anything else."""
    if value is None:
        return None
    value = value.strip(" \t")
    if _SECONDS.fullmatch(value):
        return min(timedelta(seconds=min(int(value), 10**6)), retry_after_max)
    until = http_date(value, now)
    return min(until - now, retry_after_max) if until is not None and until > now else None
