"""Cron in a time zone: which instants a cron text means, through every change of the clock."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Final, Literal
from zoneinfo import ZoneInfo

from tocsin.recurrence.civil import (
    DAY,
    EPOCH_DATE,
    Stretch,
    changes,
    even_offset,
    local_date,
    passes,
    plain_midnight,
    stretches,
    to_datetime,
    to_instant,
)
from tocsin.recurrence.grammar import Fields
from tocsin.recurrence.occurrences import Occurrence, Shift
from tocsin.recurrence.times import seconds_of_day, united
from tocsin.recurrence.zones import is_fixed

DstRule = Literal["debian", "skip_gap"]

_WHOLE_DAY: Final = (1 << 86_400) - 1


@dataclass(frozen=True)
class Cron:
    """Fires whenever the zone's wall clock matches the fields.

    A job is bound to wall-clock times when neither its minute nor its hour starts with "*". Such a job runs once, on
    the first pass, when its time comes twice; when its time is skipped it runs at the first instant after the gap
    (`debian`) or not at all (`skip_gap`). Every other job follows real time: nothing in a gap, both passes of a
    repeated hour.
    """

    text: str
    fields: Fields
    zone: ZoneInfo
    dst: DstRule = "debian"

    def next_after(self, after: datetime) -> datetime | None:
        """The first slot strictly later than `after`, in UTC; None when there is none within fifty years."""
        instant = self._next_instant(to_instant(after))
        return None if instant is None else to_datetime(instant)

    def _next_instant(self, after: int) -> int | None:
        today = local_date(self.zone, after)
        for day in self.fields.dates.starting(today if self.is_even(today) else today - DAY):
            found = self._first_on(day, after)
            if found is None:
                continue
            if self.is_even(day):
                return found
            # A repeated stretch can cross midnight: the next date may hold an instant before this one.
            rival = self._first_on(day + DAY, after) if day + DAY in self.fields.dates else None
            return found if rival is None else min(found, rival)
        return None

    def _first_on(self, day: date, after: int) -> int | None:
        """The first slot of a date; walks its stretches in order, so the first find is the earliest."""
        midnight = plain_midnight(self.zone, day)
        if midnight is not None:
            tod = self.fields.times.first_from(after - midnight + 1)
            return None if tod is None else midnight + tod
        for stretch, shown in self.walk(day):
            if stretch.start > after and self._moves_into(stretch, shown):
                return stretch.start
            # What the wall has shown before, it shows a second time now: only wildcard jobs run again.
            first = max(stretch.first, shown) if self.fields.fixed_time else stretch.first
            found = self._first_in(stretch, first, after)
            if found is not None:
                return found
        return None

    def _moves_into(self, stretch: Stretch, shown: int) -> bool:
        """Whether a slot lies in the gap before this stretch and is made up for at its beginning."""
        return self.dst == "debian" and self.fields.fixed_time and self._lost_before(stretch, shown)

    def _lost_before(self, stretch: Stretch, shown: int) -> bool:
        """Whether a slot lies in the gap before this stretch, up to which the wall clock had got as far as `shown`."""
        first = self.fields.times.first_from(shown)
        return first is not None and first < stretch.first

    def _first_in(self, stretch: Stretch, first: int, after: int) -> int | None:
        tod = self.fields.times.first_from(max(first, after - stretch.midnight + 1))
        return stretch.midnight + tod if tod is not None and tod < stretch.last else None

    def is_even(self, day: date) -> bool:
        """Whether the wall clock runs through a date, and those around it, without a jump."""
        return plain_midnight(self.zone, day) is not None

    @property
    def zoned(self) -> bool:
        return not is_fixed(self.zone)

    @property
    def phase(self) -> int:
        return 0

    def shows(self, moment: datetime) -> bool:
        """Whether the wall clock, as it stands at a moment, matches the fields."""
        local = moment.astimezone(self.zone)
        return local.date() in self.fields.dates and _tod(local) in self.fields.times

    def seconds_of(self, day: int) -> int:
        """The seconds of a UTC day that have a slot, a bit each."""
        start = day * 86_400
        return united(self._seconds_on(date, start) for date in self._dates_on(day)) & _WHOLE_DAY

    def layout(self, day: int) -> Hashable:
        """The matching dates of a UTC day and how they lie to it; of its own where the wall clock jumps."""
        offset = even_offset(self.zone, day)
        # Asked of each day of years in a row: so a number, and no set of dates.
        return (day,) if offset is None else offset * 8 + self.fields.dates.around(day)

    def _dates_on(self, day: int) -> list[date]:
        """The matching dates that may have an instant on a UTC day."""
        utc_date = EPOCH_DATE + timedelta(days=day)
        around = (utc_date - DAY, utc_date, utc_date + DAY)
        return [date for date in around if date in self.fields.dates]

    def _seconds_on(self, day: date, start: int) -> int:
        """The slots of a date as bits that count from `start`; what lies before it is left out."""
        midnight = plain_midnight(self.zone, day)
        if midnight is not None:
            return _moved(seconds_of_day(self.fields.times), midnight - start)
        found = 0
        for stretch, shown in self.walk(day):
            if stretch.start >= start and self._moves_into(stretch, shown):
                found |= 1 << stretch.start - start
            first = max(stretch.first, shown, 0) if self.fields.fixed_time else max(stretch.first, 0)
            seconds = _clipped(seconds_of_day(self.fields.times), first, stretch.last)
            found |= _moved(seconds, stretch.midnight - start)
        return found

    def walk(self, day: date) -> Iterator[tuple[Stretch, int]]:
        """The stretches of a date in order, each with how far the wall clock had got before."""
        around = stretches(self.zone, day)
        shown = around[0].first
        for stretch in around:
            yield stretch, shown
            shown = max(shown, stretch.last)

    def occurrence(self, at: datetime) -> Occurrence:
        """One slot as a person should see it."""
        local = at.astimezone(self.zone)
        # A fixed offset, because a ZoneInfo time within a repeated hour compares unequal to its own instant.
        fixed = at.astimezone(timezone(local.utcoffset() or timedelta()))
        return Occurrence(at, fixed, self._shift(local))

    def _shift(self, local: datetime) -> Shift | None:
        tod = _tod(local)
        if not (local.date() in self.fields.dates and tod in self.fields.times):
            return Shift.MOVED
        if passes(self.zone, local.date(), tod).repeated:
            return Shift.SECOND_PASS if local.fold else Shift.FIRST_PASS
        return None

    def skips(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Where, after `after` and up to `until`, a gap ends that took a slot which is not made up for."""
        if self.dst == "debian" or not self.fields.fixed_time:
            return
        for change in changes(self.zone, to_instant(after) - 1, to_instant(until)):
            here = local_date(self.zone, change)
            for day in (here - DAY, here, here + DAY):
                if day in self.fields.dates:
                    ends = (to_datetime(instant) for instant in self._gap_ends(day))
                    yield from (end for end in ends if after < end <= until)

    def _gap_ends(self, day: date) -> Iterator[int]:
        """The ends of the gaps of a date that took a slot."""
        return (stretch.start for stretch, shown in self.walk(day) if self._lost_before(stretch, shown))

    def explain(self) -> str:
        return f"{self.fields.explain()}, {self.zone.key} time"


def _tod(local: datetime) -> int:
    return local.hour * 3600 + local.minute * 60 + local.second


def _clipped(seconds: int, first: int, last: int) -> int:
    """Only the bits from `first` up to, but without, `last`."""
    if last < 86_400:
        seconds &= (1 << max(last, 0)) - 1
    return seconds >> first << first


def _moved(seconds: int, by: int) -> int:
    return seconds << by if by >= 0 else seconds >> -by
