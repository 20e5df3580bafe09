"""Dates, as cron's day fields name them: for each kind of month the days that match, so that a year is twelve steps."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import takewhile
from typing import Final

from cronsim.cronsim import CronSim

# 29 February falls on a given weekday every 28 years, or 40 when a year like 2100 lies between.
_horizon_years: Final = 50
_EPOCH_DATE: Final = date(1970, 1, 1)
_BLOCK: Final = 512
_LENGTHS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Dates:
    """The dates that lie in some months and match the two day fields."""

    __slots__ = ("_by_kind", "months")

    def __init__(self, months: frozenset[int], days: str, weekdays: str) -> None:
        self.months = months
        self._by_kind = _days_by_kind(days, weekdays)

    def __contains__(self, day: date) -> bool:
        return day.month in self.months and bool(self._days(day.year, day.month) >> day.day & 1)

    def starting(self, first: date) -> Iterator[date]:
        """Those from `first` on, in order, for the next fifty years."""
        year, month, earliest = first.year, first.month, first.day
        while year <= first.year + _horizon_years:
            if month in self.months:
                days = self._days(year, month) >> earliest << earliest
                while days:
                    lowest = days & -days
                    yield date(year, month, lowest.bit_length() - 1)
                    days ^= lowest
            year, month, earliest = (year, month + 1, 1) if month < 12 else (year + 1, 1, 1)

    def around(self, day: int) -> int:
        """Which of the date that is `day` days from the epoch and its neighbours are among these: three bits, the day
        before in the lowest."""
        block, index = divmod(day, _BLOCK)
        return _block(self, block) >> index & 7

    def any(self) -> bool:
        """Whether there is one in any year."""
        lengths = {length for month in self.months for length in _lengths(month)}
        return any(self._by_kind[_kind(weekday, length)] for length in lengths for weekday in range(7))

    def all(self) -> bool:
        """Whether these are all there are."""
        lengths = (kind // 7 + 28 for kind in range(len(self._by_kind)))
        return len(self.months) == 12 and all(
            days == (1 << length + 1) - 2 for days, length in zip(self._by_kind, lengths, strict=True)
        )

    def leap_day_only(self) -> bool:
        """Whether each is a 29 February."""
        common, leap = self._by_kind[:7], self._by_kind[7:14]
        return self.months == frozenset({2}) and not any(common) and all(days in (0, 1 << 29) for days in leap)

    def _days(self, year: int, month: int) -> int:
        """A number in which bit n stands for the n-th day of the month."""
        return self._by_kind[_kind_of(year, month)]


@lru_cache(maxsize=1024)
def _block(dates: Dates, block: int) -> int:
    """A bit for each date of some in a row, and for the one before them and the one after: set if it is among these."""
    first = _EPOCH_DATE + timedelta(days=block * _BLOCK - 1)
    numbers = ((day - first).days for day in dates.starting(first))
    return sum(1 << number for number in takewhile(lambda number: number < _BLOCK + 2, numbers))


@lru_cache(maxsize=2048)
def _days_by_kind(days: str, weekdays: str) -> tuple[int, ...]:
    cron = CronSim(f"0 0 {days} * {weekdays}", datetime(2000, 1, 1, tzinfo=UTC))
    return tuple(
        sum(1 << day for day in range(1, length + 1) if cron.match_day(first.replace(day=day)))
        for first, length in _month_of_each_kind()
    )


@lru_cache(maxsize=1)
def _month_of_each_kind() -> tuple[tuple[date, int], ...]:
    """A month of every length that begins on every weekday, in the order of their kinds."""
    # Twenty-eight years in a row hold every kind of year: leap or not, starting on each weekday.
    firsts = [date(year, month, 1) for year in range(2000, 2028) for month in range(1, 13)]
    found = {_kind_of(first.year, first.month): first for first in firsts}
    return tuple((found[kind], kind // 7 + 28) for kind in sorted(found))


@lru_cache(maxsize=1536)
def _kind_of(year: int, month: int) -> int:
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _kind(date(year, month, 1).weekday(), 29 if leap else _LENGTHS[month - 1])


def _kind(first_weekday: int, length: int) -> int:
    return (length - 28) * 7 + first_weekday


def _lengths(month: int) -> tuple[int, ...]:
    return (28, 29) if month == 2 else (_LENGTHS[month - 1],)
