"""Messages, and how they are set on their way: in the transaction of whoever has something to say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import store
from app.deliveries.courier import Courier
from app.deliveries.store import Addressed, Departure, NewMessage
from app.kit import tracing
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
    # The agent that published it; None where the relay itself speaks.
    sender_id: str | None = None
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
    endpoint_ids: Sequence[str]  # of these deliveries, in their order


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
        # Sorted, as ids made within a millisecond are in no order: of one key, the oldest is next.
        message_ids = sorted(self._ids.new("msg") for _ in outgoing)
        delivery_ids = iter(sorted(self._ids.new("dlv") for one in outgoing for _ in one.endpoint_ids))
        messages, addressed = list[NewMessage](), list[Addressed]()
        seen = set[tuple[str, str]]()
        for id, one in zip(message_ids, outgoing, strict=True):
            to = [_addressed(next(delivery_ids), id, one, endpoint_id, seen) for endpoint_id in one.endpoint_ids]
            messages.append(_message(id, one, to))
            addressed += to
        return messages, addressed


def _message(id: str, one: Outgoing, to: Sequence[Addressed]) -> NewMessage:
    # Only who published a message asks for its deliveries: an index for that would be paid for by every delivery.
    delivery_ids = [each.delivery_id for each in to] if one.sender_id is not None else None
    body = one.body.decode()
    return NewMessage(
        id,
        one.agent_id,
        one.type,
        body,
        one.subject,
        one.sender_id,
        one.order_key,
        tracing.current() or _begun(id, one),
        delivery_ids,
    )


def _begun(id: str, one: Outgoing) -> str | None:
    """The trace of a message that no request caused, such as a fire."""
    about = {} if one.subject is None else {"tocsin.subject": one.subject}
    return tracing.begin(one.type, {"tocsin.message": id, **about})


def _addressed(id: str, message_id: str, one: Outgoing, endpoint_id: str, seen: set[tuple[str, str]]) -> Addressed:
    """The delivery of this message to this endpoint, behind those of its key that were seen before."""
    if one.order_key is None:
        return Addressed(id, message_id, endpoint_id)
    key = (endpoint_id, one.order_key)
    is_behind = key in seen
    seen.add(key)
    return Addressed(id, message_id, endpoint_id, one.order_key, is_behind)


def _sent(messages: Sequence[NewMessage], departures: Sequence[Departure]) -> list[Sent]:
    by_message: dict[str, list[Departure]] = {message.id: [] for message in messages}
    for departure in departures:
        by_message[departure.message_id].append(departure)
    return [
        Sent(message_id, [each.id for each in found], [each.endpoint_id for each in found])
        for message_id, found in by_message.items()
    ]


def _nothing() -> None:
    """What takes off when nothing was sent."""
