"""SQL of schedules and their journal. Times are parameters; nothing here commits or decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.schedules.entries import Advanced, Entry, Plannable
from app.schedules.recomputing import Recomputed, Zoned

# Planning


_PLANNABLE = """
    id, agent_id, version, spec::text, starts_at, ends_at, jitter_seconds, next_fire, last_fire, runs, misfire,
    catch_up_max, catch_up_seconds, overlap, max_fires, created_at
"""


async def to_plan(
    db: AsyncSession, missed: datetime, soon: datetime, horizon: datetime, limit: int
) -> Sequence[Plannable]:
    """The schedules with a slot up to `horizon` that is not in the journal, locked; others skip them meanwhile.

    Without those whose slots were `missed`. None at all while nothing is due `soon`: a planner that took each slot as
    it came over the horizon would never rest.
    """
    statement = text(
        f"""
        select {_PLANNABLE} from schedules
        where state = 'active' and next_fire >= :missed and next_fire <= :horizon
            and (select min(next_fire) from schedules where state = 'active' and next_fire >= :missed) <= :soon
        order by next_fire limit :limit for no key update skip locked
        """
    )
    rows = await db.execute(statement, {"missed": missed, "soon": soon, "horizon": horizon, "limit": limit})
    return [Plannable(*row) for row in rows]


async def to_recover(db: AsyncSession, missed: datetime, limit: int) -> Sequence[Plannable]:
    """The schedules with a slot from before `missed` that is not in the journal, locked; others skip them meanwhile."""
    statement = text(
        f"""
        select {_PLANNABLE} from schedules where state = 'active' and next_fire < :missed
        order by next_fire limit :limit for no key update skip locked
        """
    )
    return [Plannable(*row) for row in await db.execute(statement, {"missed": missed, "limit": limit})]


async def journal(db: AsyncSession, entries: Sequence[Entry]) -> set[str]:
    """Write these slots into the journal, in one statement; returns the ids of those that were not in it."""
    if not entries:
        return set()
    statement = text(
        """
        insert into fires select * from json_populate_recordset(null::fires, cast(:entries as json))
        on conflict do nothing returning id
        """
    )
    # One JSON text instead of fifteen arrays: at thousands of slots a second, that is most of a planner's time.
    rows = await db.execute(statement, {"entries": orjson.dumps(entries).decode()})
    return set(rows.scalars())


async def skip_counts(db: AsyncSession, counts: Mapping[tuple[str, str], int]) -> None:
    """Add to how many journal entries were skipped, by schedule and reason; what is deleted counts no more.

    After schedules and fires have been locked, and in the order of the keys, so that nobody waits in a circle.
    """
    if not counts:
        return
    statement = text(
        """
        insert into schedule_skips as s (schedule_id, reason, count)
        select id, reason, more
        from unnest(cast(:ids as text[]), cast(:reasons as text[]), cast(:counts as bigint[]))
            as new(schedule_id, reason, more)
        join schedules on schedules.id = new.schedule_id
        order by schedule_id, reason for key share of schedules
        on conflict (schedule_id, reason) do update set count = s.count + excluded.count
        """
    )
    keys = sorted(counts)
    columns = {
        "ids": [schedule_id for schedule_id, _ in keys],
        "reasons": [reason for _, reason in keys],
        "counts": [counts[key] for key in keys],
    }
    await db.execute(statement, columns)


@dataclass(frozen=True, slots=True)
class Unplanned:
    """What was taken back out of the journal: the earliest such slot, the fire before it, and how many there were."""

    first: datetime
    previous: datetime | None
    count: int


async def unplan(db: AsyncSession, schedule_ids: Sequence[str], now: datetime) -> dict[str, Unplanned]:
    """Take the slots that were planned for the future back out of the journal: to be planned anew, or never.

    Of schedules that are locked. The caller sets `next_fire`, `last_fire` and `runs` back; nobody was told of them, and
    a worker that holds one finds nothing to fire.
    """
    statement = text(
        """
        with planned as (
            select id from fires
            where schedule_id = any(cast(:ids as text[])) and state = 'planned' and kind = 'auto'
                -- One that has its turn came before the clock was set back. Others wait for it.
                and scheduled_at > :now and not outstanding
            order by id for update
        ), gone as (
            delete from fires using planned where fires.id = planned.id returning schedule_id, scheduled_at, previous
        )
        select schedule_id, min(scheduled_at), (array_agg(previous order by scheduled_at))[1], count(*) from gone
        group by schedule_id
        """
    )
    rows = await db.execute(statement, {"ids": list(schedule_ids), "now": now})
    return {schedule_id: Unplanned(first, previous, count) for schedule_id, first, previous, count in rows}


async def advance(db: AsyncSession, advanced: Sequence[Advanced]) -> None:
    """Write how far these schedules have been planned, in one statement."""
    if not advanced:
        return
    statement = text(
        """
        update schedules s set state = p.state, next_fire = p.next_fire, last_fire = p.last_fire, runs = p.runs,
            pause_reason = p.pause_reason, paused_at = p.paused_at
        from json_populate_recordset(null::schedules, cast(:advanced as json)) as p
        where s.id = p.id
        """
    )
    await db.execute(statement, {"advanced": orjson.dumps(advanced).decode()})


# Upkeep


async def outdated(db: AsyncSession, tzdata: str, limit: int) -> Sequence[Zoned]:
    """Schedules whose next slots were computed with an older time zone database, locked."""
    # Only older: beside a worker that is newer than us, we would take turns for ever.
    statement = text(
        """
        select id, agent_id, spec::text, starts_at, ends_at, jitter_seconds, next_fire, last_fire, runs from schedules
        where tzdata < :tzdata order by tzdata limit :limit for no key update skip locked
        """
    )
    return [Zoned(*row) for row in await db.execute(statement, {"tzdata": tzdata, "limit": limit})]


async def skipped_ahead(db: AsyncSession, schedule_ids: Sequence[str], now: datetime) -> dict[str, set[datetime]]:
    """The slots to come of each of these schedules that are in the journal already, as skipped."""
    statement = text(
        """
        select schedule_id, scheduled_at from fires
        where schedule_id = any(cast(:ids as text[])) and scheduled_at > :now and kind = 'auto' and state = 'skipped'
        """
    )
    ahead: dict[str, set[datetime]] = {}
    for schedule_id, slot in await db.execute(statement, {"ids": list(schedule_ids), "now": now}):
        ahead.setdefault(schedule_id, set()).add(slot)
    return ahead


async def recomputed(db: AsyncSession, recomputed: Sequence[Recomputed]) -> None:
    """Write what our time zone database says of these locked schedules, in one statement."""
    if not recomputed:
        return
    statement = text(
        """
        update schedules s set next_fire = p.next_fire, last_fire = p.last_fire, runs = p.runs, tzdata = p.tzdata
        from json_populate_recordset(null::schedules, cast(:recomputed as json)) as p
        where s.id = p.id
        """
    )
    await db.execute(statement, {"recomputed": orjson.dumps(recomputed).decode()})


async def overdue(db: AsyncSession, before: datetime, counted: int, named: int) -> tuple[int, Sequence[str]]:
    """How many schedules have a slot from before this time that is not in the journal, counted up to a bound; and the
    ids of a few, the most overdue first."""
    statement = text(
        "select id from schedules where state = 'active' and next_fire < :before order by next_fire limit :limit"
    )
    ids = list((await db.execute(statement, {"before": before, "limit": counted})).scalars())
    return len(ids), ids[:named]
