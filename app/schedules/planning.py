"""Which slots of a schedule go into the journal next, and as what: the rule of the planner."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Literal

from app.kit import limits
from app.schedules.timing import Timing

__all__ = ["Misfire", "MisfireKind", "Plan", "Slot", "latest_slots", "missed_before", "passed", "plan"]

_missed_grace = timedelta(seconds=limits.missed_grace_seconds)
_instant = timedelta(microseconds=1)


MisfireKind = Literal["skip", "latest", "all"]


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot for the journal: to be fired, or skipped. `until`: it stands for every slot before that time, too.

    Late: it was missed, and is caught up with.
    """

    scheduled_at: datetime
    state: Literal["planned", "skipped"]
    run: int | None = None
    previous: datetime | None = None
    reason: str | None = None
    until: datetime | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write into the journal, and what is true of the schedule afterwards."""

    slots: tuple[Slot, ...]
    next_fire: datetime | None
    last_fire: datetime | None
    runs: int


@dataclass(frozen=True, slots=True)
class Misfire:
    """What becomes of slots that nobody planned in time: none fires, the latest does, or the latest `fires_max` do.

    Those that were missed by more than `window` never fire.
    """

    kind: MisfireKind = "latest"
    fires_max: int = limits.catch_up_fires_default
    window: timedelta | None = None


_latest = Misfire()


def missed_before(now: datetime) -> datetime:
    """A slot before this time that is not in the journal by `now` was missed."""
    return now - _missed_grace


def plan(
    timing: Timing,
    *,
    next_fire: datetime,
    last_fire: datetime | None,
    runs: int,
    now: datetime,
    horizon: datetime,
    misfire: Misfire = _latest,
    given_at: datetime | None = None,
) -> Plan:
    """Plan everything up to `horizon`, always from nominal times.

    A slot from before `given_at`, when the schedule came to be, was not missed but given late: it is due now.
    """
    missed_end = missed_before(now)
    was_missed = next_fire < missed_end and (given_at is None or next_fire >= given_at)
    skipped, late, following = _recovered(timing, misfire, next_fire, now) if was_missed else ([], [], next_fire)
    # A catch-up that goes on in the next round has no live slots yet.
    live = [] if was_missed and following is not None and following < missed_end else _upto(timing, following, horizon)
    slots = skipped
    for slots_of, is_late in ((late, True), (live, False)):
        for slot in slots_of:
            runs += 1
            slots.append(Slot(slot, "planned", run=runs, previous=last_fire, late=is_late))
            last_fire = slot
    next_fire_after = timing.next_after(live[-1]) if live else following
    return Plan(tuple(slots), next_fire=next_fire_after, last_fire=last_fire, runs=runs)


def passed(timing: Timing, first: datetime, end: datetime, reason: str) -> list[Slot]:
    """The slots from `first` (which is one) on and before `end`, skipped for this reason.

    One row each, but many more than a person reads share the last row.
    """
    slots: list[Slot] = []
    slot: datetime | None = first
    while slot is not None and slot < end:
        if len(slots) == limits.missed_rows_max - 1:
            slots.append(Slot(slot, "skipped", reason=reason, until=end))
            break
        slots.append(Slot(slot, "skipped", reason=reason))
        slot = timing.next_after(slot)
    return slots


def latest_slots(timing: Timing, begin: datetime, end: datetime, count: int) -> list[datetime]:
    """The last `count` slots after `begin` and not after `end`, in order.

    Halves the time that is left, so that the last of a year of seconds takes a few dozen questions and not millions.
    """
    found: list[datetime] = []
    while count > len(found) and end - begin > timedelta(seconds=count):
        middle = begin + (end - begin) / 2
        half = list(islice(_between(timing, middle, end), count - len(found) + 1))
        if len(half) > count - len(found):
            begin = middle
        else:
            found, end = half + found, middle
    wanted = count - len(found)
    return [*list(_between(timing, begin, end))[-wanted:], *found] if wanted else found


def _between(timing: Timing, begin: datetime, end: datetime) -> Iterator[datetime]:
    return takewhile(lambda slot: slot <= end, timing.slots_after(begin))


def _upto(timing: Timing, first: datetime | None, horizon: datetime) -> list[datetime]:
    """The slots from `first` on (None: there are none) up to `horizon`, as many as one round plans."""
    if first is None or first > horizon:
        return []
    return [first, *islice(_between(timing, first, horizon), limits.plan_slots_max - 1)]


def _recovered(
    timing: Timing, misfire: Misfire, first: datetime, now: datetime
) -> tuple[list[Slot], list[datetime], datetime | None]:
    """After an outage, given the first slot that was missed: what is skipped, what fires late, and what follows."""
    end = missed_before(now)
    late = _caught_up(timing, misfire, first, end, now)
    skipped = _skipped(timing, misfire, first, late[0] if late else end, now)
    if len(late) > limits.catch_up_slots_max:
        # The rest of them are the latest that were missed when the next round looks, too.
        return skipped, late[: limits.catch_up_slots_max], late[limits.catch_up_slots_max]
    return skipped, late, timing.next_after(end - _instant)


def _caught_up(timing: Timing, misfire: Misfire, first: datetime, end: datetime, now: datetime) -> list[datetime]:
    """Those of the missed slots, from `first` on and before `end`, that fire after all."""
    begin = first if misfire.window is None else max(first, now - misfire.window)
    if begin >= end or misfire.kind == "skip":
        return []
    if misfire.kind == "all":
        return latest_slots(timing, begin - _instant, end - _instant, misfire.fires_max)
    following = timing.next_after(end - _instant)
    if following is not None and following <= now:
        # The latest was not missed: it has only just come.
        return []
    return latest_slots(timing, begin - _instant, end - _instant, 1)


def _skipped(timing: Timing, misfire: Misfire, first: datetime, end: datetime, now: datetime) -> list[Slot]:
    """The missed slots that do not fire, from `first` on and before `end`."""
    if misfire.window is None or first >= (expired_before := min(end, now - misfire.window)):
        return passed(timing, first, end, "missed")
    expired = passed(timing, first, expired_before, "expired")
    remaining = timing.next_after(expired_before - _instant)
    return expired if remaining is None else [*expired, *passed(timing, remaining, end, "missed")]
