"""Messages, and how they are set on their way: in the transaction of whoever has something to say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import store
from app.deliveries.courier import Courier
from app.deliveries.store import Addressed, Departure, NewMessage
from app.kit.ids import Ids
from tocsin.schemas.webhooks import Webhook

__all__ = ["Dispatched", "Outgoing", "Sending", "Sent"]


@dataclass(frozen=True)
class Outgoing:
    """A message to send: compact UTF-8 JSON with type, timestamp and data, to endpoints of any agents."""

    type: str
    body: bytes
    endpoint_ids: Sequence[str]
    agent_id: str | None = None
    # What it is about, such as a fire's id: who listens is told what became of it.
    subject: str | None = None
    # Those of one key arrive at each endpoint one after the other, in the order in which they were sent.
    order_key: str | None = None

    @classmethod
    def of(cls, ring: Webhook, endpoint_ids: Sequence[str], agent_id: str | None = None) -> Self:
        """A ring, serialised once for all its recipients."""
        body = ring.model_dump_json().encode()
        return cls(str(ring.model_dump()["type"]), body, endpoint_ids, agent_id)


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that is on its way, by these deliveries; without those to endpoints that are no more."""

    message_id: str
    delivery_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Dispatched:
    """Messages that are on their way as soon as the transaction has committed; then call `take_off`."""

    sent: Sequence[Sent]
    take_off: Callable[[], None]


class Sending:
    """Sets messages on their way."""

    def __init__(self, ids: Ids, courier: Courier) -> None:
        self._ids = ids
        self._courier = courier

    async def send(self, db: AsyncSession, outgoing: Sequence[Outgoing], now: datetime) -> list[Sent]:
        """Set these messages on their way, as part of the caller's transaction; returns them in the same order.

        Ring "deliveries" after the commit. Endpoints that are no more are left out.
        """
        messages, addressed = self._prepared(outgoing)
        return _sent(messages, await store.add(db, messages, addressed, now)) if messages else []

    async def dispatch(self, db: AsyncSession, outgoing: Sequence[Outgoing], now: datetime) -> Dispatched:
        """As `send`; but what this process can carry at once is claimed with it, and takes off without a look.

        Call `take_off` after the commit, instead of ringing. Do not call it when there was no commit.
        """
        messages, addressed = self._prepared(outgoing)
        if not messages:
            return Dispatched((), _nothing)
        departures, take_off = await self._courier.dispatch(db, messages, addressed, now)
        return Dispatched(_sent(messages, departures), take_off)

    def _prepared(self, outgoing: Sequence[Outgoing]) -> tuple[Sequence[NewMessage], Sequence[Addressed]]:
        messages = [_message(self._ids.new("msg"), one) for one in outgoing]
        to = [(message, id) for message, one in zip(messages, outgoing, strict=True) for id in one.endpoint_ids]
        # Sorted, as ids made within a millisecond are in no order: of one key, the oldest is next.
        ids = sorted(self._ids.new("dlv") for _ in to)
        seen = set[tuple[str, str]]()
        return messages, [_addressed(id, message, to_id, seen) for id, (message, to_id) in zip(ids, to, strict=True)]


def _message(id: str, one: Outgoing) -> NewMessage:
    return NewMessage(id, one.agent_id, one.type, one.body.decode(), one.subject, one.order_key)


def _addressed(id: str, message: NewMessage, endpoint_id: str, seen: set[tuple[str, str]]) -> Addressed:
    """The delivery of this message to this endpoint, behind those of its key that were seen before."""
    if message.order_key is None:
        return Addressed(id, message.id, endpoint_id)
    key = (endpoint_id, message.order_key)
    is_behind = key in seen
    seen.add(key)
    return Addressed(id, message.id, endpoint_id, message.order_key, is_behind)


def _sent(messages: Sequence[NewMessage], departures: Sequence[Departure]) -> list[Sent]:
    delivery_ids: dict[str, list[str]] = {message.id: [] for message in messages}
    for departure in departures:
        delivery_ids[departure.message_id].append(departure.id)
    return [Sent(message_id, ids) for message_id, ids in delivery_ids.items()]


def _nothing() -> None:
    """What takes off when nothing was sent."""
