"""Where the civil calendar meets the time line: the instants that a wall-clock time stands for in a zone.

Instants are whole seconds since 1970-01-01T00:00:00Z, wall times whole seconds since midnight of a date.
"""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

DAY: Final = timedelta(days=1)
EPOCH_DATE: Final = date(1970, 1, 1)
_EPOCH_ORDINAL: Final = EPOCH_DATE.toordinal()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# No zone was ever further than sixteen hours from UTC, and none changes its offset twice within six days.
_reach: Final = 16 * 3_600
_sample: Final = 3 * 86_400
_margin: Final = 5 * 86_400
_BLOCK: Final = 512


class Passes(NamedTuple):
    """The instants of one wall time. Equal: ordinary. `first` before `second`: it happens twice. After: never."""

    first: int
    second: int

    @property
    def repeated(self) -> bool:
        return self.first < self.second


def passes(zone: ZoneInfo, day: date, tod: int) -> Passes:
    """Both readings (PEP 495) of a wall time."""
    wall = datetime.combine(day, time()) + timedelta(seconds=tod)
    start = _midnight(day) + tod
    return Passes(start - _offset(zone, wall, fold=0), start - _offset(zone, wall, fold=1))


class Stretch(NamedTuple):
    """A stretch of even clock: the wall shows `first` up to `last` of a day, beginning at the instant `start`.

    `midnight` is where midnight would lie by this stretch's offset: the wall shows `tod` at the instant midnight + tod.
    `first` may be negative and `last` beyond a day, as stretches seldom end at midnight.
    """

    start: int
    midnight: int
    first: int
    last: int


@lru_cache(maxsize=1024)
def stretches(zone: ZoneInfo, day: date) -> tuple[Stretch, ...]:
    """The stretches around a day, in order; between two of them the wall clock jumps."""
    midnight = _midnight(day)
    first, last = midnight - _reach, midnight + 86_400 + _reach
    starts, offsets = _year(zone, day.year)
    found: list[Stretch] = []
    for (start, end), offset in zip(pairwise(starts), offsets, strict=True):
        start, end, own_midnight = max(start, first), min(end, last), midnight - offset
        if start < end:
            found.append(Stretch(start, own_midnight, start - own_midnight, end - own_midnight))
    return tuple(found)


@lru_cache(maxsize=8192)
def plain_midnight(zone: ZoneInfo, day: date) -> int | None:
    """The instant of midnight when the zone's clock runs evenly through the day and those around it; else None."""
    starts, offsets = _year(zone, day.year)
    index = bisect_right(starts, _midnight(day)) - 1
    midnight = _midnight(day) - offsets[index]
    # Two days, as a clock that is put back by one repeats a whole date.
    even = starts[index] + 2 * 86_400 <= midnight and midnight + 3 * 86_400 <= starts[index + 1]
    return midnight if even else None


@lru_cache(maxsize=4096)
def _year(zone: ZoneInfo, year: int) -> tuple[list[int], list[int]]:
    """Where a zone's offset changes in a year and the days around it, and what it is from there up to the next."""
    first, last = _midnight(date(year, 1, 1)) - _margin, _midnight(date(year + 1, 1, 1)) + _margin
    starts, offsets = [first], [_offset_at(zone, first)]
    for before, after in pairwise((*range(first, last, _sample), last)):
        offset = _offset_at(zone, after)
        if offset != offsets[-1]:
            starts.append(_change(zone, before, after))
            offsets.append(offset)
    return [*starts, last], offsets


def even_offset(zone: ZoneInfo, day: int) -> int | None:
    """What a zone's clock is ahead of UTC on a day, counted from the epoch, and on those around it; None where the
    clock jumps."""
    block, index = divmod(day, _BLOCK)
    return _even_offsets(zone, block)[index]


@lru_cache(maxsize=512)
def _even_offsets(zone: ZoneInfo, block: int) -> list[int | None]:
    """The same for some days in a row, as whoever asks for one asks for the next."""
    found: list[int | None] = []
    for midnight in range(block * _BLOCK * 86_400, (block + 1) * _BLOCK * 86_400, 86_400):
        starts, offsets = _year(zone, to_datetime(midnight).year)
        index = bisect_right(starts, midnight) - 1
        # The dates that touch a UTC day reach nearly two days beyond it, and `plain_midnight` asks for two more.
        even = starts[index] + 4 * 86_400 <= midnight and midnight + 5 * 86_400 <= starts[index + 1]
        found.append(offsets[index] if even else None)
    return found


def changes(zone: ZoneInfo, after: int, until: int) -> Iterator[int]:
    """The instants after `after` and up to `until` at which the zone's clock jumps."""
    for year in range(to_datetime(after).year, to_datetime(until).year + 1):
        starts, _ = _year(zone, year)
        # A year's table reaches into those around it, which tell of their own.
        yield from (start for start in starts[1:-1] if after < start <= until and to_datetime(start).year == year)


def _change(zone: ZoneInfo, before: int, after: int) -> int:
    """The first instant of the offset that holds at `after` and not yet at `before`."""
    new_offset = _offset_at(zone, after)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset_at(zone, middle) == new_offset:
            after = middle
        else:
            before = middle
    return after


def local_date(zone: ZoneInfo, instant: int) -> date:
    return to_datetime(instant).astimezone(zone).date()


def to_datetime(instant: int) -> datetime:
    return _EPOCH + timedelta(seconds=instant)


def to_instant(moment: datetime) -> int:
    """The whole second that `moment` lies in."""
    return (moment.astimezone(UTC) - _EPOCH) // timedelta(seconds=1)


def _midnight(day: date) -> int:
    return (day.toordinal() - _EPOCH_ORDINAL) * 86_400


def _offset(zone: ZoneInfo, wall: datetime, *, fold: int) -> int:
    return _seconds(wall.replace(tzinfo=zone, fold=fold).utcoffset())


def _offset_at(zone: ZoneInfo, instant: int) -> int:
    return _seconds(to_datetime(instant).astimezone(zone).utcoffset())


def _seconds(offset: timedelta | None) -> int:
    assert offset is not None, "a ZoneInfo always knows its offset"
    return offset.days * 86_400 + offset.seconds
