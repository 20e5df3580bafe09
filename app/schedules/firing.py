"""Handing a fire over: the rule, the fires that one worker holds, and what it reckons the time to be."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.kit import limits

__all__ = ["GiveUp", "Held", "Holding", "Reckoning", "Ring", "Skip", "Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Ring:
    """Tell the agent."""


@dataclass(frozen=True, slots=True)
class Skip:
    """Let the slot pass, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nobody could hand it over."""

    reason: str


Verdict = Ring | Skip | GiveUp

_ring = Ring()


def judge(
    *, planned_version: int, attempts: int, version: int | None, state: str | None, endpoint_id: str | None
) -> Verdict:
    """What to do with a fire whose time has come, given its schedule as it is now (None: there is none any more)."""
    if version is None:
        return Skip("deleted")
    if state == "paused":
        return Skip("paused")
    if version != planned_version:
        return Skip("changed")
    if endpoint_id is None:
        return Skip("endpoint_deleted")
    if attempts > limits.fire_takeovers_max:
        return GiveUp(f"{limits.fire_takeovers_max} workers in a row stopped while they held it")
    return _ring


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """A planned fire that this worker holds, with the token of its hold."""

    fire_at: datetime
    id: str
    attempts: int = field(compare=False)


class Holding:
    """The fires that this worker holds, the next first. Lost with the process: their leases end, others take over."""

    def __init__(self) -> None:
        self._heap: list[Held] = []

    def __len__(self) -> int:
        return len(self._heap)

    def take(self, fires: Iterable[Held]) -> None:
        """Hold these, too."""
        for fire in fires:
            heapq.heappush(self._heap, fire)

    def due(self, now: datetime, limit: int) -> list[Held]:
        """Let go of those whose time has come: never early, the most overdue first, at most `limit`."""
        due: list[Held] = []
        while self._heap and self._heap[0].fire_at <= now and len(due) < limit:
            due.append(heapq.heappop(self._heap))
        return due

    @property
    def next_at(self) -> datetime | None:
        """When the next one is due."""
        return self._heap[0].fire_at if self._heap else None


class Reckoning:
    """The database's clock, reckoned between two looks at it by a clock that never steps.

    The look was answered a little after it was taken, so this runs behind the database and never ahead.
    """

    def __init__(self) -> None:
        self._seen: tuple[datetime, float] | None = None

    def see(self, now: datetime, monotonic: float) -> None:
        """The database said `now`, just before this reading of the monotonic clock."""
        self._seen = (now, monotonic)

    def now(self, monotonic: float) -> datetime | None:
        """What the database's clock shows at least; None before the first look."""
        if self._seen is None:
            return None
        seen, at = self._seen
        return seen + timedelta(seconds=monotonic - at)
