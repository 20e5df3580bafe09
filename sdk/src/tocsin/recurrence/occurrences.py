"""One slot as a person should see it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Shift(StrEnum):
    """What a change of the clock does to a slot."""

    MOVED = "moved"
    """Its wall-clock time does not exist that day: it fires at the first instant after the gap."""
    FIRST_PASS = "first_pass"
    """Its wall-clock time comes twice that day; this is the first."""
    SECOND_PASS = "second_pass"
    """Its wall-clock time comes twice that day; this is the second."""
    AFTER_SKIPPED = "after_skipped"
    """A slot before this one fell into a gap and does not fire."""


@dataclass(frozen=True)
class Occurrence:
    """A slot: the instant in UTC, the same on the schedule's own clock, and what a change of that clock did to it."""

    at: datetime
    local: datetime
    shift: Shift | None = None
