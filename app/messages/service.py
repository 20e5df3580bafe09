"""The room of messages: what agents say, to themselves and to agents that listen to them."""

from collections.abc import Sequence
from datetime import datetime

from pydantic_core import from_json
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.models import Message
from app.deliveries.service import Deliveries, Outgoing, Sent
from app.events import Happened, record
from app.kit import limits, pages
from app.kit.operations import require
from app.messages import store
from app.messages.audience import Looks, NotThere, TooFar, audience, named
from tocsin.problems import InvalidBody
from tocsin.schemas import messages as wire
from tocsin.schemas.webhooks import Published
from tocsin.schemas.wire import Page

__all__ = ["Messages"]


class Messages:
    """Messages that agents publish."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    async def publish(
        self, db: AsyncSession, sender_id: str, new: wire.NewMessage, now: datetime
    ) -> wire.PublishedMessage:
        """Set a message on its way to those that take it. Ring "deliveries" after the commit."""
        [published] = await self._publish(db, sender_id, [("", new)], now)
        return published

    async def publish_all(
        self, db: AsyncSession, sender_id: str, new: wire.NewMessages, now: datetime
    ) -> wire.PublishedMessages:
        """Set all of these on their way, or none."""
        placed = [(f"/messages/{n}", one) for n, one in enumerate(new.messages)]
        return wire.PublishedMessages(messages=[*await self._publish(db, sender_id, placed, now)])

    async def list(self, db: AsyncSession, sender_id: str, query: wire.MessageQuery) -> Page[wire.Message]:
        """One page of what an agent has published, newest first."""
        before = pages.decode(query.cursor)
        rows = await store.messages(db, sender_id, query.type, before, query.limit + 1)
        return pages.page(rows, query.limit, _shown, lambda row: row.id)

    async def get(self, db: AsyncSession, sender_id: str, message_id: str) -> wire.MessageDetail:
        """A published message, with what became of it."""
        message = require(await store.message(db, sender_id, message_id), "message of yours")
        counts = await store.counts(db, message.delivery_ids or ())
        data = from_json(message.body)["data"] if message.body else None
        members = _shown(message).model_dump() | {"data": data, "expunged_at": message.expunged_at}
        return wire.MessageDetail.model_validate(members | {"deliveries": wire.DeliveryCounts(**counts)})

    async def _publish(
        self, db: AsyncSession, sender_id: str, placed: Sequence[tuple[str, wire.NewMessage]], now: datetime
    ) -> Sequence[wire.PublishedMessage]:
        outgoing = await self._addressed(db, sender_id, placed, now)
        sent = await self._deliveries.send(db, outgoing, now)
        await record(db, *(_happened(one, each, sender_id, now) for one, each in zip(outgoing, sent, strict=True)))
        return [_published(one, each, now) for one, each in zip(outgoing, sent, strict=True)]

    async def _addressed(
        self, db: AsyncSession, sender_id: str, placed: Sequence[tuple[str, wire.NewMessage]], now: datetime
    ) -> Sequence[Outgoing]:
        """These messages with their recipients, all looked up at once. Refused by the place that each has."""
        agents, endpoints = named((new for _, new in placed), sender_id)
        most = limits.publish_candidates_max
        candidates = await store.candidates(db, sender_id, agents, endpoints, now, most + 1)
        if len(candidates) > most:
            raise InvalidBody.at("", f"this names more than {most} endpoints; publish it in parts")
        outgoing, looks = list[Outgoing](), Looks(limits.publish_filter_steps_max)
        for place, new in placed:
            try:
                outgoing.append(_outgoing(place, new, sender_id, audience(new, sender_id, candidates, looks), now))
            except NotThere as nobody:
                told = "there is no such endpoint or agent, or it does not list you among its senders"
                raise InvalidBody.at(f"{place}/to/{nobody.position}", told) from nobody
            except TooFar as further:
                told = "the filters of those it is for would look too far into this; publish it in parts, or name fewer"
                raise InvalidBody.at(place, told) from further
        if sum(len(one.endpoint_ids) for one in outgoing) > limits.publish_deliveries_max:
            raise InvalidBody.at(
                "", f"this would make more than {limits.publish_deliveries_max} deliveries; publish it in parts"
            )
        return outgoing


def _outgoing(place: str, new: wire.NewMessage, sender_id: str, endpoint_ids: Sequence[str], now: datetime) -> Outgoing:
    """The message, written once for all its recipients."""
    ring = Published(type=new.type, timestamp=now, sender=sender_id, data=new.data)
    body = ring.model_dump_json().encode()
    if len(body) > limits.body_bytes_max:
        raise InvalidBody.at(f"{place}/data", f"as it is sent this has more than {limits.body_bytes_max} bytes")
    return Outgoing(new.type, body, endpoint_ids, sender_id, sender_id=sender_id, order_key=new.order_key)


def _happened(one: Outgoing, sent: Sent, sender_id: str, now: datetime) -> Happened:
    told = {"type": one.type, "deliveries": len(sent.delivery_ids)}
    return Happened("message.published", sent.message_id, sender_id, now, told)


def _published(one: Outgoing, sent: Sent, now: datetime) -> wire.PublishedMessage:
    deliveries = [
        wire.MessageDelivery(id=id_, endpoint_id=endpoint_id)
        for id_, endpoint_id in zip(sent.delivery_ids, sent.endpoint_ids, strict=True)
    ]
    return wire.PublishedMessage(id=sent.message_id, type=one.type, deliveries=deliveries, created_at=now)


def _shown(message: Message) -> wire.Message:
    return wire.Message(id=message.id, type=message.type, order_key=message.order_key, created_at=message.created_at)
