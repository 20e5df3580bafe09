"""When something recurs, computed the same way by the relay and by you.

    >>> from datetime import UTC, datetime
    >>> from tocsin.recurrence import Recurrence
    >>> weekdays = Recurrence.parse({"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"})
    >>> weekdays.next_after(datetime(2026, 3, 27, 12, tzinfo=UTC)).isoformat()   # the Friday before the clocks change
    '2026-03-30T07:00:00+00:00'
    >>> weekdays.explain()
    'At 09:00 on Monday through Friday, Europe/Berlin time'

Several specs are united, and others excluded; a preview shows each slot on its own clock.

    >>> shop = Recurrence.parse({
    ...     "union": [{"cron": "0 9 * * 1-5"}, {"cron": "30 0 12 * * SAT"}],
    ...     "exclude": [{"cron": "* * 24-26 12 *"}],
    ... })
    >>> [slot.local.isoformat() for slot in shop.preview(datetime(2026, 12, 22, 12, tzinfo=UTC), 2)]
    ['2026-12-23T09:00:00+00:00', '2026-12-28T09:00:00+00:00']

No clock and no I/O: the moment to count from is an argument, and time zones come from the pinned `tzdata` package.
"""

from tocsin.recurrence.errors import (
    BadCron,
    BadInstant,
    BadInterval,
    BadShape,
    BadZone,
    InvalidRecurrence,
    NeverMatches,
)
from tocsin.recurrence.jitters import jitter
from tocsin.recurrence.occurrences import Occurrence, Shift
from tocsin.recurrence.pitfalls import SpecWarning, WarningCode
from tocsin.recurrence.recurrences import Recurrence
from tocsin.recurrence.specs import Spec, union_specs_max
from tocsin.recurrence.zones import zone_database_version

__all__ = [
    "BadCron",
    "BadInstant",
    "BadInterval",
    "BadShape",
    "BadZone",
    "InvalidRecurrence",
    "NeverMatches",
    "Occurrence",
    "Recurrence",
    "Shift",
    "Spec",
    "SpecWarning",
    "WarningCode",
    "jitter",
    "union_specs_max",
    "zone_database_version",
]
