"""The law of the journal: what must be true of it at any moment, whatever was done to whom.

Every law takes what was asked of one schedule and what its journal says, and yields what is wrong, in words.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from app.kit import limits
from app.kit.ids import derived_id
from tests.simulation.lives import Era, Life
from tocsin.schemas.wire import rfc3339

OPEN = ("planned", "buffered")


@dataclass(frozen=True)
class Page:
    """The journal of one schedule, and what goes with it."""

    now: datetime
    schedule: Any  # its row; None once it has been deleted
    fires: Sequence[Any]  # its rows, in the order of their slots
    rings: Counter[str]  # how many messages there are for each fire id
    told: Counter[tuple[str, str]]  # how many events of each kind there are for each fire id

    @property
    def own(self) -> Sequence[Any]:
        """The rows of its own slots: not those that somebody asked for."""
        return [fire for fire in self.fires if fire.kind == "auto"]


_lease = timedelta(seconds=limits.fire_lease_seconds)

Law = Callable[[Life, Page], Iterator[str]]


@dataclass(frozen=True)
class Complaint:
    """What is wrong with the journal of one schedule, and by which law."""

    schedule: int
    law: str
    detail: str

    def __str__(self) -> str:
        return f"schedule {self.schedule}, {self.law}: {self.detail}"


def complaints(life: Life, page: Page, laws: Sequence[Law]) -> Iterator[Complaint]:
    """What is wrong with the journal of this schedule."""
    for law in laws:
        for detail in law(life, page):
            yield Complaint(life.number, law.__name__, detail)


def every_slot_is_there_once(life: Life, page: Page) -> Iterator[str]:
    """Each slot that the planners have passed stands in the journal: by a row of its own, or by one row for many."""
    passed = _passed(page)
    standing = Counter(slot for fire in page.own for slot in _stands_for(fire, life))
    for slot, count in standing.items():
        if count > 1:
            yield f"the slot {_shown(slot)} is in the journal {count} times"
    for era in life.eras:
        due = min(passed, era.due_until) if era.due_until is not None else passed
        for slot in era.timing.slots(era.after, due):
            if slot not in standing:
                yield f"the slot {_shown(slot)} is not in the journal"


def every_row_is_a_slot(life: Life, page: Page) -> Iterator[str]:
    """Nothing fires, or is said to be skipped, at a time that the schedule does not name."""
    for fire in page.own:
        slot = round(fire.scheduled_at.timestamp())
        era = _era_of(life, slot)
        if era is None or slot not in era.timing.slots(slot - 1, slot):
            yield f"{_shown(slot)} is in the journal, but no slot"


def nothing_is_early(life: Life, page: Page) -> Iterator[str]:
    """A fire is handed over at its time at the earliest, and its time is not before its slot."""
    for fire in page.fires:
        if fire.fire_at < fire.scheduled_at:
            yield f"{fire.id} was to fire at {fire.fire_at}, before its slot {fire.scheduled_at}"
        if fire.fired_at is not None and fire.fired_at < fire.fire_at:
            yield f"{fire.id} fired at {fire.fired_at}, before its time {fire.fire_at}"


def ids_follow_from_slots(life: Life, page: Page) -> Iterator[str]:
    """The id of a fire is that of its slot, whoever planned it and however often."""
    for fire in page.fires:
        if fire.id != derived_id("fir", life.id, fire.kind, rfc3339(fire.scheduled_at)):
            yield f"{fire.id} is not the id of {fire.kind} {fire.scheduled_at}"


def a_fire_rings_once(life: Life, page: Page) -> Iterator[str]:
    """What fired has one message; what did not has none. The events say the same."""
    for fire in page.fires:
        fired = fire.fired_at is not None
        if page.rings[fire.id] != fired:
            yield f"{fire.id} is {fire.state}, with {page.rings[fire.id]} messages"
        if (page.told["fire.fired", fire.id]) != fired:
            yield f"{fire.id} is {fire.state}, told as fired {page.told['fire.fired', fire.id]} times"
        if page.told["fire.skipped", fire.id] != (fire.state in ("skipped", "dead") and not fired):
            yield f"{fire.id} is {fire.state}, told as skipped {page.told['fire.skipped', fire.id]} times"


def states_make_sense(life: Life, page: Page) -> Iterator[str]:
    """What is open is due some time; what is not has an end, and a reason where it needs one."""
    for fire in page.fires:
        if (fire.due_at is not None) != (fire.state == "planned"):
            yield f"{fire.id} is {fire.state} and due at {fire.due_at}"
        if (fire.reason is not None) != (fire.state in ("skipped", "dead")):
            yield f"{fire.id} is {fire.state} for the reason {fire.reason}"
        if fire.state == "fired" and fire.fired_at is None:
            yield f"{fire.id} fired, but at no time"
        if fire.state in OPEN and page.schedule is None:
            yield f"{fire.id} is still {fire.state}, and its schedule is no more"


def runs_rise(life: Life, page: Page) -> Iterator[str]:
    """Later slots have higher run numbers, and know the run before them."""
    runs = [fire for fire in page.own if fire.run is not None]
    for before, fire in pairwise(runs):
        if fire.run <= before.run:
            yield f"run {fire.run} of {fire.scheduled_at} comes after run {before.run} of {before.scheduled_at}"


ALWAYS: Sequence[Law] = (
    every_slot_is_there_once,
    every_row_is_a_slot,
    nothing_is_early,
    ids_follow_from_slots,
    a_fire_rings_once,
    states_make_sense,
    runs_rise,
)


def nothing_is_left_undone(life: Life, page: Page) -> Iterator[str]:
    """Once everybody has done all there is to do, nothing is open that could be concluded, and nobody is behind."""
    for fire in page.fires:
        # What somebody held who is dead now is taken over when its lease ends.
        if fire.state in OPEN and fire.fire_at <= page.now - _lease:
            yield f"{fire.id} of {fire.scheduled_at} is still {fire.state} at {page.now}"
    if _is_active(page) and page.schedule.next_fire is not None and page.schedule.next_fire <= page.now:
        yield f"next_fire {page.schedule.next_fire} has passed at {page.now}"


AT_REST: Sequence[Law] = (*ALWAYS, nothing_is_left_undone)


def _passed(page: Page) -> int:
    """The latest second whose slots the planners have passed."""
    now = int(page.now.timestamp() // 1)
    if page.schedule is None or page.schedule.next_fire is None:
        return now
    return min(now, round(page.schedule.next_fire.timestamp()) - 1)


def _stands_for(fire: Any, life: Life) -> Sequence[int]:
    """The slots that a row of the journal stands for."""
    slot = round(fire.scheduled_at.timestamp())
    era = _era_of(life, slot)
    if fire.until is None or era is None:
        return [slot]
    return [slot, *era.timing.slots(slot, -int(-fire.until.timestamp() // 1) - 1)]


def _era_of(life: Life, slot: int) -> Era | None:
    """The era that this slot belongs to."""
    eras = (era for era in life.eras if era.after < slot and (era.until is None or slot <= era.until))
    return next(eras, None)


def _is_active(page: Page) -> bool:
    return page.schedule is not None and page.schedule.state == "active"


def _shown(slot: int) -> str:
    return str(timedelta(seconds=slot % 86_400))
