"""The law of the journal: what must be true of it at any moment, whatever was done to whom.

Every law takes what was asked of one schedule and what its journal says, and yields what is wrong, in words.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from app.kit import limits
from app.kit.ids import derived_id
from tests.simulation.lives import Era, Life, second
from tocsin.schemas.wire import rfc3339

OPEN = ("planned", "buffered")


@dataclass(frozen=True)
class Page:
    """The journal of one schedule, and what goes with it."""

    now: datetime
    clock_was_set: bool
    schedule: Any  # its row; None once it has been deleted
    fires: Sequence[Any]  # its rows, in the order of their slots
    rings: Counter[str]  # how many messages there are for each fire id
    pending: Counter[str]  # how many of their deliveries are still on their way
    told: Counter[tuple[str, str]]  # how many events of each kind there are for each fire id
    skips: Mapping[str, int]  # what its counters say
    heard: Mapping[str, set[bytes]]  # what receivers were rung with, for each fire id

    @property
    def own(self) -> Sequence[Any]:
        """The rows of its own slots: not those that somebody asked for."""
        return [fire for fire in self.fires if fire.kind == "auto"]


@dataclass(frozen=True)
class Complaint:
    """What is wrong with the journal of one schedule, and by which law."""

    schedule: int
    law: str
    detail: str

    def __str__(self) -> str:
        return f"schedule {self.schedule}, {self.law}: {self.detail}"


Law = Callable[[Life, Page], Iterator[str]]


def complaints(life: Life, page: Page, laws: Sequence[Law]) -> Iterator[Complaint]:
    """What is wrong with the journal of this schedule."""
    for law in laws:
        for detail in law(life, page):
            yield Complaint(life.number, law.__name__, detail)


# Slots


def every_slot_is_there_once(life: Life, page: Page) -> Iterator[str]:
    """Each slot that the planners have passed stands in the journal: by a row of its own, or by one row for many."""
    passed = _passed(page)
    skipped = {round(fire.scheduled_at.timestamp()) for fire in page.own if fire.state == "skipped"}
    standing = Counter(slot for fire in page.own for slot in _stands_for(fire, life, skipped))
    for slot, count in standing.items():
        if count > 1:
            yield f"the slot {_shown(slot)} is in the journal {count} times"
    for era in life.eras:
        due = min(passed, era.due_until) if era.due_until is not None else passed
        for slot in era.timing.slots(era.after, due):
            if slot not in standing and slot not in era.settled:
                yield f"the slot {_shown(slot)} is not in the journal"


def every_row_is_a_slot(life: Life, page: Page) -> Iterator[str]:
    """Nothing fires, or is said to be skipped, at a time that the schedule does not name, within its bounds."""
    for fire in page.own:
        slot = round(fire.scheduled_at.timestamp())
        era = _era_of(life, slot)
        if fire.reason == "owner" and slot in life.skipped:
            continue
        if era is None or (slot not in era.settled and slot not in era.timing.slots(slot - 1, slot)):
            yield f"{_shown(slot)} is in the journal, but no slot"


def asked_for_is_there(life: Life, page: Page) -> Iterator[str]:
    """What was triggered and backfilled is there, besides the schedule's own slots, and nothing else is."""
    slots: dict[str, list[int]] = {}
    for fire in page.fires:
        if fire.kind != "auto" and not fire.kind.startswith("manual:"):
            slots.setdefault(fire.kind, []).append(round(fire.scheduled_at.timestamp()))
    asked = {kind: sorted(wanted) for kind, wanted in life.backfilled.items() if wanted}
    if slots != asked:
        yield f"backfilled {slots}, asked for {asked}"
    triggered = {fire.id for fire in page.fires if fire.kind.startswith("manual:")}
    if triggered != life.triggered:
        yield f"triggered {triggered}, asked for {life.triggered}"


# Fires


def nothing_is_early(life: Life, page: Page) -> Iterator[str]:
    """A fire is handed over at its time at the earliest, and its time is not before its slot."""
    for fire in page.fires:
        if fire.fire_at < fire.scheduled_at:
            yield f"{fire.id} was to fire at {fire.fire_at}, before its slot {fire.scheduled_at}"
        if fire.fired_at is not None and fire.fired_at < fire.fire_at:
            yield f"{fire.id} fired at {fire.fired_at}, before its time {fire.fire_at}"


def ids_follow_from_slots(life: Life, page: Page) -> Iterator[str]:
    """The id of a fire is that of its slot, whoever planned it and however often; no two slots share one."""
    for fire in page.fires:
        if fire.id != derived_id("fir", life.id, fire.kind, rfc3339(fire.scheduled_at)):
            yield f"{fire.id} is not the id of {fire.kind} {fire.scheduled_at}"
    if len({fire.id for fire in page.fires}) != len(page.fires):
        yield "two slots share an id"


def a_fire_rings_once(life: Life, page: Page) -> Iterator[str]:
    """What was handed over has one message and was told once; it says the same, however often it is delivered."""
    for fire in page.fires:
        fired = fire.fired_at is not None
        if page.rings[fire.id] != fired:
            yield f"{fire.id} is {fire.state}, with {page.rings[fire.id]} messages"
        if page.told["fire.fired", fire.id] != fired:
            yield f"{fire.id} is {fire.state}, told as fired {page.told['fire.fired', fire.id]} times"
        if page.told["fire.skipped", fire.id] != (fire.state == "skipped"):
            yield f"{fire.id} is {fire.state}, told as skipped {page.told['fire.skipped', fire.id]} times"
        if len(page.heard.get(fire.id, ())) > 1:
            yield f"{fire.id} was delivered with different bodies: {page.heard[fire.id]}"


def states_make_sense(life: Life, page: Page) -> Iterator[str]:
    """What is open has somebody to look at it; what is not has an end, and a reason where it needs one."""
    for fire in page.fires:
        if (fire.due_at is not None) != (fire.state == "planned"):
            yield f"{fire.id} is {fire.state} and due at {fire.due_at}"
        if (fire.reason is not None) != (fire.state in ("skipped", "dead")):
            yield f"{fire.id} is {fire.state} for the reason {fire.reason}"
        if fire.state == "fired" and fire.fired_at is None:
            yield f"{fire.id} fired, but at no time"
        if fire.state in (*OPEN, "skipped") and fire.fired_at is not None:
            yield f"{fire.id} is {fire.state}, but fired at {fire.fired_at}"
        if page.schedule is None and (fire.state in OPEN or fire.outstanding):
            yield f"{fire.id} is {fire.state}, outstanding {fire.outstanding}, and its schedule is no more"


def runs_rise(life: Life, page: Page) -> Iterator[str]:
    """Later slots have higher run numbers; unless the clock was set, and with it what is later."""
    runs = [] if page.clock_was_set else [fire for fire in page.own if fire.run is not None]
    for before, fire in pairwise(runs):
        if fire.run <= before.run:
            yield f"run {fire.run} of {fire.scheduled_at} comes after run {before.run} of {before.scheduled_at}"


# Policies


def no_more_than_allowed(life: Life, page: Page) -> Iterator[str]:
    """A schedule fires no more of its own slots than `max_fires`, and none while it is paused."""
    fired = _fired(page)
    if life.fires_max is not None and fired > life.fires_max:
        yield f"{fired} fires of {life.fires_max}"
    schedule = page.schedule
    # Beyond the bound, nothing is counted.
    if schedule is not None and schedule.max_fires is not None:
        counted, real = min(schedule.fired, schedule.max_fires), min(fired, schedule.max_fires)
        if counted != real:
            yield f"counted {counted} fires of {real}"
    if life.fired_when_paused is not None and fired != life.fired_when_paused:
        yield f"{fired - life.fired_when_paused} fires while paused"


def runs_wait_for_one_another(life: Life, page: Page) -> Iterator[str]:
    """Where runs must not overlap, one is under way at a time, by the journal and by the deliveries."""
    if life.always_waits:
        outstanding = [fire.id for fire in page.own if fire.outstanding]
        if len(outstanding) > 1:
            yield f"{len(outstanding)} runs are outstanding: {outstanding}"
        # One that was reported done may still be on its way.
        under_way = (fire for fire in page.own if fire.fired_at is not None and fire.completed_at is None)
        pending = [fire.id for fire in under_way if page.pending[fire.id]]
        if len(pending) > 1:
            yield f"{len(pending)} runs are being delivered: {pending}"
    buffered = sum(fire.state == "buffered" for fire in page.own)
    if buffered > life.buffered_max:
        yield f"{buffered} are buffered, of {life.buffered_max}"
    if any(fire.state == "buffered" for fire in page.fires) and not any(fire.outstanding for fire in page.fires):
        yield "fires wait, and there is no run that they could wait for"


def skips_are_counted(life: Life, page: Page) -> Iterator[str]:
    """The counters of a schedule say what its journal says."""
    skipped = Counter(fire.reason for fire in page.fires if fire.state == "skipped")
    if page.schedule is not None and page.skips != skipped:
        yield f"counted {dict(page.skips)}, skipped {dict(skipped)}"


ALWAYS: Sequence[Law] = (
    every_slot_is_there_once,
    every_row_is_a_slot,
    asked_for_is_there,
    nothing_is_early,
    ids_follow_from_slots,
    a_fire_rings_once,
    states_make_sense,
    runs_rise,
    no_more_than_allowed,
    runs_wait_for_one_another,
    skips_are_counted,
)


def nothing_is_left_undone(life: Life, page: Page) -> Iterator[str]:
    """Once everybody has done all there is to do, nothing is open that could be concluded, and nobody is behind."""
    for fire in page.fires:
        # What somebody held who is dead now is taken over when its lease ends; which is an hour later by a clock that
        # was set back by one.
        looked_at = fire.due_at if page.clock_was_set else fire.fire_at + _lease
        if fire.state == "planned" and looked_at <= page.now:
            yield f"{fire.id} of {fire.scheduled_at} is still planned at {page.now}"
        awaited = fire.ends_by is not None and fire.ends_by > page.now
        if fire.outstanding and fire.state not in OPEN and not awaited and not page.pending[fire.id]:
            yield f"the run {fire.id} of {fire.scheduled_at} does not end"
    schedule = page.schedule
    to_come = None if schedule is None or schedule.state != "active" else schedule.next_fire
    if to_come is not None and to_come <= page.now:
        yield f"next_fire {to_come} has passed at {page.now}"


AT_REST: Sequence[Law] = (*ALWAYS, nothing_is_left_undone)

_lease = timedelta(seconds=limits.fire_lease_seconds)


def _passed(page: Page) -> int:
    """The latest second whose slots the planners have passed."""
    now, schedule = second(page.now), page.schedule
    if schedule is None:
        return now
    if schedule.next_fire is not None:
        return min(now, second(schedule.next_fire) - 1)
    if schedule.max_fires is not None and schedule.fired >= schedule.max_fires:
        # The slots after its last fire are not due, though some may have been planned, or skipped, before it.
        slots = (second(fire.scheduled_at) for fire in page.own if fire.fired_at is not None)
        return max((slot for slot in slots if slot <= now), default=0)
    return now


def _fired(page: Page) -> int:
    return sum(fire.fired_at is not None for fire in page.own)


def _stands_for(fire: Any, life: Life, skipped: Collection[int]) -> Sequence[int]:
    """The slots that a row of the journal stands for; not those that were skipped before it, each by its own row."""
    slot = round(fire.scheduled_at.timestamp())
    era = _era_of(life, slot)
    if fire.until is None or era is None or slot in era.settled:
        return [slot]
    end = -int(-fire.until.timestamp() // 1) - 1
    later = era.timing.slots(slot, end if era.until is None else min(end, era.until))
    return [slot, *(other for other in later if other not in skipped)]


def _era_of(life: Life, slot: int) -> Era | None:
    """The era that this slot belongs to: one that names it, if there is one."""
    eras = [era for era in life.eras if era.after < slot and (era.until is None or slot <= era.until)]
    naming = (era for era in eras if slot in era.timing.slots(slot - 1, slot))
    return next(naming, eras[0] if eras else None)


def _shown(slot: int) -> str:
    return str(timedelta(seconds=slot % 86_400))
