"""Dates as HTTP headers write them (RFC 9110, section 5.6.7): in one form today, and in two that are obsolete and that
everybody must still read.

| form          | example                          |
|---------------|----------------------------------|
| IMF-fixdate   | `Sun, 06 Nov 1994 08:49:37 GMT`  |
| of RFC 850    | `Sunday, 06-Nov-94 08:49:37 GMT` |
| of `asctime`  | `Sun Nov  6 08:49:37 1994`       |
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

__all__ = ["http_date"]

# What has only two digits of a year, and would be further ahead than this, is of the century before.
years_ahead_max = 50

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_day = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_whole_day = r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_month = rf"(?P<month>{'|'.join(_MONTHS)})"
_time = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_FORMS = (
    re.compile(rf"{_day}, (?P<day>[0-9]{{2}}) {_month} (?P<year>[0-9]{{4}}) {_time} GMT"),
    re.compile(rf"{_whole_day}, (?P<day>[0-9]{{2}})-{_month}-(?P<year>[0-9]{{2}}) {_time} GMT"),
    re.compile(rf"{_day} {_month} (?P<day>[0-9]{{2}}| [0-9]) {_time} (?P<year>[0-9]{{4}})"),
)


def http_date(value: str, now: datetime) -> datetime | None:
    """The moment that this says (UTC), read strictly in each of the three forms; None for anything else.

    `now` tells which century two digits of a year are of. The name of the day is not compared with the date.
    """
    read = next((read for form in _FORMS if (read := form.fullmatch(value))), None)
    if read is None:
        return None
    month = _MONTHS.index(read["month"]) + 1
    day, hour, minute, second = (int(read[part]) for part in ("day", "hour", "minute", "second"))
    is_leap_second = (hour, minute, second) == (23, 59, 60)
    rest = (month, day, hour, minute, second - is_leap_second)
    year = int(read["year"]) if len(read["year"]) == 4 else _whole_year(int(read["year"]), rest, now)
    try:
        return datetime(year, *rest, tzinfo=UTC) + timedelta(seconds=is_leap_second)
    except (ValueError, OverflowError):
        return None  # no such day, or no such time


def _whole_year(two_digits: int, rest: tuple[int, int, int, int, int], now: datetime) -> int:
    """The latest year of these last digits in which the rest is not too far ahead."""
    furthest = (now.year + years_ahead_max, now.month, now.day, now.hour, now.minute, now.second)
    year = furthest[0] - (furthest[0] - two_digits) % 100
    return year if (year, *rest) <= furthest else year - 100
