"""From a schedule to be planned to the rows of the journal, and to what the planner holds of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.kit import limits
from app.kit.ids import derived_id
from app.schedules.holding import Held
from app.schedules.planning import Misfire, MisfireKind, Plan, Slot, plan
from app.schedules.timing import Timing, timing
from tocsin.recurrence import InvalidRecurrence
from tocsin.schemas.wire import rfc3339

__all__ = ["Advanced", "Entry", "Plannable", "Prepared", "fire_id", "prepare"]

_ahead = timedelta(seconds=limits.plan_ahead_seconds)
_lease = timedelta(seconds=limits.fire_lease_seconds)


@dataclass(frozen=True, slots=True)
class Plannable:
    """A schedule that we have locked to plan it."""

    id: str
    agent_id: str
    version: int
    spec: str
    starts_at: datetime | None
    ends_at: datetime | None
    jitter_seconds: int
    next_fire: datetime
    last_fire: datetime | None
    runs: int
    misfire: MisfireKind
    catch_up_max: int | None
    catch_up_seconds: int | None
    overlap: str
    max_fires: int | None
    created_at: datetime

    @property
    def policy(self) -> Misfire:
        """What becomes of its slots that nobody planned in time."""
        window = None if self.catch_up_seconds is None else timedelta(seconds=self.catch_up_seconds)
        return Misfire(self.misfire, self.catch_up_max or limits.catch_up_fires_default, window)


@dataclass(frozen=True, slots=True)
class Entry:
    """A slot as it enters the journal. The columns of `fires` by the same names."""

    schedule_id: str
    kind: str
    scheduled_at: datetime
    id: str
    agent_id: str
    version: int
    state: str
    reason: str | None
    until: datetime | None
    run: int | None
    previous: datetime | None
    fire_at: datetime
    due_at: datetime | None
    attempts: int
    planned_at: datetime
    late: bool = False
    overlap: str = "allow"
    outstanding: bool = False


@dataclass(frozen=True, slots=True)
class Advanced:
    """How far a schedule has been planned."""

    id: str
    state: str
    next_fire: datetime | None
    last_fire: datetime | None
    runs: int
    pause_reason: str | None = None
    paused_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the planner is to write of a schedule, and to hold once that is durable."""

    entries: Sequence[Entry]
    advanced: Advanced
    held: Sequence[Held]
    refusal: str | None = None

    @property
    def is_last(self) -> bool:
        """Whether nothing is left to plan."""
        return self.advanced.next_fire is None and self.refusal is None


def fire_id(schedule_id: str, kind: str, scheduled_at: datetime) -> str:
    """The id that a slot always has: whoever plans it, however often."""
    return derived_id("fir", schedule_id, kind, rfc3339(scheduled_at))


def prepare(schedule: Plannable, now: datetime) -> Prepared:
    """Plan a schedule up to the look-ahead."""
    try:
        when = timing(schedule.spec, schedule.starts_at, schedule.ends_at, schedule.jitter_seconds)
    except InvalidRecurrence as refusal:
        return _refused(schedule, str(refusal), now)
    planned = plan(
        when,
        next_fire=schedule.next_fire,
        last_fire=schedule.last_fire,
        runs=schedule.runs,
        now=now,
        horizon=now + _ahead,
        misfire=schedule.policy,
        given_at=schedule.created_at,
    )
    entries = [_entry(schedule, when, slot, now) for slot in planned.slots]
    is_guarded = schedule.overlap != "allow" or schedule.max_fires is not None or planned.next_fire is None
    held = [Held(e.fire_at, e.id, e.attempts, e.schedule_id, is_guarded) for e in entries if e.attempts]
    return Prepared(entries, _advanced(schedule, planned), held)


def _refused(schedule: Plannable, refusal: str, now: datetime) -> Prepared:
    # It read when it was registered; a newer time zone database may have dropped its zone. Others go on.
    slot = Slot(schedule.next_fire, "skipped", reason="spec_refused")
    reason = f"the relay reads its spec no more: {refusal}"
    advanced = Advanced(schedule.id, "paused", None, schedule.last_fire, schedule.runs, reason, now)
    return Prepared([_entry(schedule, None, slot, now)], advanced, [], refusal)


def _advanced(schedule: Plannable, planned: Plan) -> Advanced:
    return Advanced(schedule.id, "active", planned.next_fire, planned.last_fire, planned.runs)


def _entry(schedule: Plannable, when: Timing | None, slot: Slot, now: datetime) -> Entry:
    fire_at = slot.scheduled_at
    if when is not None and slot.state == "planned":
        fire_at = when.fire_at(schedule.id, slot.scheduled_at)
    due_at, attempts = _hold(slot, fire_at, now)
    return Entry(
        schedule_id=schedule.id,
        kind="auto",
        scheduled_at=slot.scheduled_at,
        id=fire_id(schedule.id, "auto", slot.scheduled_at),
        agent_id=schedule.agent_id,
        version=schedule.version,
        state=slot.state,
        reason=slot.reason,
        until=slot.until,
        run=slot.run,
        previous=slot.previous,
        fire_at=fire_at,
        due_at=due_at,
        attempts=attempts,
        planned_at=now,
        late=slot.late,
    )


def _hold(slot: Slot, fire_at: datetime, now: datetime) -> tuple[datetime | None, int]:
    """When others may look at it, and how many have held it, who plans it included."""
    if slot.state == "skipped":
        return None, 0
    if slot.late:
        return now, 0
    if fire_at > now + _ahead:
        # Its jitter is long: it waits in the table, and is taken over in time to be punctual.
        return fire_at - _ahead, 0
    # We hold it from the start. Late already: the lease counts from now.
    return max(fire_at, now) + _lease, 1
