"""A recurrence: from a spec to its instants."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from tocsin.recurrence.exclusions import Exclusion
from tocsin.recurrence.occurrences import Occurrence, Shift
from tocsin.recurrence.pitfalls import SpecWarning, pitfalls
from tocsin.recurrence.rules import FIRST, LAST, TICK, Rule, first_after, has_slot
from tocsin.recurrence.specs import Spec, read

_year: Final = timedelta(days=366)
_far: Final = 12 * _year


@dataclass(frozen=True)
class Recurrence:
    """When something happens, as a pure function of the spec."""

    rules: tuple[Rule, ...]
    exclusion: Exclusion | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    @classmethod
    def parse(cls, spec: Spec) -> "Recurrence":
        """Read a spec, or a list of specs whose slots are united.

        Raises an InvalidRecurrence that points at the field and says what to write instead.
        """
        found = read(spec)
        return cls(found.rules, found.exclusion)

    def within(self, starts_at: datetime | None, ends_at: datetime | None) -> "Recurrence":
        """Only the slots from `starts_at` up to and including `ends_at`; None is no bound. Bounds add to one another.

        >>> daily = Recurrence.parse({"cron": "@daily"})
        >>> in_may = daily.within(datetime(2027, 5, 1, tzinfo=UTC), datetime(2027, 5, 31, tzinfo=UTC))
        >>> len(list(in_may.slots_after(datetime(2026, 1, 1, tzinfo=UTC))))
        31
        """
        starts = [_in_utc(moment) for moment in (self.starts_at, starts_at) if moment is not None]
        ends = [_in_utc(moment) for moment in (self.ends_at, ends_at) if moment is not None]
        return replace(self, starts_at=max(starts, default=None), ends_at=min(ends, default=None))

    def next_after(self, after: datetime) -> datetime | None:
        """The first slot strictly later than `after` as an instant, in UTC; None when there is none any more."""
        # In UTC from here: comparing and adding in local time is wrong across a change of the clock.
        begin = self._begin(_in_utc(after))
        slot = self._first_after(begin) if begin < self._end else None
        return slot if slot is not None and slot <= self._end else None

    def slots_after(self, after: datetime) -> Iterator[datetime]:
        """Every slot strictly later than `after`, in order. Often without end."""
        while (slot := self.next_after(after)) is not None:
            yield slot
            after = slot

    def preview(self, after: datetime, n: int) -> list[Occurrence]:
        """The next `n` slots with their local time and what a change of the clock does to them.

        Of a spec with an `exclude` no more than those of twelve years, as each day between two of them may cost a look.
        """
        occurrences: list[Occurrence] = []
        previous = begin = self._begin(_in_utc(after))
        for slot in islice(self.slots_after(after), n):
            if self.exclusion is not None and occurrences and slot - begin > _far:
                break
            occurrences.append(self._occurrence(slot, previous))
            previous = slot
        return occurrences

    def warnings(self, after: datetime) -> list[SpecWarning]:
        """What its author should know about the year after a moment, and may not have meant.

        >>> leap = Recurrence.parse({"cron": "30 9 29 2 *"})
        >>> [warning.sentence for warning in leap.warnings(datetime(2026, 1, 1, tzinfo=UTC))]
        ['"30 9 29 2 *" fires on 29 February only.']
        """
        return list(pitfalls(self.rules, min(self._begin(_in_utc(after)), LAST), self._counts))

    def explain(self) -> str:
        """The spec in plain English."""
        told = "; and ".join(_run_on(rule.explain() for rule in self.rules))
        if self.exclusion is not None:
            told += "".join(f"; except {_lower(part.explain())}" for part in self.exclusion.parts)
        for word, moment in (("from", self.starts_at), ("until", self.ends_at)):
            told += f"; {word} {moment:%Y-%m-%d %H:%M:%S} UTC" if moment is not None else ""
        return told

    @property
    def zoned(self) -> bool:
        """Whether another release of the time zone database could change its slots.

        >>> Recurrence.parse({"every": "PT90S"}).zoned
        False
        """
        covers = () if self.exclusion is None else self.exclusion.parts
        return any(part.zoned for part in (*self.rules, *covers))

    def _counts(self, moment: datetime) -> bool:
        """Whether a slot at a moment would lie within the bounds and not be excluded."""
        in_time = self._begin(FIRST) < moment <= self._end
        return in_time and (self.exclusion is None or not self.exclusion.covers(moment))

    def _begin(self, after: datetime) -> datetime:
        """From when on to look, so that nothing before the bounds is found."""
        return max(after, (FIRST if self.starts_at is None else max(self.starts_at, FIRST)) - TICK)

    @property
    def _end(self) -> datetime:
        return LAST if self.ends_at is None or self.ends_at > LAST else self.ends_at

    def _first_after(self, after: datetime) -> datetime | None:
        if self.exclusion is not None:
            return self.exclusion.next_after(self.rules, after)
        if len(self.rules) == 1:
            return self.rules[0].next_after(after)
        return first_after(self.rules, after)

    def _occurrence(self, slot: datetime, previous: datetime) -> Occurrence:
        """A slot on the clock of the first rule that has it."""
        rule = next(rule for rule in self.rules if has_slot(rule, slot))
        occurrence = rule.occurrence(slot)
        if occurrence.shift is None and self._skips(previous, slot):
            return replace(occurrence, shift=Shift.AFTER_SKIPPED)
        return occurrence

    def _skips(self, after: datetime, until: datetime) -> bool:
        # A gap of longer ago is of no interest, and to look through centuries of them takes its time.
        after = max(after, until - _year)
        skipped = (moment for rule in self.rules for moment in rule.skips(after, until))
        return any(self._counts(moment) for moment in skipped)


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone: without one it is not an instant")
    return moment.astimezone(UTC)


def _run_on(sentences: Iterator[str]) -> list[str]:
    first, *others = sentences
    return [first, *map(_lower, others)]


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
