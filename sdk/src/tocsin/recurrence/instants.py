"""One instant, once."""

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from tocsin.recurrence.civil import to_instant
from tocsin.recurrence.errors import BadInstant
from tocsin.recurrence.occurrences import Occurrence
from tocsin.recurrence.rules import FIRST, LAST

_RFC_3339: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


@dataclass(frozen=True)
class Once:
    """Fires at one instant."""

    at: datetime

    def next_after(self, after: datetime) -> datetime | None:
        """The instant, while it is strictly later than `after`."""
        return self.at if self.at > after else None

    @property
    def zoned(self) -> bool:
        return False

    @property
    def phase(self) -> int:
        return self.at.microsecond

    def seconds_of(self, day: int) -> int:
        own_day, tod = divmod(to_instant(self.at), 86_400)
        return 1 << tod if own_day == day else 0

    def layout(self, day: int) -> Hashable:
        return self.seconds_of(day) != 0

    def occurrence(self, at: datetime) -> Occurrence:
        return Occurrence(at, at)

    def skips(self, after: datetime, until: datetime) -> Iterator[datetime]:
        return iter(())

    def explain(self) -> str:
        return f"Once, at {self.at:%Y-%m-%d %H:%M:%S} UTC"


def read_instant(text: str, *, pointer: str = "/at") -> datetime:
    """An RFC 3339 time, in UTC and rounded up to the millisecond. Raises BadInstant."""
    match = _RFC_3339.fullmatch(text[:64])
    if match is None:
        raise _refuse(text, "is not an RFC 3339 time", pointer)
    day, clock, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if offset in 'Zz' else offset}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _refuse(text, "does not exist", pointer) from error
    if not FIRST <= moment < LAST:
        raise _refuse(text, "lies too far away", pointer)
    # Up, not down: what goes over the wire has milliseconds, and a fire is never early.
    return moment + timedelta(milliseconds=-(-int((fraction or "0").ljust(9, "0")) // 1_000_000))


def _refuse(text: str, what: str, pointer: str) -> BadInstant:
    return BadInstant(
        f"{text[:40]!r} {what}",
        pointer=pointer,
        hint='give date, time and offset: "2026-11-22T09:00:00Z" or "2026-11-22T10:00:00+01:00"',
    )
