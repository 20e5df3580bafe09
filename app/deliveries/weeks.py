"""Messages, deliveries and attempts lie in weeks: which weeks there should be, and where each begins and ends."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.kit.ids import first_of

__all__ = ["PREFIXES", "Week", "week_named", "week_of", "weeks_ahead"]

# The tables that are divided, children before what they refer to, and the prefixes of the ids that divide them.
PREFIXES = {"deliveries": "dlv", "attempts": "dlv", "messages": "msg"}

# No worker at all for longer than this, and rows go to the partition of what fits nowhere, until there is one again.
ahead_weeks = 1
_week = timedelta(days=7)
_NAME = re.compile(r"[a-z]+_([0-9]{8})")


@dataclass(frozen=True, slots=True, order=True)
class Week:
    """A week by its first moment: Monday, 0:00 UTC."""

    begins: datetime

    @property
    def ends(self) -> datetime:
        return self.begins + _week

    def partition_of(self, table: str) -> str:
        """The name of this week's part of a table."""
        return f"{table}_{self.begins:%Y%m%d}"

    def bounds(self, table: str) -> tuple[str, str]:
        """The first id of this week, and the first of the next."""
        prefix = PREFIXES[table]
        return first_of(prefix, self.begins), first_of(prefix, self.ends)


def week_of(moment: datetime) -> Week:
    """The week that a moment lies in."""
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Week(midnight - timedelta(days=midnight.weekday()))


def week_named(partition: str) -> Week | None:
    """The week that a partition holds; None for that of what fits nowhere."""
    found = _NAME.fullmatch(partition)
    return Week(datetime.strptime(found[1], "%Y%m%d").replace(tzinfo=UTC)) if found else None


def weeks_ahead(now: datetime) -> Sequence[Week]:
    """This week, and those that are made before they come."""
    this = week_of(now)
    return [Week(this.begins + n * _week) for n in range(ahead_weeks + 1)]
