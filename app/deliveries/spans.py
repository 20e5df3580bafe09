"""SQL of recoveries: which deliveries of a span of time are to be sent again, and how far that has got."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from app.deliveries.models import Recovery
from app.kit import limits
from app.kit.ids import first_of
from app.kit.sql import sql


@dataclass(frozen=True, slots=True)
class Batch:
    """Deliveries that match, in the order of their ids, and up to which one that is all."""

    ids: Sequence[str]
    position: str | None  # null: there is nothing after these

    @property
    def ends(self) -> bool:
        return self.position is None


async def add(db: AsyncSession, recovery: Recovery) -> None:
    """Store a recovery."""
    db.add(recovery)
    await db.flush()


async def recovery(db: AsyncSession, agent_id: str, recovery_id: str, *, lock: bool = False) -> Recovery | None:
    """This agent's recovery."""
    question = select(Recovery).where(col(Recovery.id) == recovery_id, col(Recovery.agent_id) == agent_id)
    return await db.scalar(question.with_for_update() if lock else question)


async def recoveries(
    db: AsyncSession, agent_id: str, state: str | None, before: str | None, limit: int
) -> Sequence[Recovery]:
    """An agent's recoveries, newest first."""
    question = select(Recovery).where(col(Recovery.agent_id) == agent_id)
    if state is not None:
        question = question.where(col(Recovery.state) == state)
    if before is not None:
        question = question.where(col(Recovery.id) < before)
    return (await db.scalars(question.order_by(col(Recovery.id).desc()).limit(limit))).all()


async def running(db: AsyncSession, agent_id: str) -> int:
    """How many recoveries of an agent are running. Others that ask wait until this transaction has ended."""
    await db.execute(sql("select from agents where id = :id for no key update"), {"id": agent_id})
    question = select(func.count()).select_from(Recovery)
    question = question.where(col(Recovery.agent_id) == agent_id, col(Recovery.state) == "running")
    return (await db.scalars(question)).one()


async def forget_ended(db: AsyncSession, before: datetime) -> int:
    """Drop recoveries that have ended before then. Returns how many."""
    return len((await db.execute(sql("delete from recoveries where ended_at < :at returning 1"), {"at": before})).all())


async def next_due(db: AsyncSession, now: datetime) -> Recovery | None:
    """The recovery that is most overdue, locked. One that another worker is at is passed by."""
    question = select(Recovery).where(col(Recovery.due_at) <= now).order_by(col(Recovery.due_at)).limit(1)
    return await db.scalar(question.with_for_update(skip_locked=True))


async def matching(db: AsyncSession, recovery: Recovery, *, looked_max: int, limit: int) -> Batch:
    """The next deliveries that a recovery is about: that had concluded, in one of its states, when it was made.

    Looks at `looked_max` deliveries at most. What this or another recovery has sent since does not match any more.
    """
    # What a partial index holds is asked of that, and all else of what was found by it.
    narrow = "" if "delivered" in recovery.states else "and state <> 'delivered'"
    looked = f"""
        select id, state, endpoint_id, message_id, concluded_at from deliveries
        where agent_id = :agent and id >= :since and id < :until and id > :position {narrow}
        order by id limit :looked
    """
    statement = sql(
        f"""
        select d.id from ({looked}) d left join messages m on m.id = d.message_id
        where d.state in (select json_array_elements_text(cast(:states as json))) and d.concluded_at <= :made
            and (cast(:endpoint as text) is null or d.endpoint_id = :endpoint)
            and (cast(:type as text) is null or m.type = :type)
        order by d.id limit :limit
        """
    )
    span = {
        "agent": recovery.agent_id,
        "since": first_of("dlv", recovery.since),
        "until": first_of("dlv", recovery.until),
        "position": recovery.position or "",
        "looked": looked_max,
    }
    wanted = {
        "states": orjson.dumps(recovery.states).decode(),
        "made": recovery.created_at,
        "endpoint": recovery.endpoint_id,
        "type": recovery.type,
        "limit": limit,
    }
    ids = list((await db.execute(statement, {**span, **wanted})).scalars())
    if len(ids) == limit:
        return Batch(ids, ids[-1])
    last = sql(f"select id from ({looked}) looked order by id offset :looked - 1")
    return Batch(ids, await db.scalar(last, span))


def batch_of(rate_per_second: float) -> int:
    """How many are sent in one go, so that a batch is a second's worth or a single one."""
    return max(1, min(limits.recovery_batch_max, int(rate_per_second)))
