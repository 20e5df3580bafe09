"""The verbs of schedules: register, look ahead, list, delete; and keep time, which is the worker's side."""

import json
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.service import Deliveries
from app.events import Happened, record
from app.kit import limits, pages
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.ids import Ids
from app.kit.operations import require
from app.kit.wake import Wake
from app.schedules import store
from app.schedules.models import Fire, Schedule
from app.schedules.runs import Runs
from app.schedules.store import Progress
from app.schedules.timekeeper import Timekeeper, skipped
from tocsin.problems import BadRecurrence, Conflict, InvalidCursor
from tocsin.recurrence import Recurrence, zone_database_version
from tocsin.schemas import schedules as wire
from tocsin.schemas.wire import Page, rfc3339

__all__ = ["Schedules"]

_soon = timedelta(seconds=limits.plan_soon_seconds)
_past = timedelta(seconds=limits.schedule_past_seconds)


class Schedules:
    """Schedules and their fires."""

    def __init__(self, *, transaction: Transaction, clock: Clock, ids: Ids, wake: Wake, deliveries: Deliveries) -> None:
        self._ids = ids
        self._deliveries = deliveries
        self._timekeeper = Timekeeper(transaction, clock, wake, deliveries)
        self.plan_next = self._timekeeper.plan_next
        self.take_over_next = self._timekeeper.take_over_next
        self.fire_next = self._timekeeper.fire_next
        self.release = self._timekeeper.release
        self.catch_up_next = self._timekeeper.catch_up_next
        self._runs = Runs(transaction, clock, wake)
        self.concluded = self._runs.concluded
        self.time_out_next = self._runs.time_out_next

    async def create(self, db: AsyncSession, agent_id: str, new: wire.NewSchedule, now: datetime) -> wire.Schedule:
        """Register a schedule. An instant that has just passed fires at once; one long past is refused."""
        first = _first(new.recurrence(), now)
        await self._deliveries.require_endpoint(db, agent_id, new.endpoint_id)
        if await store.count(db, agent_id, limits.schedules_per_agent_max) >= limits.schedules_per_agent_max:
            raise Conflict(f"an agent has at most {limits.schedules_per_agent_max} schedules; delete one first")
        schedule = Schedule(
            id=self._ids.new("sch"),
            agent_id=agent_id,
            endpoint_id=new.endpoint_id,
            name=new.name,
            spec=new.spec,
            payload=wire.payload_text(new.payload),
            next_fire=first,
            created_at=now,
            updated_at=now,
        )
        db.add(schedule)
        await db.flush()
        told = {"endpoint_id": new.endpoint_id, "spec": new.spec, "next_fire": rfc3339(first)}
        await record(db, Happened("schedule.created", schedule.id, agent_id, now, told))
        return _shown(schedule, Progress())

    def is_soon(self, schedule: wire.Schedule, now: datetime) -> bool:
        """Whether a new schedule is due sooner than the planners may look by themselves."""
        return schedule.next_fire is not None and schedule.next_fire <= now + _soon

    async def list(self, db: AsyncSession, agent_id: str, query: wire.ScheduleQuery) -> Page[wire.Schedule]:
        """One page of an agent's schedules, oldest first."""
        rows = await store.schedules(db, agent_id, query.state, pages.decode(query.cursor), query.limit + 1)
        progress = await store.progress(db, [row.id for row in rows])
        return pages.page(rows, query.limit, lambda row: _shown(row, progress[row.id]), lambda row: row.id)

    async def get(self, db: AsyncSession, agent_id: str, schedule_id: str) -> wire.Schedule:
        """One schedule."""
        schedule = require(await store.schedule(db, agent_id, schedule_id), "schedule")
        return _shown(schedule, (await store.progress(db, [schedule_id]))[schedule_id])

    async def delete(self, db: AsyncSession, agent_id: str, schedule_id: str, now: datetime) -> None:
        """Remove a schedule. What was planned of it does not fire any more; its journal stays."""
        require(await store.schedule(db, agent_id, schedule_id), "schedule")
        dropped = await store.delete(db, schedule_id)
        told = (skipped(fire.id, agent_id, schedule_id, fire.scheduled_at, "deleted", now) for fire in dropped)
        await record(db, Happened("schedule.deleted", schedule_id, agent_id, now), *told)

    async def list_fires(
        self, db: AsyncSession, agent_id: str, schedule_id: str, query: wire.FireQuery
    ) -> Page[wire.Fire]:
        """One page of a schedule's journal, latest slot first."""
        require(await store.schedule(db, agent_id, schedule_id), "schedule")
        before = _position(pages.decode(query.cursor))
        rows = await store.fires(db, schedule_id, query.state, before, query.limit + 1)
        return pages.page(rows, query.limit, _shown_fire, lambda row: row.scheduled_at.isoformat())

    def preview(self, asked: wire.AskedPreview, now: datetime) -> wire.SchedulePreview:
        """What a spec means, and when it would fire."""
        recurrence = asked.recurrence()
        fires = [
            wire.PreviewedFire(
                scheduled_at=occurrence.at,
                local=occurrence.local.isoformat(timespec="milliseconds"),
                shift=occurrence.shift.value if occurrence.shift else None,
            )
            for occurrence in recurrence.preview(asked.after or now, asked.count)
        ]
        return wire.SchedulePreview(
            explanation=recurrence.explain(), fires=fires, warnings=[], timezone_database=zone_database_version
        )


def _first(recurrence: Recurrence, now: datetime) -> datetime:
    """The first slot of a new schedule. Raises BadRecurrence when there is none."""
    first = recurrence.next_after(now)
    if first is None:
        # An instant that passed on its way here was still meant: clocks differ, and requests take their time.
        first = recurrence.next_after(now - _past)
    if first is None:
        raise BadRecurrence.at(
            "/spec",
            f"has no slot after {rfc3339(now - _past)}: give an instant in the future, or a time that will come",
        )
    return first


def _position(cursor: str | None) -> datetime | None:
    if cursor is None:
        return None
    try:
        return datetime.fromisoformat(cursor).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidCursor from error


def _shown(schedule: Schedule, progress: Progress) -> wire.Schedule:
    """A schedule as an agent sees it: a slot that is planned but has not fired is still to come."""
    return wire.Schedule.model_validate(
        {
            **schedule.model_dump(include=_SHOWN),
            "payload": json.loads(schedule.payload),
            "next_fire": progress.next_planned or schedule.next_fire,
            "last_fire": progress.last_fired,
            "runs": schedule.runs - progress.planned,
            "skipped": {},
        }
    )


_SHOWN = {
    "id",
    "chosen_id",
    "name",
    "spec",
    "endpoint_id",
    "starts_at",
    "ends_at",
    "max_fires",
    "overlap",
    "buffer_max",
    "misfire",
    "catch_up_max",
    "completion",
    "notify_endpoint_id",
    "state",
    "pause_reason",
    "paused_at",
    "version",
    "give_ups",
    "created_at",
    "updated_at",
}


def _shown_fire(fire: Fire) -> wire.Fire:
    lateness = None if fire.fired_at is None else (fire.fired_at - fire.scheduled_at) // timedelta(milliseconds=1)
    return wire.Fire.model_validate({**fire.model_dump(include=_SHOWN_FIRE), "lateness_ms": lateness})


_SHOWN_FIRE = {
    "id",
    "schedule_id",
    "kind",
    "scheduled_at",
    "fire_at",
    "state",
    "reason",
    "until",
    "run",
    "fired_at",
    "message_id",
    "delivery_id",
    "attempts",
    "completed_at",
}
