"""What a new time zone database changes of a schedule: the rule."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.schedules.changes import first_free
from app.schedules.timing import Timing, timing
from tocsin.recurrence import InvalidRecurrence

__all__ = ["Recomputed", "Zoned", "recompute"]

_instant = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Zoned:
    """A schedule whose next slot was computed with an older time zone database, and nothing planned of what is to
    come."""

    id: str
    agent_id: str
    spec: str
    starts_at: datetime | None
    ends_at: datetime | None
    jitter_seconds: int
    next_fire: datetime | None
    last_fire: datetime | None
    runs: int


@dataclass(frozen=True, slots=True)
class Recomputed:
    """How far a schedule has got by the time zone database that we have."""

    id: str
    next_fire: datetime | None
    last_fire: datetime | None
    runs: int
    tzdata: str | None


def recompute(schedule: Zoned, now: datetime, tzdata: str, ahead: AbstractSet[datetime] = frozenset()) -> Recomputed:
    """The next slot by our time zone database: to come, unless slots have passed that are not in the journal yet.

    Those in `ahead` are in the journal already, as they were skipped in advance.
    """
    next_fire = schedule.next_fire
    try:
        when = timing(schedule.spec, schedule.starts_at, schedule.ends_at, schedule.jitter_seconds)
    except InvalidRecurrence:
        # Its zone is no more. The planner says so, at its next slot.
        return Recomputed(schedule.id, next_fire, schedule.last_fire, schedule.runs, tzdata)
    if next_fire is not None:
        next_fire = _next(when, next_fire, schedule.last_fire, now, ahead)
    release = tzdata if when.recurrence.zoned else None
    return Recomputed(schedule.id, next_fire, schedule.last_fire, schedule.runs, release)


def _next(
    when: Timing, next_fire: datetime, last_fire: datetime | None, now: datetime, ahead: AbstractSet[datetime]
) -> datetime | None:
    # Slots that have passed count by the old rules up to the first that is missing: nothing vanishes silently.
    after = min(now, next_fire - _instant)
    return first_free(when, after if last_fire is None else max(after, last_fire), ahead)
