"""What an `exclude` takes away, looked up for one moment, or for a whole day at once."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from tocsin.recurrence.civil import to_datetime, to_instant
from tocsin.recurrence.cron import Cron
from tocsin.recurrence.rules import LAST, TICK, Rule, first_after, has_slot
from tocsin.recurrence.times import united

_SECOND: Final = 1_000_000
_DAY: Final = 86_400 * _SECOND
_LAST_DAY: Final = to_instant(LAST) // 86_400
_slots_tried: Final = 16  # one by one, before whole days; shared by the specs, as each of them is asked of each slot
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

    @property
    def phase(self) -> int | None:
        """Where within a second the moments lie that it covers, in microseconds; None: anywhere."""
        ...

    def seconds_of(self, day: int) -> int:
        """The seconds of a UTC day in which it covers a moment, a bit each."""
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

    @property
    def phase(self) -> None:
        return None

    def seconds_of(self, day: int) -> int:
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

    @property
    def phase(self) -> int:
        return self.rule.phase

    def seconds_of(self, day: int) -> int:
        return self.rule.seconds_of(day)

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
        for _ in range(max(1, _slots_tried // (len(rules) + len(self.parts)))):
            slot = first_after(rules, after)
            if slot is None or not self.covers(slot):
                return slot
            after = slot
        return self._first_free(rules, after)

    def _first_free(self, rules: Sequence[Rule], start: datetime) -> datetime | None:
        """The first slot from `start` on that is not covered.

        A million slots may be covered in a row, so this looks at a day at a time, and at days of one layout once.
        """
        days = _Days(rules, self.parts)
        day, since = divmod((start - to_datetime(0)) // TICK, _DAY)
        for _ in range(covered_days_max):
            match days.first_on(day, since):
                case "covered":
                    day, since = day + 1, 0
                case "empty":
                    slot = first_after(rules, to_datetime((day + 1) * 86_400) - TICK)
                    if slot is None:
                        return None
                    day, since = to_instant(slot) // 86_400, 0
                case free:
                    return to_datetime(day * 86_400) + timedelta(microseconds=free)
            if day > _LAST_DAY:
                return None
        return None


_Found = int | Literal["covered", "empty"]
"""What there is on a day: a free slot, none that is free, or none at all."""


class _Days:
    """Days with the slots of some rules, less what is covered; each kind of day is worked out once."""

    def __init__(self, rules: Sequence[Rule], parts: Sequence[Cover]) -> None:
        self._rules = rules
        self._parts = parts
        self._phases = {rule.phase for rule in rules}
        self._found: dict[Hashable, _Found] = {}
        self._seconds: dict[tuple[int, int], int] = {}

    def first_on(self, day: int, since: int) -> _Found:
        """The first slot of a UTC day that is not covered, from a time on; both in microseconds of that day."""
        layout = (since, *[rule.layout(day) for rule in self._rules], *[part.layout(day) for part in self._parts])
        if layout not in self._found:
            self._found[layout] = self._work_out(day, since)
        return self._found[layout]

    def _work_out(self, day: int, since: int) -> _Found:
        slots = [(rule.phase, self._seconds_of(rule, day)) for rule in self._rules]
        covered = [(part.phase, self._seconds_of(part, day)) for part in self._parts]
        everywhere = united(seconds for phase, seconds in covered if phase is None)
        free: list[int] = []
        for own in self._phases:
            taken = united(seconds for phase, seconds in covered if phase == own) | everywhere
            first = -(-(since - own) // _SECOND)
            left = (united(seconds for phase, seconds in slots if phase == own) & ~taken) >> first
            if left:
                free.append((first + (left & -left).bit_length() - 1) * _SECOND + own)
        if free:
            return min(free)
        return "covered" if any(seconds for _, seconds in slots) else "empty"

    def _seconds_of(self, one: Rule | Cover, day: int) -> int:
        layout = one.layout(day)
        if not isinstance(layout, int):
            return one.seconds_of(day)
        # A number is the layout of many days. Others are of few days each, and would fill the memory for nothing.
        key = (id(one), layout)
        if key not in self._seconds:
            self._seconds[key] = one.seconds_of(day)
        return self._seconds[key]
