"""What cron, Temporal, EventBridge Scheduler and Kubernetes do when the clock changes, beside what we do.

Our columns are computed. The others' are what their own documentation says, or a report that they let stand; where the
sources are is written under the table, in docs/concepts/schedules.md.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Final

from tocsin.recurrence import Recurrence

__all__ = ["compared"]

ZONE: Final = "Europe/Berlin"
FORWARD: Final = (datetime(2027, 3, 28, 0, 0, tzinfo=UTC), datetime(2027, 3, 28, 2, 0, tzinfo=UTC))
BACK: Final = (datetime(2026, 10, 24, 23, 0, tzinfo=UTC), datetime(2026, 10, 25, 3, 0, tzinfo=UTC))
"""From 01:00 until 04:00 on the clocks of that night."""

PEERS: Final = ("cron (Debian)", "Temporal", "EventBridge Scheduler", "Kubernetes CronJob")


@dataclass(frozen=True)
class Night:
    """A cron text, a night on which the clock changes, and what the peers do then."""

    what: str
    cron: str
    hours: tuple[datetime, datetime]
    peers: tuple[str, str, str, str]


NIGHTS: Final = (
    Night("a time that is skipped", "30 2 * * *", FORWARD, ("at 03:00", "not at all", "not at all", "not at all")),
    Night("a time that comes twice", "30 2 * * *", BACK, ("once", "twice", "once", "twice")),
    Night(
        "every hour, one skipped",
        "30 * * * *",
        FORWARD,
        ("not in the gap", "not in the gap", "not in the gap", "not in the gap"),
    ),
    Night("every hour, one repeated", "30 * * * *", BACK, ("in both", "in both", "once (our reading)", "in both")),
)


def compared() -> str:
    """The table, as Markdown."""
    ours = ("Tocsin, `debian`", "Tocsin, `skip_gap`")
    head = ["", "cron text", *ours, *PEERS]
    lines = [_row(head), "|---" * len(head) + "|"]
    for night in NIGHTS:
        cells = [_slots(night, "debian"), _slots(night, "skip_gap"), *night.peers]
        lines.append(_row([night.what, f"`{night.cron}`", *cells]))
    return "\n".join(lines) + "\n"


def _slots(night: Night, dst: str) -> str:
    """The slots of that night, as its clocks show them."""
    recurrence = Recurrence.parse({"cron": night.cron, "timezone": ZONE, "dst": dst})
    begin, end = night.hours
    found = takewhile(lambda slot: slot.at < end, recurrence.preview(begin, 10))
    return ", ".join(f"{slot.local:%H:%M}{slot.local.isoformat()[-6:-3]}" for slot in found) or "not at all"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
