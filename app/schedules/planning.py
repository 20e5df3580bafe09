"""Which slots of a schedule go into the journal next, and as what: the rule of the planner."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from app.kit import limits
from tocsin.recurrence import Recurrence

__all__ = ["Plan", "Slot", "latest_until", "plan"]

_missed_grace = timedelta(seconds=limits.missed_grace_seconds)


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot for the journal: to be fired, or skipped. `until`: it stands for every slot before that time, too."""

    scheduled_at: datetime
    state: Literal["planned", "skipped"]
    run: int | None = None
    previous: datetime | None = None
    reason: str | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write into the journal, and what is true of the schedule afterwards."""

    slots: tuple[Slot, ...]
    next_fire: datetime | None
    last_fire: datetime | None
    runs: int


def plan(
    recurrence: Recurrence,
    *,
    next_fire: datetime,
    last_fire: datetime | None,
    runs: int,
    now: datetime,
    horizon: datetime,
) -> Plan:
    """Plan everything up to `horizon`, always from nominal times.

    Of the slots that were missed (nobody planned them in time), the latest fires once and the others are skipped.
    """
    slots: list[Slot] = []
    slot: datetime | None = next_fire
    if next_fire < now - _missed_grace:
        slot = latest_until(recurrence, next_fire, now)
        slots += _skipped(recurrence, next_fire, slot)
    fired = 0
    while slot is not None and slot <= horizon and fired < limits.plan_slots_max:
        runs, fired = runs + 1, fired + 1
        slots.append(Slot(slot, "planned", run=runs, previous=last_fire))
        slot, last_fire = recurrence.next_after(slot), slot
    return Plan(tuple(slots), next_fire=slot, last_fire=last_fire, runs=runs)


def latest_until(recurrence: Recurrence, slot: datetime, now: datetime) -> datetime:
    """The latest slot not after `now`, given one that is not.

    Halves the time that is left, so that a year of missed seconds takes a few dozen questions and not millions.
    """
    end = now
    while (following := recurrence.next_after(slot)) is not None and following <= now:
        slot = following
        middle = slot + (end - slot) / 2
        later = recurrence.next_after(middle)
        if later is not None and later <= now:
            slot = later
        else:
            end = middle
    return slot


def _skipped(recurrence: Recurrence, first: datetime, end: datetime) -> list[Slot]:
    """The missed slots before `end`: one row each, but many more than a person reads share the last row."""
    slots: list[Slot] = []
    slot: datetime | None = first
    while slot is not None and slot < end:
        if len(slots) == limits.missed_rows_max - 1:
            slots.append(Slot(slot, "skipped", reason="missed", until=end))
            break
        slots.append(Slot(slot, "skipped", reason="missed"))
        slot = recurrence.next_after(slot)
    return slots
