"""SQL of reading back: deliveries, their messages and their attempts."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from app.deliveries.models import Attempt, Delivery, Message


async def deliveries(
    db: AsyncSession, agent_id: str, state: str | None, endpoint_id: str | None, before: str | None, limit: int
) -> Sequence[tuple[Delivery, str, str | None]]:
    """An agent's deliveries with the types and subjects of their messages, newest first."""
    question = select(Delivery, Message.type, Message.subject).join(
        Message, col(Message.id) == col(Delivery.message_id)
    )
    question = question.where(col(Delivery.agent_id) == agent_id)
    if state is not None:
        question = question.where(col(Delivery.state) == state)
    if endpoint_id is not None:
        question = question.where(col(Delivery.endpoint_id) == endpoint_id)
    if before is not None:
        question = question.where(col(Delivery.id) < before)
    rows = await db.execute(question.order_by(col(Delivery.id).desc()).limit(limit))
    return [(row[0], row[1], row[2]) for row in rows]


async def delivery(
    db: AsyncSession, agent_id: str, delivery_id: str, *, lock: bool = False
) -> tuple[Delivery, Message] | None:
    """This agent's delivery, with its message."""
    question = select(Delivery, Message).join(Message, col(Message.id) == col(Delivery.message_id))
    question = question.where(col(Delivery.id) == delivery_id, col(Delivery.agent_id) == agent_id)
    row = (await db.execute(question.with_for_update(of=Delivery) if lock else question)).one_or_none()
    return None if row is None else (row[0], row[1])


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a delivery has got."""

    state: str
    attempts: int


async def progress(db: AsyncSession, delivery_ids: Sequence[str]) -> dict[str, Progress]:
    """The progress of each of these deliveries."""
    question = select(Delivery.id, Delivery.state, Delivery.attempts).where(col(Delivery.id).in_(delivery_ids))
    return {id_: Progress(state, attempts) for id_, state, attempts in await db.execute(question)}


async def attempts(db: AsyncSession, delivery_id: str) -> Sequence[Attempt]:
    """The recorded attempts of a delivery, oldest first."""
    question = select(Attempt).where(col(Attempt.delivery_id) == delivery_id)
    return (await db.scalars(question.order_by(col(Attempt.number)))).all()
