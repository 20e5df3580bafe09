"""Deliveries that end without an attempt: cancelled, expunged or expired. Told as all others are."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import order
from app.deliveries.conclusions import Concluded, Conclusions
from app.events import Happened, record

__all__ = ["Ended", "endpoint_deleted", "happened", "tell_of"]

endpoint_deleted = "the endpoint was deleted"  # why what was on its way to it is cancelled


class Ended(NamedTuple):
    """A delivery that has ended, or has begun again."""

    id: str
    agent_id: str
    endpoint_id: str
    message_id: str
    order_key: str | None
    subject: str | None

    @property
    def key(self) -> order.Key | None:
        """What it is ordered by."""
        return None if self.order_key is None else (self.endpoint_id, self.order_key)


async def tell_of(
    db: AsyncSession,
    conclusions: Conclusions,
    ended: Sequence[Ended],
    state: Literal["failed", "cancelled"],
    reason: str,
    now: datetime,
) -> bool:
    """Pass on that these have ended, in the transaction in which they did, with their keys locked: to those that waited
    behind them, and to who listens. True: ring "schedules" after the commit."""
    await order.release_next(db, {each.key for each in ended if each.key is not None}, now)
    told = await conclusions.tell(db, [Concluded(e.subject, e.id, state) for e in ended if e.subject is not None], now)
    await record(db, *(happened(each, state, reason, now) for each in ended))
    return told


def happened(ended: Ended, state: str, reason: str, now: datetime) -> Happened:
    """What goes into the journal."""
    data = {"state": state, "endpoint_id": ended.endpoint_id, "message_id": ended.message_id, "reason": reason}
    return Happened("delivery.concluded", ended.id, ended.agent_id, now, data)
