"""The fires that one worker holds until their time, and what it reckons the time to be."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

__all__ = ["Held", "Holding", "Reckoning"]


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """A planned fire that this worker holds, with the token of its hold.

    Guarded: whether it rings depends on more than itself, so its schedule is locked to judge it.
    """

    fire_at: datetime
    id: str
    attempts: int = field(compare=False)
    schedule_id: str = field(default="", compare=False)
    is_guarded: bool = field(default=False, compare=False)


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

    def age_seconds(self, monotonic: float) -> float | None:
        """How long ago the last look was: the clock may have been set since."""
        return None if self._seen is None else monotonic - self._seen[1]
