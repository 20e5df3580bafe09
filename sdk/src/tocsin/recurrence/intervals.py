"""Fixed intervals, counted from an anchor so that they never drift."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Final

from tocsin.recurrence.civil import to_instant
from tocsin.recurrence.errors import BadInterval
from tocsin.recurrence.occurrences import Occurrence

interval_seconds_min: Final = 1
interval_days_max: Final = 3660

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE_DAY: Final = (1 << 86_400) - 1
_DURATION: Final = re.compile(
    r"P(?:(?P<weeks>[0-9]{1,9})W|(?:(?P<days>[0-9]{1,9})D)?"
    r"(?:T(?=[0-9])(?:(?P<hours>[0-9]{1,9})H)?(?:(?P<minutes>[0-9]{1,9})M)?(?:(?P<seconds>[0-9]{1,9})S)?)?)"
)


@dataclass(frozen=True)
class Every:
    """Fires at anchor + n * interval for every whole n, so the anchor sets the phase and not the beginning."""

    text: str
    interval: timedelta
    anchor: datetime = EPOCH

    def next_after(self, after: datetime) -> datetime | None:
        """The first slot strictly later than `after`, in UTC."""
        count = (after - self.anchor) // self.interval + 1
        try:
            return self.anchor + count * self.interval
        except OverflowError:
            return None

    @property
    def zoned(self) -> bool:
        return False

    @property
    def phase(self) -> int:
        return self.anchor.microsecond

    def seconds_of(self, day: int) -> int:
        """The seconds of a UTC day that have a slot, a bit each."""
        step, first = self.layout(day)
        return (_every(step) << first) & _WHOLE_DAY if first < 86_400 else 0

    def layout(self, day: int) -> tuple[int, int]:
        """Every how many seconds, and beginning with which of a UTC day; days without any are all alike."""
        step, anchor = self._grid
        return step, min((anchor - day * 86_400) % step, 86_400)

    @cached_property
    def _grid(self) -> tuple[int, int]:
        return self.interval // timedelta(seconds=1), to_instant(self.anchor)

    def occurrence(self, at: datetime) -> Occurrence:
        return Occurrence(at, at)

    def skips(self, after: datetime, until: datetime) -> Iterator[datetime]:
        return iter(())

    def explain(self) -> str:
        if self.anchor == EPOCH:
            return f"Every {_words(self.interval)}"
        return f"Every {_words(self.interval)}, in step with {self.anchor:%Y-%m-%d %H:%M:%S} UTC"


def read_interval(text: str, *, pointer: str = "/every") -> timedelta:
    """An ISO 8601 duration of whole seconds. Raises BadInterval."""
    match = _DURATION.fullmatch(text[:64])
    if match is None or not any(match.groups()):
        raise BadInterval(
            f"{text[:32]!r} is not a duration",
            pointer=pointer,
            hint='use ISO 8601 with weeks, days, hours, minutes and whole seconds: "PT90S", "PT1H30M", "P1D"',
        )
    seconds = sum(int(match[unit] or 0) * size for unit, size in _SECONDS.items())
    if seconds < interval_seconds_min:
        raise BadInterval("an interval of nothing", pointer=pointer, hint='the shortest interval is one second, "PT1S"')
    if seconds > interval_days_max * 86_400:
        raise BadInterval(
            f"{text[:32]!r} is too long", pointer=pointer, hint=f'the longest interval is "P{interval_days_max}D"'
        )
    return timedelta(seconds=seconds)


_SECONDS: Final = {"weeks": 604_800, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}


@lru_cache(maxsize=64)
def _every(step: int) -> int:
    """A number with bits set that are `step` apart, from the lowest on, for at least a day of seconds."""
    return int("1".rjust(step, "0") * -(-86_400 // step), 2) if step <= 86_400 else 1


def _words(interval: timedelta) -> str:
    left = int(interval.total_seconds())
    words: list[str] = []
    for unit in ("days", "hours", "minutes", "seconds"):
        count, left = divmod(left, _SECONDS[unit])
        if count:
            words.append(f"{count} {unit if count > 1 else unit[:-1]}")
    # "Every day", but "every 1 day 6 hours".
    return words[0].removeprefix("1 ") if len(words) == 1 else " ".join(words)
