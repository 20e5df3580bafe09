"""Cron in a time zone: which instants a cron text means, through every change of the clock."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final, Literal
from zoneinfo import ZoneInfo

from tocsin.recurrence.civil import DAY, Stretch, local_date, passes, plain_midnight, stretches, to_datetime, to_instant
from tocsin.recurrence.grammar import Fields
from tocsin.recurrence.occurrences import Occurrence, Shift

DstRule = Literal["debian", "skip_gap"]

_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 9900


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
        if after.year > _LAST_YEAR:
            return None
        after = max(after, datetime(_FIRST_YEAR, 1, 2, tzinfo=UTC))
        instant = self._next_instant(to_instant(after))
        return None if instant is None else to_datetime(instant)

    def _next_instant(self, after: int) -> int | None:
        today = local_date(self.zone, after)
        first = today if self._plain(today) and self._plain(today - DAY) else today - DAY
        for day in self.fields.dates.starting(first):
            found = self._first_on(day, after)
            if found is None:
                continue
            if self._plain(day):
                return found
            # A repeated stretch can cross midnight: the next date may hold an instant before this one.
            rival = self._first_on(day + DAY, after) if day + DAY in self.fields.dates else None
            return found if rival is None else min(found, rival)
        return None

    def _first_on(self, day: date, after: int) -> int | None:
        midnight = plain_midnight(self.zone, day)
        if midnight is None:
            return self._first_on_uneven(day, after)
        return self._first_in(Stretch(midnight, midnight, 0, 86_400), 0, after)

    def _first_on_uneven(self, day: date, after: int) -> int | None:
        """The same where the wall clock jumps; walks the stretches in order, so the first find is the earliest."""
        around = stretches(self.zone, day)
        shown = around[0].first  # up to where the wall clock has got so far
        for stretch in around:
            if stretch.start > after and self._moves_into(stretch, shown):
                return stretch.start
            # What the wall has shown before, it shows a second time now: only wildcard jobs run again.
            first = max(stretch.first, shown) if self.fields.fixed_time else stretch.first
            found = self._first_in(stretch, first, after)
            if found is not None:
                return found
            shown = max(shown, stretch.last)
        return None

    def _moves_into(self, stretch: Stretch, shown: int) -> bool:
        """Whether a slot lies in the gap before this stretch and is made up for at its beginning."""
        first = self.fields.times.first_from(shown)
        in_gap = first is not None and first < stretch.first
        return in_gap and self.fields.fixed_time and self.dst == "debian"

    def _first_in(self, stretch: Stretch, first: int, after: int) -> int | None:
        tod = self.fields.times.first_from(max(first, after - stretch.midnight + 1))
        return stretch.midnight + tod if tod is not None and tod < stretch.last else None

    def _plain(self, day: date) -> bool:
        return plain_midnight(self.zone, day) is not None

    def occurrence(self, at: datetime, previous: datetime) -> Occurrence:
        """One slot as a person should see it; `previous` is the slot, or the moment asked about, before it."""
        local = at.astimezone(self.zone)
        # A fixed offset, because a ZoneInfo time within a repeated hour compares unequal to its own instant.
        fixed = at.astimezone(timezone(local.utcoffset() or timedelta()))
        return Occurrence(at, fixed, self._shift(local, previous, at))

    def _shift(self, local: datetime, previous: datetime, at: datetime) -> Shift | None:
        tod = local.hour * 3600 + local.minute * 60 + local.second
        if not (local.date() in self.fields.dates and tod in self.fields.times):
            return Shift.MOVED
        slot = passes(self.zone, local.date(), tod)
        if slot.repeated:
            return Shift.SECOND_PASS if local.fold else Shift.FIRST_PASS
        if self._skipped_between(previous, at):
            return Shift.AFTER_SKIPPED
        return None

    def _skipped_between(self, previous: datetime, at: datetime) -> bool:
        if self.dst != "skip_gap" or not self.fields.fixed_time:
            return False
        moved = Cron(self.text, self.fields, self.zone, "debian").next_after(previous)
        return moved is not None and moved < at

    def explain(self) -> str:
        return f"{self.fields.explain()}, {self.zone.key} time"
