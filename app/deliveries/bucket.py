"""How often an endpoint may be rung whose owner bounds the rate: a token bucket.

It holds what may be rung in one second, and at least one: after a pause so many go at once, and then as many as the
rate says. Over any w seconds it grants at most rate * w, and once what it holds.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil, floor

__all__ = ["Bucket", "ready_at", "taken"]

burst_seconds = 1.0

# Those who take look at the clock before they wait for their turn, so a look may be this much older than the one
# before it. One that is older still is from a clock that was set back, which may take hours to be where it was.
disorder_max = timedelta(seconds=10)

# What the sums of fractions may be short of a whole token.
_whisker = 1e-9


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was in it at that moment. It fills up from there."""

    tokens: float
    at: datetime


def taken(bucket: Bucket | None, rate_per_second: float, wanted: int, now: datetime) -> tuple[int, Bucket]:
    """How many of those that are wanted may go, and the bucket without them. No bucket yet: a full one."""
    assert rate_per_second > 0
    assert wanted >= 0
    bucket = _filled(bucket or Bucket(_burst(rate_per_second), now), rate_per_second, now)
    granted = min(wanted, max(0, floor(bucket.tokens + _whisker)))
    return granted, replace(bucket, tokens=bucket.tokens - granted)


def ready_at(bucket: Bucket, rate_per_second: float) -> datetime:
    """When the next one may go."""
    missing = max(0.0, 1.0 - bucket.tokens)
    # Rounded up: who comes at this very moment must not come in vain.
    return bucket.at + timedelta(microseconds=ceil(missing / rate_per_second * 1e6))


def _burst(rate_per_second: float) -> float:
    return max(1.0, rate_per_second * burst_seconds)


def _filled(bucket: Bucket, rate_per_second: float, now: datetime) -> Bucket:
    """The bucket as it is now. Nothing comes in while the clock goes back."""
    elapsed = now - bucket.at
    # The owner may have lowered the rate since.
    burst = _burst(rate_per_second)
    if elapsed < timedelta(0):
        return Bucket(min(bucket.tokens, burst), now if elapsed < -disorder_max else bucket.at)
    return Bucket(min(bucket.tokens + rate_per_second * elapsed.total_seconds(), burst), now)
