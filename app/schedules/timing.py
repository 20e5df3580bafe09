"""When a schedule's slots come, and when each is due: its recurrence within its bounds, and its share of jitter."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from tocsin.recurrence import Recurrence, jitter

__all__ = ["Timing", "just_before", "timing"]

_instant = timedelta(microseconds=1)
_beginning = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Timing:
    """The slots of a schedule: those of its recurrence, none before `starts_at` and none after `ends_at`."""

    recurrence: Recurrence
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    jitter: timedelta = timedelta()

    def next_after(self, after: datetime) -> datetime | None:
        """The first slot strictly later than `after`, in UTC; None when there is none any more."""
        if self.starts_at is not None and after < self.starts_at:
            after = just_before(self.starts_at)
        slot = self.recurrence.next_after(after)
        return None if slot is None or (self.ends_at is not None and slot > self.ends_at) else slot

    @property
    def bounded(self) -> Recurrence:
        """The same slots as a recurrence, which can be explained and previewed."""
        return self.recurrence.within(self.starts_at, self.ends_at)

    def slots_after(self, after: datetime) -> Iterator[datetime]:
        """Every slot strictly later than `after`, in order. Often without end."""
        while (slot := self.next_after(after)) is not None:
            yield slot
            after = slot

    def fire_at(self, schedule_id: str, slot: datetime) -> datetime:
        """When a slot is due: never before it, and before the slot that follows."""
        if not self.jitter:
            return slot
        return slot + jitter(schedule_id, slot, self.jitter, self.recurrence.next_after(slot))


def just_before(moment: datetime) -> datetime:
    """From where a slot at this moment is strictly later. The calendar begins with the year 1, long before any slot."""
    return moment - _instant if moment > _beginning else moment


@lru_cache(maxsize=10_000)
def timing(spec_text: str, starts_at: datetime | None, ends_at: datetime | None, jitter_seconds: int) -> Timing:
    """The timing of a stored schedule. Raises InvalidRecurrence for a spec that reads no more."""
    return Timing(Recurrence.parse(json.loads(spec_text)), starts_at, ends_at, timedelta(seconds=jitter_seconds))
