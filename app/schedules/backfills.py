"""Slots of the past that an agent wants to be fired after all."""

from asyncio import to_thread
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice, pairwise, takewhile

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.service import Deliveries
from app.events import Happened, record
from app.kit import limits, pages
from app.kit.ids import Ids
from app.kit.operations import require
from app.kit.preconditions import UNCONDITIONAL, Preconditions
from app.schedules import journal, register, store
from app.schedules.entries import Entry, fire_id
from app.schedules.found import found, locked, require_rung, timing_of
from app.schedules.models import Backfill, Schedule
from app.schedules.shown import shown_backfill
from app.schedules.timing import Timing, just_before
from tocsin.problems import Conflict, InvalidBody
from tocsin.schemas import schedules as wire
from tocsin.schemas.schedules import NewBackfill, backfill_slots_max
from tocsin.schemas.wire import Page, rfc3339

__all__ = ["Backfills"]

_range_max = timedelta(days=limits.backfill_days_max)


class Backfills:
    """The verbs of backfills."""

    def __init__(self, ids: Ids, deliveries: Deliveries) -> None:
        self._ids = ids
        self._deliveries = deliveries

    async def start(
        self,
        db: AsyncSession,
        agent_id: str,
        name: str,
        asked: NewBackfill,
        now: datetime,
        conditions: Preconditions = UNCONDITIONAL,
    ) -> wire.Backfill:
        """Write every slot of the range into the journal, under a kind of its own: late, and due."""
        schedule = await locked(db, agent_id, name, conditions)
        _refuse_range(asked, now)
        await require_rung(db, self._deliveries, schedule)
        slots = await _slots(timing_of(schedule), asked)
        await _require_room(db, schedule, len(slots))
        backfill = Backfill(
            id=self._ids.new("bkf"),
            schedule_id=schedule.id,
            agent_id=agent_id,
            range_start=asked.start,
            range_end=asked.end,
            overlap=asked.overlap,
            slots=len(slots),
            created_at=now,
        )
        db.add(backfill)
        await db.flush()
        await store.journal(db, _entries(schedule, backfill, slots, now))
        await record(db, _happened("backfilled", backfill, now, slots=len(slots), overlap=asked.overlap))
        return await _described(db, backfill)

    async def cancel(
        self, db: AsyncSession, agent_id: str, name: str, backfill_id: str, now: datetime
    ) -> wire.Backfill:
        """Let what is left of it pass. One that has come to its end stays as it is."""
        schedule = await locked(db, agent_id, name)
        backfill = require(await register.backfill(db, schedule.id, backfill_id), "backfill")
        left = [fire for fire in await register.lock_all(db, schedule.id) if fire.kind == _kind(backfill)]
        if left:
            backfill.cancelled_at = now
            await journal.skip(db, schedule, left, "cancelled", now)
            await record(db, _happened("backfill_cancelled", backfill, now, skipped=len(left)))
            await db.flush()
        return await _described(db, backfill)

    async def get(self, db: AsyncSession, agent_id: str, name: str, backfill_id: str) -> wire.Backfill:
        """One backfill and how far it has got."""
        schedule = await found(db, agent_id, name)
        return await _described(db, require(await register.backfill(db, schedule.id, backfill_id), "backfill"))

    async def list(self, db: AsyncSession, agent_id: str, name: str, query: wire.BackfillQuery) -> Page[wire.Backfill]:
        """One page of a schedule's backfills, newest first."""
        schedule = await found(db, agent_id, name)
        rows = await register.backfills(db, schedule.id, pages.decode(query.cursor), query.limit + 1)
        tallies = await register.tallies(db, rows[: query.limit])
        return pages.page(rows, query.limit, lambda row: shown_backfill(row, tallies[row.id]), lambda row: row.id)


def _refuse_range(asked: NewBackfill, now: datetime) -> None:
    if asked.end <= asked.start:
        raise InvalidBody.at("/end", f"has to lie after start, which is {rfc3339(asked.start)}")
    if asked.end > now:
        raise InvalidBody.at(
            "/end", f"may not lie in the future: now is {rfc3339(now)}, and what is to come fires anyway"
        )
    if asked.end - asked.start > _range_max:
        raise InvalidBody.at("/start", f"may lie at most {limits.backfill_days_max} days before end")


async def _slots(timing: Timing, asked: NewBackfill) -> Sequence[datetime]:
    """The slots from its start on and before its end. Raises InvalidBody when they are too many."""
    in_range = takewhile(lambda slot: slot < asked.end, timing.slots_after(just_before(asked.start)))
    # Thousands of questions to the calendar: other requests go on meanwhile.
    slots = await to_thread(list, islice(in_range, backfill_slots_max + 1))
    if len(slots) > backfill_slots_max:
        last = rfc3339(slots[backfill_slots_max])
        raise InvalidBody.at(
            "/end", f"a backfill has at most {backfill_slots_max} slots: end by {last}, and go on there"
        )
    return slots


async def _require_room(db: AsyncSession, schedule: Schedule, slots: int) -> None:
    """Each change of the schedule has to do with every open fire, so there is a bound on them."""
    opened = sum(fire.kind != "auto" for fire in await register.lock_all(db, schedule.id))
    if opened + slots > backfill_slots_max:
        raise Conflict(
            f"{opened} fires of earlier backfills and triggers are still open, and {slots} more would be too many: "
            f"{backfill_slots_max} may be. Wait for them, or cancel a backfill"
        )


def _entries(schedule: Schedule, backfill: Backfill, slots: Sequence[datetime], now: datetime) -> list[Entry]:
    kind = _kind(backfill)
    return [
        Entry(
            schedule_id=schedule.id,
            kind=kind,
            scheduled_at=slot,
            id=fire_id(schedule.id, kind, slot),
            agent_id=schedule.agent_id,
            version=schedule.version,
            state="planned",
            reason=None,
            until=None,
            run=None,
            previous=previous,
            fire_at=slot,
            due_at=now,
            attempts=0,
            planned_at=now,
            late=True,
            overlap=backfill.overlap,
        )
        for previous, slot in pairwise((None, *slots))
        if slot is not None
    ]


def _kind(backfill: Backfill) -> str:
    return f"backfill:{backfill.id}"


async def _described(db: AsyncSession, backfill: Backfill) -> wire.Backfill:
    return shown_backfill(backfill, (await register.tallies(db, [backfill]))[backfill.id])


def _happened(verb: str, backfill: Backfill, now: datetime, **more: object) -> Happened:
    told = {
        "backfill_id": backfill.id,
        "start": rfc3339(backfill.range_start),
        "end": rfc3339(backfill.range_end),
        **more,
    }
    return Happened(f"schedule.{verb}", backfill.schedule_id, backfill.agent_id, now, told)
