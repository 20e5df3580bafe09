"""How a provider fares, and which of several is asked first. Values in, values out.

A provider that failed is left alone for a while, which doubles with every look in which it fails again. Among those
that are not, the order is the operator's; one that lags behind the others comes after those that keep up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from app.kit import limits

Cause: TypeAlias = Literal["timeout", "connection", "http", "garbage", "limited", "exhausted", "refused", "wrong"]
State: TypeAlias = Literal["unused", "up", "behind", "backing_off"]

# The first wait after a failure, and the longest; in seconds.
_WAITS: dict[str, tuple[float, float]] = {
    "limited": (5, 300),
    "exhausted": (600, 3600),
    # Who contradicts itself or others is asked last for longer than who stumbles.
    "wrong": (15, 600),
}
_STUMBLED = (2, 60)


@dataclass(frozen=True, slots=True)
class Health:
    """What is remembered of a provider. Times are of the process's monotonic clock."""

    failures: int = 0  # looks in a row in which it failed
    until: float = 0.0  # left alone until then
    error: str | None = None  # of the latest failure, until it serves a look again
    seconds: float | None = None  # a call takes, on a moving average
    head: int | None = None
    behind_seconds: float = 0.0  # the newest head that any provider has, by the blocks' own times
    served: bool = False


def failed(health: Health, cause: str, error: str, now: float, again_seconds: float | None = None) -> Health:
    """After a look in which it failed; `again_seconds` is what the provider itself asked for."""
    first, longest = _WAITS.get(cause, _STUMBLED)
    wait = min(first * 2.0 ** min(health.failures, 20), longest)
    if again_seconds is not None:
        wait = min(max(wait, again_seconds), limits.provider_again_seconds_max)
    return replace(health, failures=health.failures + 1, until=max(health.until, now + wait), error=error)


def served(health: Health) -> Health:
    """After a look in which it answered whatever it was asked."""
    return replace(health, failures=0, until=0.0, error=None, served=True)


def timed(health: Health, seconds: float) -> Health:
    """After a call that took so long."""
    average = seconds if health.seconds is None else 0.8 * health.seconds + 0.2 * seconds
    return replace(health, seconds=average)


def is_left_alone(health: Health, now: float) -> bool:
    """Whether others are asked first, for it failed not long ago."""
    return now < health.until


def is_behind(health: Health) -> bool:
    """Whether its head lags behind that of others."""
    return health.behind_seconds > limits.provider_behind_seconds_max


def state_of(health: Health, now: float) -> State:
    """One word for how it fares."""
    if is_left_alone(health, now):
        return "backing_off"
    if not health.served and health.head is None:
        return "unused"
    return "behind" if is_behind(health) else "up"


def in_order(healths: Sequence[Health], now: float) -> list[int]:
    """Whom to ask first, by place. Those left alone are not in it, unless there are no others: then, who is next."""
    able = [place for place, health in enumerate(healths) if not is_left_alone(health, now)]
    if not able:
        return sorted(range(len(healths)), key=lambda place: healths[place].until)
    return sorted(able, key=lambda place: is_behind(healths[place]))
