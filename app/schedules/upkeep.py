"""What keeps the planners honest: a new time zone database moves slots, and a slot that nobody plans is told of."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.events import Happened, record
from app.kit import limits, telemetry
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.wake import Wake
from app.schedules import store
from app.schedules.handover import complete
from app.schedules.recomputing import Recomputed, Zoned, recompute
from app.schedules.store import Unplanned
from tocsin.recurrence import zone_database_version
from tocsin.schemas.wire import rfc3339

__all__ = ["Upkeep"]

log = telemetry.logger(__name__)

_tolerance = timedelta(seconds=limits.check_overdue_seconds)


class Upkeep:
    """The watch over schedules that are not being looked at."""

    def __init__(self, transaction: Transaction, clock: Clock, wake: Wake, tzdata: str = zone_database_version) -> None:
        self._transaction = transaction
        self._clock = clock
        self._wake = wake
        self._tzdata = tzdata

    async def recompute_next(self) -> int:
        """Compute the next slots of schedules anew that were computed with an older time zone database than ours.
        Returns how many; 0 when there are none."""
        async with self._transaction() as db:
            now = await self._clock.now(db)
            outdated = await _set_back(db, await store.outdated(db, self._tzdata, limits.recompute_batch_max), now)
            ahead = await store.skipped_ahead(db, [schedule.id for schedule in outdated], now) if outdated else {}
            recomputed = [recompute(one, now, self._tzdata, ahead.get(one.id, frozenset())) for one in outdated]
            await store.recomputed(db, recomputed)
            moved = [(a, b) for a, b in zip(outdated, recomputed, strict=True) if a.next_fire != b.next_fire]
            await record(db, *(_moved(before, after, now) for before, after in moved))
            await complete(db, [after.id for _, after in moved if after.next_fire is None], now)
        if outdated:
            log.info("slots were computed anew", schedules=len(outdated), moved=len(moved), tzdata=self._tzdata)
            self._wake.ring("schedules")
        return len(outdated)

    async def check(self) -> int:
        """Look for schedules whose slots pass unplanned. Returns how many there are: 0, while all is well."""
        async with self._transaction() as db:
            now = await self._clock.now(db)
            overdue, some = await store.overdue(db, now - _tolerance, limits.check_counted_max, limits.check_named_max)
        telemetry.schedules_overdue.set(overdue)
        if overdue:
            log.error("slots pass that nobody has planned", schedules=overdue, tolerance=f"{_tolerance}", some=some)
        return overdue


async def _set_back(db: AsyncSession, outdated: Sequence[Zoned], now: datetime) -> Sequence[Zoned]:
    """Take what was planned for the future back out of the journal: whoever holds it finds nothing to fire."""
    unplanned = await store.unplan(db, [schedule.id for schedule in outdated], now) if outdated else {}
    return [_before(schedule, unplanned.get(schedule.id)) for schedule in outdated]


def _before(schedule: Zoned, unplanned: Unplanned | None) -> Zoned:
    if unplanned is None:
        return schedule
    runs = schedule.runs - unplanned.count
    return replace(schedule, next_fire=unplanned.first, last_fire=unplanned.previous, runs=runs)


def _moved(before: Zoned, after: Recomputed, now: datetime) -> Happened:
    told = {
        "tzdata": after.tzdata,
        "next_fire": None if after.next_fire is None else rfc3339(after.next_fire),
        "before": None if before.next_fire is None else rfc3339(before.next_fire),
    }
    return Happened("schedule.recomputed", before.id, before.agent_id, now, told)
