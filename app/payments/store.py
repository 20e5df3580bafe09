"""Payments in Postgres. Whoever holds a payment's lease is the only one who settles or performs it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from app.payments.models import Payment
from app.payments.settlements import MOVES, State, Tender


async def reserve(db: AsyncSession, payment: Payment) -> bool:
    """Bind this payment to its request. False: it is bound already, or another one pays for the same idempotency key.

    What was refused moved no money, and what no facilitator has seen cannot have: a new reservation takes its place.
    """
    await db.execute(delete(Payment).where(*_same_authorization(payment), col(Payment.state) == State.REFUSED))
    if payment.idempotency_key is not None:
        await db.execute(delete(Payment).where(*_other_for_key(payment), col(Payment.state) == State.RESERVED))
    new = insert(Payment).values(payment.model_dump()).on_conflict_do_nothing().returning(col(Payment.id))
    return (await db.execute(new)).first() is not None


async def withdraw(db: AsyncSession, payment: Payment) -> None:
    """Take a reservation back that was made in this very transaction."""
    await db.execute(delete(Payment).where(col(Payment.id) == payment.id))


async def presented(db: AsyncSession, tender: Tender) -> Payment | None:
    """The payment that this tender was reserved as, locked until the transaction ends."""
    question = select(Payment).where(*_same_authorization(tender)).with_for_update()
    return (await db.execute(question)).scalars().one_or_none()


async def held(db: AsyncSession, payment: Payment) -> Payment | None:
    """The payment as it stands, locked, if its lease is still the one given."""
    question = select(Payment).where(col(Payment.id) == payment.id, col(Payment.attempts) == payment.attempts)
    return (await db.execute(question.with_for_update())).scalars().one_or_none()


async def move(db: AsyncSession, payment: Payment, state: State, **changes: Any) -> None:
    """Bring a locked payment into another state, together with these columns."""
    assert state in MOVES[State(payment.state)], f"{payment.id}: {payment.state} cannot become {state}"
    payment.sqlmodel_update({"state": state, **changes})
    db.add(payment)
    await db.flush()


async def hold(db: AsyncSession, payment: Payment, until: datetime) -> Payment:
    """Take the lease of a locked payment."""
    payment.sqlmodel_update({"attempts": payment.attempts + 1, "due_at": until})
    db.add(payment)
    await db.flush()
    return payment


async def of_agent(db: AsyncSession, agent_id: str, before: str | None, limit: int) -> Sequence[Payment]:
    """An agent's payments, newest first, at most `limit`, older than the one of id `before`."""
    question = select(Payment).where(col(Payment.agent_id) == agent_id)
    if before is not None:
        question = question.where(col(Payment.id) < before)
    return (await db.execute(question.order_by(col(Payment.id).desc()).limit(limit))).scalars().all()


async def get(db: AsyncSession, agent_id: str, payment_id: str) -> Payment | None:
    """The agent's payment of that id."""
    question = select(Payment).where(col(Payment.id) == payment_id, col(Payment.agent_id) == agent_id)
    return (await db.execute(question)).scalars().one_or_none()


def _other_for_key(this: Payment) -> tuple[Any, ...]:
    return (
        col(Payment.agent_id) == this.agent_id,
        col(Payment.idempotency_key) == this.idempotency_key,
        col(Payment.nonce) != this.nonce,
    )


def _same_authorization(this: Payment | Tender) -> tuple[Any, ...]:
    return (
        col(Payment.network) == this.network,
        col(Payment.asset) == this.asset,
        col(Payment.payer) == this.payer,
        col(Payment.nonce) == this.nonce,
    )
