"""Times of day, as sets of hours, minutes and seconds: every combination of the three is meant."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

HOURS: Final = tuple(range(24))
SIXTY: Final = tuple(range(60))


class TimesOfDay:
    """Hours x minutes x seconds, never spelt out: `* * * * * *` means 86,400, and schedules come by the thousand."""

    __slots__ = ("_first_in_hour", "_hour_from", "_minute_from", "_second_from", "hours", "minutes", "seconds")

    def __init__(self, hours: tuple[int, ...], minutes: tuple[int, ...], seconds: tuple[int, ...]) -> None:
        self.hours, self.minutes, self.seconds = hours, minutes, seconds
        self._hour_from, self._minute_from, self._second_from = _from(hours, 24), _from(minutes, 60), _from(seconds, 60)
        self._first_in_hour = minutes[0] * 60 + seconds[0]

    def first_from(self, tod: int) -> int | None:
        """The first of them at or after a time of day, in seconds since midnight; None when there is none that day."""
        if not 0 <= tod < 86_400:
            return self.first if tod < 0 else None
        minute_of_day, second = divmod(tod, 60)
        hour, minute = divmod(minute_of_day, 60)
        found_hour = self._hour_from[hour]
        if found_hour == hour:
            found_minute = self._minute_from[minute]
            if found_minute == minute:
                found_second = self._second_from[second]
                if found_second < 60:
                    return tod - second + found_second
                found_minute = self._minute_from[minute + 1]
            if found_minute < 60:
                return hour * 3600 + found_minute * 60 + self.seconds[0]
            found_hour = self._hour_from[hour + 1]
        return found_hour * 3600 + self._first_in_hour if found_hour < 24 else None

    @property
    def first(self) -> int:
        return self.hours[0] * 3600 + self._first_in_hour

    def __contains__(self, tod: int) -> bool:
        return self.first_from(tod) == tod

    def all(self) -> bool:
        """Whether these are every second of a day."""
        return (len(self.hours), len(self.minutes), len(self.seconds)) == (24, 60, 60)

    def in_whole_minutes(self) -> "TimesOfDay":
        """The same, with every second of each minute."""
        return times_of_day(self.hours, self.minutes, SIXTY)


@lru_cache(maxsize=4096)
def times_of_day(hours: tuple[int, ...], minutes: tuple[int, ...], seconds: tuple[int, ...]) -> TimesOfDay:
    """The times of day of sorted hours, minutes and seconds, none of them empty. Schedules that agree share them."""
    return TimesOfDay(hours, minutes, seconds)


@lru_cache(maxsize=64)
def seconds_of_day(times: TimesOfDay) -> int:
    """The same as one number with a bit for every second of a day. Eleven kilobytes, so only few are kept."""
    minute = sum(1 << number for number in times.seconds)
    hour = sum(minute << 60 * number for number in times.minutes)
    return sum(hour << 3600 * number for number in times.hours)


def united(sets: Iterable[int]) -> int:
    """The union of sets that are given as numbers with a bit a member."""
    union = 0
    for one in sets:
        union |= one
    return union


def _from(numbers: tuple[int, ...], end: int) -> bytes:
    """At each index the first of the numbers from there on; `end` where there is none."""
    table = bytearray([end] * (end + 1))
    following = end
    for index in range(end - 1, -1, -1):
        following = index if index in numbers else following
        table[index] = following
    return bytes(table)
