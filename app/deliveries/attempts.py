"""What to do next with a delivery: the rule, given how its latest attempt went.

The ladder and the meaning of each status are those of the Standard Webhooks specification. Only 2xx is success; a
redirect is a failure and is never followed; 410 says that the endpoint is gone for good; all else is tried again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

__all__ = ["LADDER", "VERIFICATION_LADDER", "Delivered", "GiveUp", "Retry", "Verdict", "judge", "retry_after"]

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

_SECONDS = re.compile(r"[0-9]{1,12}")
_HTTP_DATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again at that moment."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Try no more. `gone`: the receiver says that this endpoint is no more, so nothing else should be sent there."""

    reason: str
    gone: bool = False


Verdict = Delivered | Retry | GiveUp

_delivered = Delivered()


def judge(
    status: int | None,
    attempts: int,
    now: datetime,
    *,
    wait: timedelta | None = None,
    jitter: float = 0.0,
    ladder: tuple[timedelta, ...] = LADDER,
) -> Verdict:
    """What to do next, after `attempts` attempts of which the latest ended in `status` (None: in no complete answer).

    `wait` is what the receiver asked for by Retry-After: it delays the next attempt, and never hastens it. `jitter` is
    from [0, 1] and spreads attempts that failed together; it delays too, by a tenth at most.
    """
    if status is not None and 200 <= status < 300:
        return _delivered
    if status == 410:
        return GiveUp("the endpoint answered 410 Gone", gone=True)
    if attempts >= len(ladder):
        return GiveUp(f"no success in {attempts} attempts")
    step = ladder[attempts] * (1 + jitter * jitter_share_max)
    return Retry(now + max(step, wait or step))


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """How long a Retry-After header asks us to wait: seconds or an HTTP date, a day at most; None for anything else."""
    if value is None:
        return None
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return min(timedelta(seconds=min(int(value), 10**6)), retry_after_max)
    if not _HTTP_DATE.fullmatch(value):
        return None
    try:
        asked = parsedate_to_datetime(value).astimezone(UTC) - now
    except (ValueError, OverflowError):
        return None
    return min(asked, retry_after_max) if asked > timedelta(0) else None
