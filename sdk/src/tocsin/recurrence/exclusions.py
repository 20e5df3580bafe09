"""What an `exclude` takes away, looked up for one moment, or for a whole day at once."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from tocsin.recurrence.civil import to_datetime, to_instant
from tocsin.recurrence.cron import Cron
from tocsin.recurrence.rules import LAST, TICK, Rule, first_after, has_slot
from tocsin.recurrence.times import united

_SECOND: Final = 1_000_000
_slots_tried: Final = 8  # one by one, before whole days
covered_days_max: Final = 1_100
"""Days on end that have slots, all of them excluded, after which no further slot is looked for: three years or more."""


class Cover(Protocol):
    """One spec of an `exclude`."""

    @property
    def zoned(self) -> bool: ...

    def covers(self, moment: datetime) -> bool: ...

    def layout(self, day: int) -> Hashable:
        """Days of the same layout are covered alike."""
        ...

    def seconds_of(self, day: int, phase: int) -> int:
        """The seconds of a UTC day in which a moment `phase` microseconds into the second is covered."""
        ...

    def explain(self) -> str: ...


@dataclass(frozen=True, eq=False)
class WallClock:
    """Covers the minutes, or seconds, at which a zone's wall clock matches; both passes of those that come twice."""

    cron: Cron

    @property
    def zoned(self) -> bool:
        return self.cron.zoned

    def covers(self, moment: datetime) -> bool:
        return self.cron.shows(moment)

    def layout(self, day: int) -> Hashable:
        return self.cron.layout(day)

    def seconds_of(self, day: int, phase: int) -> int:
        return self.cron.seconds_of(day)

    def explain(self) -> str:
        return self.cron.explain()


@dataclass(frozen=True, eq=False)
class Instants:
    """Covers the very instants of a rule."""

    rule: Rule

    @property
    def zoned(self) -> bool:
        return self.rule.zoned

    def covers(self, moment: datetime) -> bool:
        return has_slot(self.rule, moment)

    def layout(self, day: int) -> Hashable:
        return self.rule.layout(day)

    def seconds_of(self, day: int, phase: int) -> int:
        return self.rule.seconds_of(day) if self.rule.phase == phase else 0

    def explain(self) -> str:
        return self.rule.explain()


@dataclass(frozen=True, eq=False)
class Exclusion:
    """Everything that an `exclude` covers."""

    parts: tuple[Cover, ...]

    def covers(self, moment: datetime) -> bool:
        return any(part.covers(moment) for part in self.parts)

    def next_after(self, rules: Sequence[Rule], after: datetime) -> datetime | None:
        """The first slot of any rule that is strictly later than `after` and not covered."""
        for _ in range(_slots_tried):
            slot = first_after(rules, after)
            if slot is None or not self.covers(slot):
                return slot
            after = slot
        return self._first_free(rules, after)

    def _first_free(self, rules: Sequence[Rule], start: datetime) -> datetime | None:
        """The first slot from `start` on that is not covered.

        A million slots may be covered in a row, so this looks at a day at a time, and at days of one layout once.
        """
        known: dict[Hashable, int | None] = {}
        slot: datetime | None = start
        for _ in range(covered_days_max):
            if slot is None or slot > LAST:
                return None
            day = to_instant(slot) // 86_400
            since = (slot - to_datetime(day * 86_400)) // TICK
            layout = (since, *(rule.layout(day) for rule in rules), *(part.layout(day) for part in self.parts))
            if layout not in known:
                known[layout] = self._first_on(rules, day, since)
            found = known[layout]
            if found is not None:
                return to_datetime(day * 86_400) + timedelta(microseconds=found)
            slot = first_after(rules, to_datetime((day + 1) * 86_400) - TICK)
        return None

    def _first_on(self, rules: Sequence[Rule], day: int, since: int) -> int | None:
        """The first slot of a UTC day that is not covered, from a time on; both in microseconds of that day."""
        found: list[int] = []
        for phase in {rule.phase for rule in rules}:
            first = -(-(since - phase) // _SECOND)
            slots = united(rule.seconds_of(day) for rule in rules if rule.phase == phase)
            free = (slots & ~united(part.seconds_of(day, phase) for part in self.parts)) >> first
            if free:
                found.append((first + (free & -free).bit_length() - 1) * _SECOND + phase)
        return min(found, default=None)
