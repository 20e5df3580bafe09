"""What can be done with one schedule beside reading it: change, pause, resume, trigger, skip a slot, delete."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.service import Deliveries
from app.events import record
from app.kit import limits
from app.kit.ids import Ids
from app.kit.operations import require
from app.kit.preconditions import UNCONDITIONAL, Preconditions
from app.schedules import journal, register
from app.schedules.changes import Change, Open, first_free
from app.schedules.found import described, locked, require_rung, timing_of
from app.schedules.handover import skipped
from app.schedules.models import Schedule
from app.schedules.planning import Slot
from app.schedules.runs import Runs
from app.schedules.shown import shown_fire
from app.schedules.versions import happened, new_version, pause
from tocsin.problems import Conflict
from tocsin.schemas import schedules as wire

__all__ = ["Lifecycle", "change"]


class Lifecycle:
    """The verbs of one schedule."""

    def __init__(self, ids: Ids, deliveries: Deliveries, runs: Runs) -> None:
        self._ids = ids
        self._deliveries = deliveries
        self._runs = runs

    async def pause(
        self,
        db: AsyncSession,
        agent_id: str,
        name: str,
        reason: str | None,
        now: datetime,
        conditions: Preconditions = UNCONDITIONAL,
    ) -> wire.Schedule:
        """Let none of its own slots fire until it is resumed. Pausing it again only gives another reason."""
        schedule = await locked(db, agent_id, name, conditions)
        if schedule.state == "completed":
            raise Conflict("the schedule is completed and fires no more; PUT or PATCH it to take it up again")
        if schedule.state == "active" or reason not in (None, schedule.pause_reason):
            await pause(db, schedule, reason, now)
        return await described(db, schedule)

    async def resume(
        self, db: AsyncSession, agent_id: str, name: str, now: datetime, conditions: Preconditions = UNCONDITIONAL
    ) -> wire.Schedule:
        """Go on with the next slot to come; those that passed meanwhile are skipped."""
        schedule = await locked(db, agent_id, name, conditions)
        if schedule.state == "completed":
            raise Conflict("the schedule is completed and has no slot to come; PUT or PATCH it to take it up again")
        if schedule.state == "paused":
            await _resume(db, schedule, now)
        return await described(db, schedule)

    async def trigger(
        self, db: AsyncSession, agent_id: str, name: str, now: datetime, conditions: Preconditions = UNCONDITIONAL
    ) -> wire.Fire:
        """Fire once, now, beside its own slots; also while it is paused or completed."""
        schedule = await locked(db, agent_id, name, conditions)
        await require_rung(db, self._deliveries, schedule)
        kind = f"manual:{self._ids.new('trg').partition('_')[2]}"
        # In whole milliseconds, as it is shown and as its id is made of; cut off, so that it is due.
        slot = now - timedelta(microseconds=now.microsecond % 1000)
        entry = journal.entry(schedule, Slot(slot, "planned"), now, kind=kind)
        await journal.add(db, schedule, [entry], now)
        await record(db, happened("triggered", schedule, now, fire_id=entry.id))
        return await self._shown_fire(db, schedule, entry.id)

    async def skip_next(
        self, db: AsyncSession, agent_id: str, name: str, now: datetime, conditions: Preconditions = UNCONDITIONAL
    ) -> wire.Fire:
        """Let exactly the next slot pass, whether it has been planned already or not. Returns it."""
        schedule = await locked(db, agent_id, name, conditions)
        if schedule.state == "completed":
            raise Conflict("the schedule is completed: it has no slot to come, so there is none to skip")
        opened = await register.lock_own(db, schedule.id)
        ahead = await register.skipped_ahead(db, schedule.id, now)
        if len(ahead) >= limits.skips_ahead_max:
            raise Conflict(f"{len(ahead)} slots to come are skipped already, the most there may be; pause it instead")
        to_come = (fire for fire in opened if not fire.waits)
        planned = min(to_come, key=lambda fire: fire.scheduled_at, default=None)
        if planned is not None:
            await journal.skip(db, schedule, [planned], "owner", now)
        fire_id = planned.id if planned else await _skip_unplanned(db, schedule, ahead, now)
        await _complete_if_done(db, schedule, [fire for fire in opened if fire is not planned], now)
        return await self._shown_fire(db, schedule, fire_id)

    async def complete(self, db: AsyncSession, agent_id: str, name: str, fire_id: str, now: datetime) -> wire.Fire:
        """The agent says that a run is done. Saying it again changes nothing."""
        schedule = await locked(db, agent_id, name)
        fire = require(await register.fire(db, schedule.id, fire_id), "fire")
        if not await self._runs.report(db, fire_id, schedule.id, now) and fire.completed_at is None:
            raise Conflict(f"the fire is {fire.state}, and nothing waits for its run to end")
        return await self._shown_fire(db, schedule, fire_id)

    async def delete(
        self, db: AsyncSession, agent_id: str, name: str, now: datetime, conditions: Preconditions = UNCONDITIONAL
    ) -> None:
        """Remove it. Nothing of it fires any more; its journal stays."""
        schedule = await locked(db, agent_id, name, conditions)
        opened = await register.lock_all(db, schedule.id)
        await register.skip(db, [fire.id for fire in opened], "deleted")
        told = [skipped(f.id, agent_id, schedule.id, f.scheduled_at, "deleted", now) for f in opened]
        await record(db, happened("deleted", schedule, now), *told)
        await register.delete(db, schedule.id)

    async def _shown_fire(self, db: AsyncSession, schedule: Schedule, fire_id: str) -> wire.Fire:
        fire = require(await register.fire(db, schedule.id, fire_id), "fire")
        told = await self._deliveries.progress(db, [fire.delivery_id] if fire.delivery_id else [])
        return shown_fire(fire, told.get(fire.delivery_id or ""))


async def change(db: AsyncSession, schedule: Schedule, change: Change, now: datetime) -> None:
    """Make a schedule that we have locked be as it is asked for.

    Slots to come are planned anew where the change may move them; other open fires are carried along. A completed
    schedule is taken up again if it has a slot to come.
    """
    opened = await register.lock_own(db, schedule.id)
    if change.timing:
        opened = await journal.withdraw(db, schedule, opened, "changed", now)
        await journal.pass_by(db, schedule, "paused" if schedule.state == "paused" else "changed", now)
    for column, value in change.columns.items():
        setattr(schedule, column, value)
    if schedule.pause_after is None:
        schedule.give_ups = 0  # they are counted no more, so whoever asks for it later begins anew
    if schedule.max_fires is not None and "max_fires" in change.columns:
        # Counted anew: no further than the bound before was it counted, and slots may have fired without one.
        schedule.fired = await register.count_fired(db, schedule.id, schedule.max_fires)
    if change.timing or schedule.next_fire is None:
        schedule.next_fire = await journal.following(db, schedule, now, new="spec" in change.columns)
    if _is_exhausted(schedule):
        if not change.timing:
            await journal.pass_by(db, schedule, "max_fires", now)
        opened = await journal.withdraw(db, schedule, opened, "max_fires", now)
        schedule.next_fire = None
    if schedule.state == "completed" and schedule.next_fire is not None:
        schedule.state = "active"
    await new_version(db, schedule, now)
    await record(db, happened("changed", schedule, now, changed=change.members))
    await _complete_if_done(db, schedule, opened, now)


async def _resume(db: AsyncSession, schedule: Schedule, now: datetime) -> None:
    opened = await register.lock_own(db, schedule.id)
    await journal.pass_by(db, schedule, "paused", now)
    schedule.next_fire = None if _is_exhausted(schedule) else await journal.following(db, schedule, now)
    schedule.state, schedule.pause_reason, schedule.paused_at, schedule.give_ups = "active", None, None, 0
    await new_version(db, schedule, now)
    await record(db, happened("resumed", schedule, now))
    await _complete_if_done(db, schedule, opened, now)


async def _skip_unplanned(db: AsyncSession, schedule: Schedule, ahead: set[datetime], now: datetime) -> str:
    """Skip the next slot, which is not in the journal yet. Returns the id of its fire."""
    timing, active = timing_of(schedule), schedule.state == "active"
    # While it is paused, the slots that have come are skipped anyway.
    slot = schedule.next_fire if active else first_free(timing, now, ahead)
    if slot is None:
        raise Conflict("the schedule has no slot to come, so there is none to skip")
    entry = journal.entry(schedule, Slot(slot, "skipped", reason="owner"), now)
    await journal.add(db, schedule, [entry], now)
    if active:
        schedule.next_fire = first_free(timing, slot, ahead)
    return entry.id


async def _complete_if_done(db: AsyncSession, schedule: Schedule, opened: Sequence[Open], now: datetime) -> None:
    """Complete an active schedule that has nothing left to plan or to fire."""
    if schedule.state == "active" and schedule.next_fire is None and not opened:
        schedule.state, schedule.updated_at = "completed", now
        await record(db, happened("completed", schedule, now))
    await db.flush()


def _is_exhausted(schedule: Schedule) -> bool:
    return schedule.max_fires is not None and schedule.fired >= schedule.max_fires
