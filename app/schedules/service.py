"""The verbs of schedules: register, replace, look ahead, look back; and keep time, which is the worker's side."""

import re
from asyncio import to_thread
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.service import Deliveries
from app.events import record
from app.kit import limits, pages
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.ids import Ids
from app.kit.preconditions import UNCONDITIONAL, Preconditions
from app.kit.wake import Wake
from app.schedules import register
from app.schedules.backfills import Backfills
from app.schedules.changes import NoChange, columns, difference, merged
from app.schedules.found import described, found, locked, timing_of
from app.schedules.journal import first_slot
from app.schedules.lifecycle import Lifecycle, change
from app.schedules.models import Fire, Schedule
from app.schedules.register import Filter
from app.schedules.runs import Runs
from app.schedules.shown import shown, shown_fire
from app.schedules.timekeeper import Timekeeper
from app.schedules.timing import Timing
from app.schedules.upkeep import Upkeep
from app.schedules.versions import happened
from app.settings import ScheduleSettings
from tocsin import previews
from tocsin.problems import Conflict, InvalidCursor, InvalidId, NotFound
from tocsin.recurrence import zone_database_version
from tocsin.schemas import schedules as wire
from tocsin.schemas.wire import Page

__all__ = ["Schedules"]

_soon = timedelta(seconds=limits.plan_soon_seconds)
_instant = timedelta(microseconds=1)
_CHOSEN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")


class Schedules:
    """Schedules and their fires. A schedule's name is its own id, or the one that its agent chose for it."""

    def __init__(
        self,
        *,
        transaction: Transaction,
        clock: Clock,
        ids: Ids,
        wake: Wake,
        deliveries: Deliveries,
        settings: ScheduleSettings,
    ) -> None:
        self._ids = ids
        self._deliveries = deliveries
        self._settings = settings
        self._timekeeper = Timekeeper(transaction, clock, wake, deliveries)
        self.runs = Runs(transaction, clock, wake, deliveries)
        self.lifecycle = Lifecycle(ids, deliveries, self.runs)
        self.backfills = Backfills(ids, deliveries)
        self.plan_next = self._timekeeper.plan_next
        self.take_over_next = self._timekeeper.take_over_next
        self.fire_next = self._timekeeper.fire_next
        self.release = self._timekeeper.release
        self.catch_up_next = self._timekeeper.catch_up_next
        self.concluded = self.runs.concluded
        self.endpoint_leaves = self.runs.endpoint_leaves
        self.time_out_next = self.runs.time_out_next
        self._upkeep = Upkeep(transaction, clock, wake)
        self.recompute_next = self._upkeep.recompute_next
        self.check = self._upkeep.check

    async def create(self, db: AsyncSession, agent_id: str, new: wire.NewSchedule, now: datetime) -> wire.Schedule:
        """Register a schedule. An instant that has just passed fires at once; one long past is refused."""
        schedule = await self._added(db, agent_id, None, new, now)
        assert schedule is not None, "without a chosen id, nothing stands in its way"
        return await described(db, schedule)

    async def put(
        self,
        db: AsyncSession,
        agent_id: str,
        name: str,
        asked: wire.NewSchedule,
        now: datetime,
        conditions: Preconditions = UNCONDITIONAL,
    ) -> tuple[wire.Schedule, bool]:
        """Make the schedule of this name be as it is asked for. Returns it, and whether it is new."""
        for _ in range(limits.put_tries_max):
            schedule = await register.find(db, agent_id, name, lock=True)
            conditions.check(schedule.version if schedule else None)
            if schedule is not None:
                await self._change(db, schedule, asked, now)
                return await described(db, schedule), False
            schedule = await self._added(db, agent_id, _chosen(name), asked, now)
            if schedule is not None:
                return await described(db, schedule), True
            # Another request has added one in between: look again, and replace that.
        raise Conflict("others add and delete this schedule at the same time; try again")

    async def patch(
        self,
        db: AsyncSession,
        agent_id: str,
        name: str,
        patch: wire.PatchSchedule,
        now: datetime,
        conditions: Preconditions = UNCONDITIONAL,
    ) -> wire.Schedule:
        """Change what the patch names."""
        schedule = await locked(db, agent_id, name, conditions)
        await self._change(db, schedule, merged(schedule.model_dump(), patch), now)
        return await described(db, schedule)

    def is_soon(self, schedule: wire.Schedule, now: datetime) -> bool:
        """Whether a schedule is due sooner than the planners may look by themselves."""
        return schedule.next_fire is not None and schedule.next_fire <= now + _soon

    async def list(self, db: AsyncSession, agent_id: str, query: wire.ScheduleQuery) -> Page[wire.Schedule]:
        """One page of an agent's schedules, oldest first."""
        rows = await register.schedules(db, agent_id, query.state, pages.decode(query.cursor), query.limit + 1)
        progress = await register.progress(db, [row.id for row in rows])
        return pages.page(rows, query.limit, lambda row: shown(row, progress[row.id]), lambda row: row.id)

    async def get(self, db: AsyncSession, agent_id: str, name: str) -> wire.Schedule:
        """One schedule."""
        return await described(db, await found(db, agent_id, name))

    async def list_fires(self, db: AsyncSession, agent_id: str, name: str, query: wire.FireQuery) -> Page[wire.Fire]:
        """One page of a schedule's journal, latest slot first. A journal outlives its schedule."""
        schedule = await register.find(db, agent_id, name)
        if schedule is None and not await register.left_behind(db, agent_id, name):
            raise NotFound("there is no such schedule")
        before = _position(pages.decode(query.cursor))
        wanted = Filter(query.state, query.kind, query.backfill, query.since, query.until, before)
        rows = await register.fires(db, schedule.id if schedule else name, wanted, query.limit + 1)
        progress = await self._deliveries.progress(db, [row.delivery_id for row in rows if row.delivery_id])
        return pages.page(rows, query.limit, lambda row: shown_fire(row, progress.get(row.delivery_id or "")), _cursor)

    async def upcoming(
        self, db: AsyncSession, agent_id: str, name: str, count: int, now: datetime
    ) -> wire.SchedulePreview:
        """The next slots of a schedule, as things stand. While it is paused: if it were resumed now."""
        schedule = await found(db, agent_id, name)
        timing, next_fire = timing_of(schedule), (await described(db, schedule)).next_fire
        ahead = await register.skipped_ahead(db, schedule.id, now)
        after = now if next_fire is None else next_fire - _instant
        found_slots = await to_thread(timing.bounded.preview, after, count + len(ahead))
        slots = [slot for slot in found_slots if slot.at not in ahead]
        left = count if schedule.max_fires is None else max(0, min(count, schedule.max_fires - schedule.fired))
        shown_slots = [] if schedule.state == "completed" else slots[:left]
        return previews.previewed(timing.bounded, shown_slots, now, lambda slot: timing.fire_at(schedule.id, slot))

    async def preview(self, asked: wire.AskedPreview, now: datetime) -> wire.SchedulePreview:
        """What a spec means, and when it would fire."""
        # A hundred slots of the worst spec take a second: other requests go on meanwhile.
        return await to_thread(previews.preview, asked, now)

    async def _added(
        self, db: AsyncSession, agent_id: str, chosen_id: str | None, new: wire.NewSchedule, now: datetime
    ) -> Schedule | None:
        """A new schedule; None when there is one under the chosen id by now."""
        recurrence = await to_thread(new.recurrence)
        asked = columns(new)
        first = first_slot(Timing(recurrence, new.starts_at, new.ends_at), now)
        await self._require_endpoints(db, agent_id, asked.get("endpoint_id"), asked.get("notify_endpoint_id"))
        await self._require_room(db, agent_id)
        schedule = Schedule(
            id=self._ids.new("sch"),
            agent_id=agent_id,
            chosen_id=chosen_id,
            **asked,
            next_fire=first,
            tzdata=zone_database_version if recurrence.zoned else None,
            created_at=now,
            updated_at=now,
        )
        try:
            is_new = await register.add(db, schedule)
        except IntegrityError as error:  # its endpoint was deleted since we looked
            raise NotFound("there is no such endpoint") from error
        if is_new:
            told = {"endpoint_id": new.endpoint_id, "spec": new.spec}
            await record(db, happened("created", schedule, now, **told))
        return schedule if is_new else None

    async def _change(self, db: AsyncSession, schedule: Schedule, asked: wire.NewSchedule, now: datetime) -> None:
        wanted = difference(schedule.model_dump(), asked)
        if isinstance(wanted, NoChange):
            return
        if "spec" in wanted.columns:
            await to_thread(asked.recurrence)
        endpoint_ids = (wanted.columns.get(name) for name in ("endpoint_id", "notify_endpoint_id"))
        await self._require_endpoints(db, schedule.agent_id, *endpoint_ids)
        await change(db, schedule, wanted, now)

    async def _require_endpoints(self, db: AsyncSession, agent_id: str, *endpoint_ids: str | None) -> None:
        for endpoint_id in filter(None, endpoint_ids):
            await self._deliveries.require_endpoint(db, agent_id, endpoint_id)

    async def _require_room(self, db: AsyncSession, agent_id: str) -> None:
        """Refuse one schedule too many."""
        most = self._settings.per_agent_max
        present = await register.count(db, agent_id, most)
        if most - limits.schedule_writers_max <= present < most:
            # So near to the bound, those that are being added at this moment count, too.
            await register.take_turns(db, agent_id)
            present = await register.count(db, agent_id, most)
        if present >= most:
            raise Conflict(f"an agent has at most {most} schedules here; delete one first")


def _chosen(name: str) -> str:
    """The id that an agent chose. Raises InvalidId, and NotFound for one of ours that is none."""
    if name.startswith(register.OWN_IDS):
        raise NotFound(f"there is no such schedule, and ids that begin with {register.OWN_IDS} are made by the relay")
    if not _CHOSEN_ID.fullmatch(name):
        raise InvalidId
    return name


def _cursor(fire: Fire) -> str:
    return f"{fire.scheduled_at.isoformat()} {fire.kind}"


def _position(cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    moment, _, kind = cursor.partition(" ")
    try:
        return datetime.fromisoformat(moment).astimezone(UTC), kind
    except (ValueError, OverflowError) as error:
        raise InvalidCursor from error
