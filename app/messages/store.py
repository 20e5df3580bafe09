"""SQL of who takes what an agent publishes, and of what it has published."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from app.deliveries.models import Message
from app.kit.sql import sql
from app.messages.audience import Candidate


async def candidates(
    db: AsyncSession,
    sender_id: str,
    agent_ids: Sequence[str],
    endpoint_ids: Sequence[str],
    now: datetime,
    limit: int,
) -> Sequence[Candidate]:
    """Those of these agents' endpoints, and of these endpoints, that take messages from the sender, by their ids."""
    statement = sql(
        """
        select e.id, e.agent_id, cast(e.types as text) as types, cast(e.filter as text) as filter
        from endpoints e
        where (e.agent_id = any(cast(:agent_ids as text[])) or e.id = any(cast(:endpoint_ids as text[])))
            and (
                e.agent_id = :sender_id
                or e.senders @> jsonb_build_array(cast(:sender_id as text))
                -- Nobody is left who could stop what is kept for a revoked agent.
                and not exists (select from agents a where a.id = e.agent_id and a.revoked_at is not null)
            )
            and (e.expires_at is null or e.expires_at > :now)
            and e.state <> 'ended'
        order by e.id limit :limit
        """
    )
    values = {"sender_id": sender_id, "agent_ids": list(agent_ids), "endpoint_ids": list(endpoint_ids)}
    rows = await db.execute(statement, {**values, "now": now, "limit": limit})
    return [Candidate(*row) for row in rows]


async def messages(
    db: AsyncSession, sender_id: str, type_: str | None, before: str | None, limit: int
) -> Sequence[Message]:
    """What an agent has published, newest first."""
    question = select(Message).where(col(Message.sender_id) == sender_id)
    if type_ is not None:
        question = question.where(col(Message.type) == type_)
    if before is not None:
        question = question.where(col(Message.id) < before)
    return (await db.scalars(question.order_by(col(Message.id).desc()).limit(limit))).all()


async def message(db: AsyncSession, sender_id: str, message_id: str) -> Message | None:
    """One message that this agent has published."""
    question = select(Message).where(col(Message.id) == message_id, col(Message.sender_id) == sender_id)
    return (await db.scalars(question)).one_or_none()


async def counts(db: AsyncSession, delivery_ids: Sequence[str]) -> dict[str, int]:
    """How many of these deliveries are in which state."""
    statement = sql("select state, count(*) from deliveries where id = any(cast(:ids as text[])) group by state")
    return {state: number for state, number in await db.execute(statement, {"ids": list(delivery_ids)})}
