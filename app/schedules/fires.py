"""SQL of fires whose time comes: who holds them, and what became of them. Nothing here commits or decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.kit import limits
from app.kit.sql import sql
from app.schedules.firing import Ripe
from app.schedules.holding import Held

_lease = timedelta(seconds=limits.fire_lease_seconds)
_overdue = timedelta(seconds=limits.overdue_seconds)

# As `Ripe.is_guarded`.
_GUARDED = """(
    t.outstanding or t.overlap <> 'allow' or s.overlap <> 'allow'
    or (t.kind = 'auto' and (s.max_fires is not null or s.next_fire is null))
) is true"""


# Holding


async def take_over(db: AsyncSession, now: datetime, limit: int) -> list[Held]:
    """Hold the fires that nobody holds: whose holders let their leases end, or whose jitter is nearly over."""
    statement = sql(
        f"""
        with due as materialized (
            select id from fires where due_at <= :now and not late
            order by due_at limit :limit for update skip locked
        ), taken as (
            -- A lease counts from the time of the fire: until then there is nothing that its holder could fail to do.
            update fires f set due_at = greatest(:now, f.fire_at) + cast(:lease as interval), attempts = f.attempts + 1
            from due where f.id = due.id returning f.fire_at, f.id, f.attempts, f.schedule_id, f.overlap,
                f.kind, f.outstanding
        )
        select t.fire_at, t.id, t.attempts, t.schedule_id, {_GUARDED}
        from taken t left join schedules s on s.id = t.schedule_id
        """
    )
    return [Held(*row) for row in await db.execute(statement, {"now": now, "limit": limit, "lease": _lease})]


async def take_late(db: AsyncSession, now: datetime, limit: int) -> list[Held]:
    """Hold late fires, the longest waiting first; none at all while a live one is overdue, whoever holds it."""
    is_any = text("select exists (select from fires where due_at <= :now and late)")
    if not (await db.execute(is_any, {"now": now})).scalar_one():
        return []
    statement = sql(
        f"""
        with due as materialized (
            select id from fires where due_at <= :now and late and not exists (
                -- Of those that are held, the lease of an overdue one ends sooner than that of any that is to come.
                -- One that has waited for its turn is not overdue.
                select from fires where due_at <= :held_until and not late and fire_at < :overdue and not outstanding
            )
            -- What an outage left was planned in one go, and is due at one time: its own times say what comes first.
            order by due_at, fire_at limit :limit for update skip locked
        ), taken as (
            update fires f set due_at = :now + cast(:lease as interval), attempts = f.attempts + 1
            from due where f.id = due.id returning f.fire_at, f.id, f.attempts, f.schedule_id, f.overlap,
                f.kind, f.outstanding
        )
        select t.fire_at, t.id, t.attempts, t.schedule_id, {_GUARDED}
        from taken t left join schedules s on s.id = t.schedule_id
        """
    )
    overdue = now - _overdue
    values = {"now": now, "limit": limit, "lease": _lease, "overdue": overdue, "held_until": overdue + _lease}
    return [Held(*row) for row in await db.execute(statement, values)]


async def leave(db: AsyncSession, held: Sequence[Held], now: datetime) -> None:
    """Let others take these over at once, instead of when the leases end."""
    statement = sql(
        """
        update fires f set due_at = greatest(:now, f.fire_at)
        from unnest(cast(:ids as text[]), cast(:tokens as integer[])) as mine(id, attempts)
        where f.id = mine.id and f.attempts = mine.attempts and f.state = 'planned'
        """
    )
    await db.execute(statement, {"ids": [h.id for h in held], "tokens": [h.attempts for h in held], "now": now})


# Handing over


async def guard(db: AsyncSession, schedule_ids: Sequence[str]) -> None:
    """Lock these schedules, before any fire of theirs, in the order of their ids so that nobody waits in a circle.

    What is read of them afterwards, by statements of their own, stays so until the transaction ends.
    """
    statement = sql(
        "select 1 from schedules where id = any(cast(:ids as text[])) order by id for no key update of schedules"
    )
    await db.execute(statement, {"ids": sorted(schedule_ids)})


async def ripe(db: AsyncSession, held: Sequence[Held], now: datetime) -> Sequence[Ripe]:
    """Those of these fires that are still ours and due, locked in the order of their ids."""
    statement = sql(
        """
        select f.id, f.attempts, f.agent_id, f.schedule_id, f.kind, f.version, f.scheduled_at, f.fire_at, f.run,
            f.previous, f.overlap, f.outstanding, s.chosen_id, s.version, s.state, s.next_fire, s.endpoint_id,
            s.spec::text, s.starts_at, s.ends_at, s.payload, s.overlap, s.buffer_max, s.max_fires, s.fired
        -- A fire that was planned anew since we took it may be due later than we think, and may be held twice.
        from (select distinct * from unnest(cast(:ids as text[]), cast(:tokens as integer[])) as m(id, attempts)) mine
        join fires f on f.id = mine.id and f.attempts = mine.attempts and f.state = 'planned' and f.fire_at <= :now
        left join schedules s on s.id = f.schedule_id
        order by f.id for update of f
        """
    )
    columns = {"ids": [h.id for h in held], "tokens": [h.attempts for h in held], "now": now}
    return [Ripe(*row) for row in await db.execute(statement, columns)]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What became of a fire."""

    id: str
    state: str
    reason: str | None = None
    fired_at: datetime | None = None
    message_id: str | None = None
    delivery_id: str | None = None
    outstanding: bool = False


async def conclude(db: AsyncSession, conclusions: Sequence[Conclusion]) -> None:
    """Write what became of fires that `ripe` has locked, in one statement."""
    statement = sql(
        """
        update fires f
        set state = c.state, reason = c.reason, fired_at = c.fired_at, message_id = c.message_id,
            delivery_id = c.delivery_id, outstanding = c.outstanding, due_at = null
        from jsonb_to_recordset(cast(:conclusions as jsonb)) as c(
            id text, state text, reason text, fired_at timestamptz, message_id text, delivery_id text,
            outstanding boolean
        )
        where f.id = c.id
        """
    )
    await db.execute(statement, {"conclusions": orjson.dumps(conclusions).decode()})


async def count_fired(db: AsyncSession, counts: Mapping[str, int]) -> None:
    """Count slots that fired toward the `max_fires` of their schedules, which are locked; at the last, plan no more."""
    statement = sql(
        """
        update schedules s set fired = s.fired + c.more,
            next_fire = case when s.fired + c.more >= s.max_fires then null else s.next_fire end
        from unnest(cast(:ids as text[]), cast(:counts as bigint[])) as c(id, more)
        where s.id = c.id
        """
    )
    await db.execute(statement, {"ids": list(counts), "counts": list(counts.values())})


async def complete(db: AsyncSession, schedule_ids: Sequence[str], now: datetime) -> list[tuple[str, str]]:
    """Complete those of these locked schedules that have no slot left to plan or to fire; returns them with agents."""
    statement = sql(
        """
        update schedules s set state = 'completed', updated_at = :now
        where id = any(cast(:ids as text[])) and state = 'active' and next_fire is null
            and not exists (
                select from fires where schedule_id = s.id and state in ('planned', 'buffered') and kind = 'auto'
            )
        returning id, agent_id
        """
    )
    rows = await db.execute(statement, {"ids": list(schedule_ids), "now": now})
    return [(row.id, row.agent_id) for row in rows]
