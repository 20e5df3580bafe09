"""SQL of runs: which are outstanding, which fires wait for them, and whose turn it is. Schedules are locked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.schedules.overlap import Tally

# Of schedules


async def tallies(db: AsyncSession, schedule_ids: Sequence[str]) -> dict[str, Tally]:
    """What each of these schedules has under way."""
    statement = text(
        """
        select s.id, s.fired,
            (select count(*) from fires where schedule_id = s.id and outstanding),
            (select count(*) from fires where schedule_id = s.id and state = 'buffered' and kind = 'auto'),
            (select count(*) from fires where schedule_id = s.id and state = 'buffered' and kind <> 'auto')
        from schedules s where id = any(cast(:ids as text[]))
        """
    )
    rows = await db.execute(statement, {"ids": list(schedule_ids)})
    return {
        id_: Tally(outstanding, buffered, backfill_buffered, fired)
        for id_, fired, outstanding, buffered, backfill_buffered in rows
    }


async def pass_on(db: AsyncSession, schedule_ids: Sequence[str], now: datetime) -> int:
    """Let go the fire that has waited first, of each of these schedules that has no run outstanding any more.

    Its own slots come before those of a backfill. It holds the turn from now on. Returns how many were let go; ring
    "schedules" after the commit.
    """
    statement = text(
        """
        with free as (
            select id, version from schedules s
            where id = any(cast(:ids as text[]))
                and not exists (select from fires where schedule_id = s.id and outstanding)
        ), following as (
            select first.id, free.version from free cross join lateral (
                select id from fires where schedule_id = free.id and state = 'buffered'
                order by kind <> 'auto', scheduled_at limit 1
            ) first
        )
        update fires f set state = 'planned', outstanding = true, due_at = :now, version = following.version
        from following where f.id = following.id returning f.id
        """
    )
    rows = await db.execute(statement, {"ids": list(schedule_ids), "now": now})
    return len(rows.all())


# Of fires


async def concerned(db: AsyncSession, fire_ids: Sequence[str], failed: Sequence[str]) -> dict[str, str]:
    """Those of these fires whose deliveries concluded that this changes, with their schedules. Locks nothing.

    Those that failed, those that others wait for, those that had been given up, and those after which a count of such
    ends. For all others, which are nearly all, this look is all there is to do.
    """
    statement = text(
        """
        select f.id, f.schedule_id
        from unnest(cast(:ids as text[])) as subject(id)
        join fires f on f.id = subject.id
        left join schedules s on s.id = f.schedule_id
        where f.outstanding or f.state = 'dead' or f.id = any(cast(:failed as text[])) or s.give_ups > 0
        """
    )
    rows = await db.execute(statement, {"ids": list(fire_ids), "failed": list(failed)})
    return {id_: schedule_id for id_, schedule_id in rows}


async def concerned_by_deletion(db: AsyncSession, endpoint_id: str, fire_ids: Sequence[str]) -> Sequence[str]:
    """The schedules that ring this endpoint, and those of these fires."""
    statement = text(
        """
        select id from schedules where endpoint_id = :endpoint
        union select schedule_id from fires where id = any(cast(:ids as text[]))
        """
    )
    return list((await db.execute(statement, {"endpoint": endpoint_id, "ids": list(fire_ids)})).scalars())


@dataclass(frozen=True, slots=True)
class Run:
    """A fire that was handed over, locked, with its schedule as it is (None: there is none any more)."""

    id: str
    agent_id: str
    schedule_id: str
    scheduled_at: datetime
    state: str
    reason: str | None
    is_outstanding: bool
    ends_by: datetime | None
    completion: str | None
    completion_seconds: int | None
    pause_after: int | None
    give_ups: int | None

    def is_over(self, now: datetime) -> bool:
        """Whether the time for its report is up."""
        return self.ends_by is not None and self.ends_by <= now


_RUN = """
    f.id, f.agent_id, f.schedule_id, f.scheduled_at, f.state, f.reason, f.outstanding, f.ends_by,
    s.completion, s.completion_seconds, s.pause_after, s.give_ups
"""


async def runs(db: AsyncSession, fire_ids: Sequence[str]) -> list[Run]:
    """These fires, if they were handed over, locked in the order of their ids."""
    statement = text(
        f"""
        select {_RUN} from fires f left join schedules s on s.id = f.schedule_id
        where f.id = any(cast(:ids as text[])) and f.state in ('fired', 'dead') and f.message_id is not null
        order by f.id for update of f
        """
    )
    return [Run(*row) for row in await db.execute(statement, {"ids": list(fire_ids)})]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a run is from now on."""

    id: str
    state: str
    reason: str | None
    outstanding: bool
    ends_by: datetime | None
    completed_at: datetime | None


async def settle(db: AsyncSession, standings: Sequence[Standing]) -> None:
    """Write what these locked runs are from now on. A run ends once: the first time stays."""
    statement = text(
        """
        update fires f set state = r.state, reason = r.reason, outstanding = r.outstanding, ends_by = r.ends_by,
            completed_at = coalesce(f.completed_at, r.completed_at)
        from jsonb_to_recordset(cast(:standings as jsonb)) as r(
            id text, state text, reason text, outstanding boolean, ends_by timestamptz, completed_at timestamptz
        )
        where f.id = r.id
        """
    )
    await db.execute(statement, {"standings": orjson.dumps(standings).decode()})


async def running_out(db: AsyncSession, now: datetime, limit: int) -> dict[str, str]:
    """The runs that nobody reported in time, with their schedules. Locks nothing."""
    statement = text(
        """
        select id, schedule_id from fires where outstanding and ends_by <= :now order by ends_by limit :limit
        """
    )
    rows = await db.execute(statement, {"now": now, "limit": limit})
    return {id_: schedule_id for id_, schedule_id in rows}


async def count_give_ups(db: AsyncSession, counts: Sequence[tuple[str, int]]) -> None:
    """Write how many deliveries in a row were given up, of locked schedules."""
    statement = text(
        """
        update schedules s set give_ups = c.give_ups
        from unnest(cast(:ids as text[]), cast(:counts as integer[])) as c(id, give_ups) where s.id = c.id
        """
    )
    await db.execute(statement, {"ids": [id_ for id_, _ in counts], "counts": [count for _, count in counts]})
