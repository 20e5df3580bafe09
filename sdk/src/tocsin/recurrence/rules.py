"""What every simple way of recurring knows about itself."""

from collections.abc import Hashable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from tocsin.recurrence.occurrences import Occurrence

TICK: Final = timedelta(microseconds=1)
"""The finest step of time: strictly later than `moment - TICK` is `moment` or later."""
# Slots lie in these years, so that no zone's clock ever leaves the calendar.
FIRST: Final = datetime(1900, 1, 1, tzinfo=UTC)
LAST: Final = datetime(9900, 1, 1, tzinfo=UTC)


class Rule(Protocol):
    """One way of recurring."""

    @property
    def zoned(self) -> bool:
        """Whether another release of the time zone database could change its slots."""
        ...

    @property
    def phase(self) -> int:
        """Where within a second its slots lie, in microseconds."""
        ...

    def next_after(self, after: datetime) -> datetime | None:
        """The first slot strictly later than `after`, in UTC; None when there is none any more."""
        ...

    def seconds_of(self, day: int) -> int:
        """The seconds of a UTC day, counted from the epoch, that have a slot: bit n stands for its n-th second."""
        ...

    def layout(self, day: int) -> Hashable:
        """Days of the same layout have their slots in the same seconds."""
        ...

    def occurrence(self, at: datetime) -> Occurrence:
        """One slot as a person should see it."""
        ...

    def skips(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Where, after `after` and up to `until`, a gap ends that took a slot which is not made up for."""
        ...

    def explain(self) -> str:
        """It in plain English."""
        ...


def first_after(rules: Sequence[Rule], after: datetime) -> datetime | None:
    """The first slot of any of them that is strictly later than `after`."""
    return min((slot for rule in rules if (slot := rule.next_after(after)) is not None), default=None)


def has_slot(rule: Rule, moment: datetime) -> bool:
    return rule.next_after(moment - TICK) == moment
