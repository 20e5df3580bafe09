"""Keeping the journal of a schedule that we have locked, while what it is about changes."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.events import record
from app.kit import limits
from app.schedules import register, store, turns
from app.schedules.changes import Open, first_free, withdrawn
from app.schedules.entries import Entry, fire_id
from app.schedules.found import timing_of
from app.schedules.handover import skipped
from app.schedules.models import Schedule
from app.schedules.planning import Slot, passed
from app.schedules.timing import Timing, just_before
from tocsin.problems import BadRecurrence
from tocsin.recurrence import zone_database_version
from tocsin.schemas.wire import rfc3339

__all__ = ["add", "entry", "first_slot", "following", "pass_by", "skip", "withdraw"]

_past = timedelta(seconds=limits.schedule_past_seconds)
_instant = timedelta(microseconds=1)


async def withdraw(
    db: AsyncSession, schedule: Schedule, opened: Sequence[Open], reason: str, now: datetime, *, waiting: bool = False
) -> Sequence[Open]:
    """Take its own slots that are to come out again, and skip those that have come. Returns what stays open."""
    outcome = withdrawn(opened, now, waiting=waiting)
    if outcome.unplanned:
        await register.unplan(db, [fire.id for fire in outcome.unplanned])
        first = outcome.unplanned[0]
        schedule.next_fire, schedule.last_fire = first.scheduled_at, first.previous
        schedule.runs -= len(outcome.unplanned)
    await skip(db, schedule, outcome.skipped, reason, now)
    gone = {fire.id for fire in (*outcome.unplanned, *outcome.skipped)}
    return [fire for fire in opened if fire.id not in gone]


async def skip(db: AsyncSession, schedule: Schedule, fires: Sequence[Open], reason: str, now: datetime) -> None:
    """Let these open fires pass. If one of them had the turn, the next that waits gets it."""
    if fires:
        await register.skip(db, [fire.id for fire in fires], reason)
        if any(fire.waits for fire in fires):
            await turns.pass_on(db, [schedule.id], now)
        await _tell_skipped(db, schedule, ((fire.id, fire.scheduled_at) for fire in fires), reason, now)


async def pass_by(db: AsyncSession, schedule: Schedule, reason: str, now: datetime) -> None:
    """Write down the slots that came and were never planned, as skipped."""
    if schedule.next_fire is not None and schedule.next_fire <= now:
        slots = passed(timing_of(schedule), schedule.next_fire, now + _instant, reason)
        await add(db, schedule, [entry(schedule, slot, now) for slot in slots], now)


async def add(db: AsyncSession, schedule: Schedule, entries: Sequence[Entry], now: datetime) -> None:
    """Write these slots down, if they are not there already; those that are skipped are told of and counted."""
    new = await store.journal(db, entries)
    by_reason: dict[str, list[tuple[str, datetime]]] = {}
    for one in entries:
        if one.id in new and one.reason is not None:
            by_reason.setdefault(one.reason, []).append((one.id, one.scheduled_at))
    for reason, fires in by_reason.items():
        await _tell_skipped(db, schedule, fires, reason, now)


async def following(db: AsyncSession, schedule: Schedule, now: datetime, *, new: bool = False) -> datetime | None:
    """The next slot by the timing as it is now: to come, and later than whatever is in the journal.

    A `new` spec needs one; an instant that has just passed will do. Raises BadRecurrence when it has none.
    """
    timing = timing_of(schedule)
    schedule.tzdata = zone_database_version if timing.recurrence.zoned else None
    last = await register.last_slot(db, schedule.id, now)
    ahead = await register.skipped_ahead(db, schedule.id, now)
    slot = first_free(timing, max(now, last or now), ahead)
    if slot is None and new:
        slot = first_free(timing, max(now - _past, last or now - _past), ahead)
        if slot is None:
            raise _no_slot(timing, now - _past)
    return slot


def first_slot(timing: Timing, now: datetime) -> datetime:
    """The first slot of a new schedule. Raises BadRecurrence when there is none."""
    # An instant that passed on its way here was still meant: clocks differ, and requests take their time.
    slot = timing.next_after(now) or timing.next_after(now - _past)
    if slot is None:
        raise _no_slot(timing, now - _past)
    return slot


def entry(schedule: Schedule, slot: Slot, now: datetime, *, kind: str = "auto") -> Entry:
    """A slot as we write it down ourselves. A planned one is due now, and nobody holds it yet."""
    return Entry(
        schedule_id=schedule.id,
        kind=kind,
        scheduled_at=slot.scheduled_at,
        id=fire_id(schedule.id, kind, slot.scheduled_at),
        agent_id=schedule.agent_id,
        version=schedule.version,
        state=slot.state,
        reason=slot.reason,
        until=slot.until,
        run=slot.run,
        previous=slot.previous,
        fire_at=slot.scheduled_at,
        due_at=now if slot.state == "planned" else None,
        attempts=0,
        planned_at=now,
        late=slot.late,
    )


def _no_slot(timing: Timing, after: datetime) -> BadRecurrence:
    unbounded = timing.recurrence.next_after(max(after, just_before(timing.starts_at or after)))
    if unbounded is None:
        detail = f"has no slot after {rfc3339(after)}: give an instant in the future, or a time that will come"
        return BadRecurrence.at("/spec", detail)
    return BadRecurrence.at("/ends_at", f"leaves no slot: the first that counts would be {rfc3339(unbounded)}")


async def _tell_skipped(
    db: AsyncSession, schedule: Schedule, fires: Iterable[tuple[str, datetime]], reason: str, now: datetime
) -> None:
    told = [skipped(id_, schedule.agent_id, schedule.id, slot, reason, now) for id_, slot in fires]
    await store.skip_counts(db, {(schedule.id, reason): len(told)})
    await record(db, *told)
