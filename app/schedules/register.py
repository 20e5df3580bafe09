"""SQL of what agents ask of schedules: changes, and reading. Times are parameters; nothing here commits or decides.

A change locks its schedule first, and then every open fire of it, in the order of their ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, ScalarSelect, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, or_, select

from app.schedules.changes import Open
from app.schedules.models import Backfill, Fire, Schedule

OWN_IDS = "sch_"
"""What the relay's own ids of schedules begin with, and no chosen one does."""


async def find(db: AsyncSession, agent_id: str, name: str, *, lock: bool = False) -> Schedule | None:
    """This agent's schedule by its own id, or by the one that the agent chose."""
    by = Schedule.id if name.startswith(OWN_IDS) else Schedule.chosen_id
    question = select(Schedule).where(col(by) == name, col(Schedule.agent_id) == agent_id)
    if lock:
        # Fresh: what this session has read before may be out of date by the time that the lock is ours.
        question = question.with_for_update(key_share=True).execution_options(populate_existing=True)
    return (await db.scalars(question)).one_or_none()


async def by_id(db: AsyncSession, schedule_id: str) -> Schedule | None:
    """A schedule of whomever, as it is in this transaction, which has locked it."""
    question = select(Schedule).where(col(Schedule.id) == schedule_id).execution_options(populate_existing=True)
    return (await db.scalars(question)).one_or_none()


async def add(db: AsyncSession, schedule: Schedule) -> bool:
    """Add a schedule, unless the agent has just added another under the chosen id."""
    statement = (
        insert(Schedule).values(schedule.model_dump()).on_conflict_do_nothing(constraint="schedules_by_chosen_id")
    )
    return (await db.execute(statement.returning(col(Schedule.id)))).one_or_none() is not None


async def count(db: AsyncSession, agent_id: str, up_to: int) -> int:
    """How many schedules an agent has; counts no further than `up_to`."""
    statement = text("select count(*) from (select 1 from schedules where agent_id = :agent limit :limit) as t")
    return (await db.execute(statement, {"agent": agent_id, "limit": up_to})).scalar_one()


async def take_turns(db: AsyncSession, agent_id: str) -> None:
    """Wait until no other transaction adds schedules of this agent's."""
    statement = text("select pg_advisory_xact_lock(hashtextextended(:key, 0))")
    await db.execute(statement, {"key": f"schedules of {agent_id}"})


# Open fires


async def lock_own(db: AsyncSession, schedule_id: str) -> Sequence[Open]:
    """The open fires of a schedule's own slots, locked; the schedule is. Who was about to hand one over has by now.

    In the order in which a worker locks them to hand them over: all at once, as two rounds could wait in a circle.
    """
    return await _lock_open(db, schedule_id, "kind = 'auto'")


async def lock_all(db: AsyncSession, schedule_id: str) -> Sequence[Open]:
    """The same, and the open fires that were triggered or backfilled."""
    return await _lock_open(db, schedule_id, "true")


async def lock_own_of(db: AsyncSession, schedule_ids: Sequence[str]) -> None:
    """The same of several schedules, before each of them is changed."""
    statement = text(
        """
        select 1 from fires
        where schedule_id = any(cast(:ids as text[])) and state in ('planned', 'buffered') and kind = 'auto'
        order by id for update
        """
    )
    await db.execute(statement, {"ids": list(schedule_ids)})


async def _lock_open(db: AsyncSession, schedule_id: str, which: str) -> Sequence[Open]:
    statement = text(
        f"""
        select id, kind, state = 'buffered' or outstanding, scheduled_at, previous from fires
        where schedule_id = :id and state in ('planned', 'buffered') and {which} order by id for update
        """
    )
    return [Open(*row) for row in await db.execute(statement, {"id": schedule_id})]


async def unplan(db: AsyncSession, fire_ids: Sequence[str]) -> None:
    """Take these fires, which we have locked, out of the journal."""
    await db.execute(text("delete from fires where id = any(cast(:ids as text[]))"), {"ids": list(fire_ids)})


async def skip(db: AsyncSession, fire_ids: Sequence[str], reason: str) -> None:
    """Let these fires, which we have locked, pass for this reason."""
    statement = text(
        """
        update fires set state = 'skipped', reason = :reason, due_at = null, outstanding = false
        where id = any(cast(:ids as text[]))
        """
    )
    await db.execute(statement, {"ids": list(fire_ids), "reason": reason})


async def carry_along(db: AsyncSession, schedule_id: str, version: int) -> None:
    """Let the open fires of a schedule's own slots, which we have locked, count as those of its new version."""
    statement = text(
        """
        update fires set version = :version
        where schedule_id = :id and state in ('planned', 'buffered') and kind = 'auto'
        """
    )
    await db.execute(statement, {"id": schedule_id, "version": version})


async def delete(db: AsyncSession, schedule_id: str) -> None:
    """Delete a schedule that has no open fires any more. Nobody waits for its runs from now on."""
    ended = text(
        """
        with running as (select id from fires where schedule_id = :id and outstanding order by id for update)
        update fires set outstanding = false, ends_by = null from running where fires.id = running.id
        """
    )
    await db.execute(ended, {"id": schedule_id})
    await db.execute(text("delete from schedules where id = :id"), {"id": schedule_id})


# Slots


async def last_slot(db: AsyncSession, schedule_id: str, now: datetime) -> datetime | None:
    """The nominal time of the latest of its own slots that has come, or that was handed over before the clock was set
    back; slots to come that were skipped in advance do not count."""
    statement = text(
        """
        select max(scheduled_at) from fires
        where schedule_id = :id and kind = 'auto' and (scheduled_at <= :now or state <> 'skipped')
        """
    )
    return (await db.execute(statement, {"id": schedule_id, "now": now})).scalar_one()


async def skipped_ahead(db: AsyncSession, schedule_id: str, now: datetime) -> set[datetime]:
    """The slots to come that are in the journal already, as skipped."""
    statement = text(
        """
        select scheduled_at from fires
        where schedule_id = :id and scheduled_at > :now and kind = 'auto' and state = 'skipped'
        """
    )
    return set((await db.execute(statement, {"id": schedule_id, "now": now})).scalars())


async def count_fired(db: AsyncSession, schedule_id: str, up_to: int) -> int:
    """How many of its own slots a schedule has fired; counts no further than `up_to`."""
    statement = text(
        """
        select count(*) from (
            select 1 from fires where schedule_id = :id and kind = 'auto' and fired_at is not null limit :limit
        ) as t
        """
    )
    return (await db.execute(statement, {"id": schedule_id, "limit": up_to})).scalar_one()


# Reading


async def schedules(
    db: AsyncSession, agent_id: str, state: str | None, after: str | None, limit: int
) -> Sequence[Schedule]:
    """An agent's schedules, oldest first."""
    question = select(Schedule).where(col(Schedule.agent_id) == agent_id)
    if state is not None:
        question = question.where(col(Schedule.state) == state)
    if after is not None:
        question = question.where(col(Schedule.id) > after)
    return (await db.scalars(question.order_by(col(Schedule.id)).limit(limit))).all()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a schedule has got, by its journal."""

    planned: int
    next_planned: datetime | None
    last_fired: datetime | None
    skipped: Mapping[str, int]


async def progress(db: AsyncSession, schedule_ids: Sequence[str]) -> dict[str, Progress]:
    """The progress of each of these schedules."""
    statement = text(
        """
        select s.id, p.planned, p.next_planned, f.scheduled_at, coalesce(k.skipped, '{}'::json)
        from unnest(cast(:ids as text[])) as s(id)
        cross join lateral (
            select count(*) as planned, min(scheduled_at) as next_planned
            from fires where schedule_id = s.id and kind = 'auto' and state = 'planned'
        ) p
        cross join lateral (
            select json_object_agg(reason, count order by reason) as skipped
            from schedule_skips where schedule_id = s.id
        ) k
        left join lateral (
            select scheduled_at from fires where schedule_id = s.id and kind = 'auto' and fired_at is not null
            order by scheduled_at desc limit 1
        ) f on true
        """
    )
    return {id_: Progress(*row) for id_, *row in await db.execute(statement, {"ids": list(schedule_ids)})}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which fires of a journal, and from where on."""

    state: str | None = None
    kind: str | None = None
    backfill: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: tuple[datetime, str] | None = None

    def conditions(self, schedule_id: str) -> list[ColumnElement[bool]]:
        wanted = [col(Fire.schedule_id) == schedule_id]
        if self.state is not None:
            wanted.append(col(Fire.state) == self.state)
        if self.kind is not None:
            wanted.append(
                col(Fire.kind) == "auto" if self.kind == "auto" else col(Fire.kind).startswith(f"{self.kind}:")
            )
        if self.backfill is not None:
            start, end = (_of_backfill(self.backfill, bound) for bound in (Backfill.range_start, Backfill.range_end))
            wanted += [col(Fire.kind) == f"backfill:{self.backfill}", col(Fire.scheduled_at).between(start, end)]
        if self.since is not None:
            # An entry that stands for slots before its `until` is about those, too.
            wanted.append(or_(col(Fire.scheduled_at) >= self.since, col(Fire.until) > self.since))
            # The same, as far as the key of the table can tell: or else it is read from its end to its beginning.
            wanted.append(col(Fire.scheduled_at) >= func.least(_first_until_after(schedule_id, self.since), self.since))
        if self.until is not None:
            wanted.append(col(Fire.scheduled_at) < self.until)
        if self.before is not None:
            wanted.append(tuple_(col(Fire.scheduled_at), col(Fire.kind)) < self.before)
        return wanted


def _first_until_after(schedule_id: str, since: datetime) -> ScalarSelect[datetime]:
    """Where the first entry lies that stands for slots up to later than `since`. There are few that stand for any."""
    entries = select(func.min(col(Fire.scheduled_at)))
    return entries.where(col(Fire.schedule_id) == schedule_id, col(Fire.until) > since).scalar_subquery()


def _of_backfill(backfill_id: str, bound: datetime) -> ScalarSelect[datetime]:
    """Where the range of a backfill begins, or ends."""
    return select(col(bound)).where(col(Backfill.id) == backfill_id).scalar_subquery()


async def fires(db: AsyncSession, schedule_id: str, wanted: Filter, limit: int) -> Sequence[Fire]:
    """The journal of a schedule, latest slot first."""
    question = select(Fire).where(*wanted.conditions(schedule_id))
    question = question.order_by(col(Fire.scheduled_at).desc(), col(Fire.kind).desc())
    return (await db.scalars(question.limit(limit))).all()


async def fire(db: AsyncSession, schedule_id: str, fire_id: str) -> Fire | None:
    """One fire of a schedule, as it is now."""
    question = select(Fire).where(col(Fire.id) == fire_id, col(Fire.schedule_id) == schedule_id)
    return (await db.scalars(question.execution_options(populate_existing=True))).one_or_none()


async def left_behind(db: AsyncSession, agent_id: str, schedule_id: str) -> bool:
    """Whether there is a journal of this agent's under the id of a schedule, which may have been deleted."""
    question = select(Fire.id).where(col(Fire.schedule_id) == schedule_id, col(Fire.agent_id) == agent_id).limit(1)
    return (await db.scalars(question)).one_or_none() is not None


# Backfills


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of a backfill's fires are in each state."""

    open: int = 0
    fired: int = 0
    skipped: int = 0
    dead: int = 0


async def backfill(db: AsyncSession, schedule_id: str, backfill_id: str) -> Backfill | None:
    """One backfill of a schedule."""
    question = select(Backfill).where(col(Backfill.id) == backfill_id, col(Backfill.schedule_id) == schedule_id)
    return (await db.scalars(question)).one_or_none()


async def backfills(db: AsyncSession, schedule_id: str, before: str | None, limit: int) -> Sequence[Backfill]:
    """The backfills of a schedule, newest first."""
    question = select(Backfill).where(col(Backfill.schedule_id) == schedule_id)
    if before is not None:
        question = question.where(col(Backfill.id) < before)
    return (await db.scalars(question.order_by(col(Backfill.id).desc()).limit(limit))).all()


async def tallies(db: AsyncSession, asked: Sequence[Backfill]) -> dict[str, Tally]:
    """How far each of these backfills has got, by the journal."""
    statement = text(
        """
        select b.id, t.* from backfills b cross join lateral (
            select count(*) filter (where state in ('planned', 'buffered')),
                count(*) filter (where state = 'fired'),
                count(*) filter (where state = 'skipped'),
                count(*) filter (where state = 'dead')
            from fires
            where schedule_id = b.schedule_id and kind = 'backfill:' || b.id
                and scheduled_at >= b.range_start and scheduled_at < b.range_end
        ) t where b.id = any(cast(:ids as text[]))
        """
    )
    rows = await db.execute(statement, {"ids": [one.id for one in asked]})
    return {id_: Tally(*counts) for id_, *counts in rows}
