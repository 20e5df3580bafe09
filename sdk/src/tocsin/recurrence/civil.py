"""Where the civil calendar meets the time line: the instants that a wall-clock time stands for in a zone.

Instants are whole seconds since 1970-01-01T00:00:00Z, wall times whole seconds since midnight of a date.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

DAY: Final = timedelta(days=1)
EPOCH_DATE: Final = date(1970, 1, 1)
_EPOCH_ORDINAL: Final = EPOCH_DATE.toordinal()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOON: Final = time(12)
# No zone was ever further than sixteen hours from UTC, and none jumps twice within an hour.
_reach: Final = 16 * 3_600
_sample: Final = 3_600


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


@lru_cache(maxsize=4096)
def stretches(zone: ZoneInfo, day: date) -> tuple[Stretch, ...]:
    """The stretches around a day, in order; between two of them the wall clock jumps."""
    midnight = _midnight(day)
    bounds = [midnight - _reach, *_jumps(zone, midnight), midnight + 86_400 + _reach]
    found: list[Stretch] = []
    for start, end in pairwise(bounds):
        own_midnight = midnight - _offset_at(zone, start)
        found.append(Stretch(start, own_midnight, start - own_midnight, end - own_midnight))
    return tuple(found)


def _jumps(zone: ZoneInfo, midnight: int) -> list[int]:
    """The first instants of new offsets near a day."""
    samples = range(midnight - _reach, midnight + 86_400 + _reach + _sample, _sample)
    offsets = [_offset_at(zone, instant) for instant in samples]
    return [
        _jump(zone, before, after)
        for (before, after), (old, new) in zip(pairwise(samples), pairwise(offsets), strict=True)
        if old != new
    ]


def _jump(zone: ZoneInfo, before: int, after: int) -> int:
    new_offset = _offset_at(zone, after)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset_at(zone, middle) == new_offset:
            after = middle
        else:
            before = middle
    return after


@lru_cache(maxsize=8192)
def plain_midnight(zone: ZoneInfo, day: date) -> int | None:
    """The instant of midnight when the zone's clock runs evenly through the whole day; None when it may not."""
    midnight, noon = datetime.combine(day, time()), datetime.combine(day, _NOON)
    next_midnight = midnight + DAY
    offset = _offset(zone, midnight, fold=0)
    others = (
        _offset(zone, midnight, fold=1),
        _offset(zone, noon, fold=0),
        _offset(zone, next_midnight, fold=0),
        # A gap or an overlap at midnight shows in the second reading only.
        _offset(zone, next_midnight, fold=1),
    )
    if any(other != offset for other in others):
        return None
    return _midnight(day) - offset


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
