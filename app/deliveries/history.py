"""What became of deliveries, read back by their owners, and what they do about it."""

import json
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import archive, register
from app.deliveries.archive import Counts, Wanted
from app.deliveries.conclusions import Conclusions
from app.deliveries.ending import tell_of
from app.deliveries.models import Delivery, Endpoint, Message
from app.events import Happened, record
from app.kit import pages
from app.kit.ids import moment_of
from app.kit.operations import require
from tocsin.problems import Conflict, DeliveryConcluded, DeliveryPending, EndpointNotActive, PayloadGone
from tocsin.schemas import deliveries as wire
from tocsin.schemas.wire import Page, rfc3339

__all__ = ["History", "require_endpoint", "shown_delivery"]

_CONCLUDED = ("cancelled", "delivered", "failed")


async def require_endpoint(db: AsyncSession, agent_id: str, endpoint_id: str) -> Endpoint:
    """This agent's endpoint, to be rung later. A pending or paused one will do: what is sent to it waits.

    Raises NotFound, and EndpointNotActive for one that is disabled.
    """
    endpoint = require(await register.endpoint(db, agent_id, endpoint_id), "endpoint")
    if endpoint.state == "disabled":
        raise EndpointNotActive(f"the endpoint is disabled: {endpoint.state_reason}")
    return endpoint


class History:
    """Deliveries as their owners see them."""

    def __init__(self, conclusions: Conclusions, kept: timedelta) -> None:
        self._conclusions = conclusions
        self._kept = kept

    async def list(self, db: AsyncSession, agent_id: str, query: wire.DeliveryQuery) -> Page[wire.Delivery]:
        """One page of an agent's deliveries, newest first."""
        before = pages.decode(query.cursor)
        found = await archive.deliveries(db, agent_id, _wanted(query), before, query.limit + 1)
        page = pages.page(found.rows, query.limit, lambda row: _shown(*row), lambda row: row[0].id)
        if page.next is None and found.looked_to is not None:
            return Page(items=page.items, next=pages.encode(found.looked_to))
        return page

    async def get(self, db: AsyncSession, agent_id: str, delivery_id: str) -> wire.DeliveryDetail:
        """One delivery with its message and its attempts."""
        delivery, message = require(await archive.delivery(db, agent_id, delivery_id), "delivery")
        return await _detailed(db, delivery, message)

    async def redeliver(self, db: AsyncSession, agent_id: str, delivery_id: str, now: datetime) -> wire.Delivery:
        """Send a concluded delivery again, with the same webhook-id and a new ladder of retries."""
        delivery, message = require(await archive.delivery(db, agent_id, delivery_id, lock=True), "delivery")
        if delivery.state == "pending":
            raise DeliveryPending("the delivery is still on its way")
        if message.expunged_at is not None:
            raise PayloadGone(f"the payload was expunged at {rfc3339(message.expunged_at)}")
        if delivery.created_at < now - self._kept:
            raise PayloadGone(f"the delivery is older than the {self._kept.days} days that this relay keeps payloads")
        await require_endpoint(db, agent_id, delivery.endpoint_id)
        await archive.set_off(db, [delivery_id], _CONCLUDED, now)
        await db.refresh(delivery)
        told = {"endpoint_id": delivery.endpoint_id, "message_id": delivery.message_id}
        await record(db, Happened("delivery.redelivered", delivery.id, agent_id, now, told))
        return await shown_delivery(db, delivery, message)

    async def cancel(self, db: AsyncSession, agent_id: str, delivery_id: str, now: datetime) -> wire.Delivery:
        """Let a delivery that is on its way end here. An attempt in flight changes nothing any more."""
        delivery, message = require(await archive.delivery(db, agent_id, delivery_id, lock=True), "delivery")
        if delivery.state != "pending":
            raise DeliveryConcluded(f"there is nothing to cancel: the delivery is {delivery.state}")
        reason = "cancelled by its owner"
        cancelled = await archive.cancel(db, [delivery_id], reason, now)
        await tell_of(db, self._conclusions, cancelled, "cancelled", reason, now)
        await db.refresh(delivery)
        return await shown_delivery(db, delivery, message)

    async def expunge(self, db: AsyncSession, agent_id: str, delivery_id: str, now: datetime) -> wire.DeliveryDetail:
        """Remove a message's payload for good, for all its deliveries, and what its receivers answered. The records
        stay. Those that are on their way are cancelled."""
        delivery, message = require(await archive.delivery(db, agent_id, delivery_id), "delivery")
        if agent_id not in (message.agent_id, message.sender_id):
            raise Conflict("this payload is not yours to expunge: the same was sent to others, or by another agent")
        siblings = await archive.lock_siblings(db, message.id)
        # As it is behind the locks: another may have expunged it while we waited for them.
        await db.refresh(message)
        if message.expunged_at is None:
            reason = "the payload was expunged"
            cancelled = await archive.cancel(db, siblings, reason, now)
            await archive.expunge(db, message.id, siblings, now)
            await tell_of(db, self._conclusions, cancelled, "cancelled", reason, now)
            await record(db, Happened("message.expunged", message.id, agent_id, now, {"deliveries": len(siblings)}))
        await db.refresh(delivery)
        await db.refresh(message)
        return await _detailed(db, delivery, message)

    async def stats(self, db: AsyncSession, agent_id: str, endpoint_id: str, now: datetime) -> wire.EndpointStats:
        """How an endpoint does."""
        endpoint = require(await register.endpoint(db, agent_id, endpoint_id), "endpoint")
        lane = await archive.lane(db, endpoint_id)
        counts = await archive.counts(db, agent_id, endpoint_id, now)
        return wire.EndpointStats.model_validate(
            {
                "endpoint_id": endpoint.id,
                "state": endpoint.state,
                "breaker": "closed" if lane is None else lane.breaker,
                "failures": 0 if lane is None else lane.failures,
                "failing_since": None if lane is None else lane.failing_since,
                "open_until": None if lane is None else lane.open_until,
                "held": await archive.held(db, endpoint_id),
                "last_day": _counted(counts.last_day, now - timedelta(days=1), counts),
                "last_week": _counted(counts.last_week, now - timedelta(days=7), counts),
            }
        )


def _wanted(query: wire.DeliveryQuery) -> Wanted:
    states = None if query.state is None else frozenset(query.state.split(","))
    if query.undelivered:
        states = (states or frozenset({"pending", *_CONCLUDED})) - {"delivered"}
    return Wanted(
        states=states,
        endpoint_id=query.endpoint,
        type=query.type,
        subject=query.subject,
        message_id=query.message,
        order_key=query.order_key,
        since=query.since,
        until=query.until,
    )


def _counted(by_state: dict[str, int], since: datetime, counts: Counts) -> dict[str, object]:
    oldest = None if counts.looked_to is None else moment_of(counts.looked_to)
    states = {state: by_state.get(state, 0) for state in ("pending", *_CONCLUDED)}
    return {**states, "since": since if oldest is None else max(since, oldest)}


async def shown_delivery(db: AsyncSession, delivery: Delivery, message: Message) -> wire.Delivery:
    profile = await archive.profile(db, delivery.endpoint_id)
    return _shown(delivery, message.type, message.subject, profile)


def _shown(delivery: Delivery, type: str, subject: str | None, profile: str | None) -> wire.Delivery:
    return wire.Delivery.model_validate(_members(delivery, type, subject, profile))


async def _detailed(db: AsyncSession, delivery: Delivery, message: Message) -> wire.DeliveryDetail:
    attempts = await archive.attempts(db, delivery.id)
    profile = await archive.profile(db, delivery.endpoint_id)
    gone = message.expunged_at is not None
    # An attempt that was in flight then has written down later what was answered.
    hidden = {"delivery_id"} | ({"response_excerpt"} if gone else set[str]())
    return wire.DeliveryDetail.model_validate(
        {
            **_members(delivery, message.type, message.subject, profile),
            "body": None if gone else json.loads(message.body),
            "expunged_at": message.expunged_at,
            "history": [attempt.model_dump(exclude=hidden) for attempt in attempts],
        }
    )


def _members(delivery: Delivery, type: str, subject: str | None, profile: str | None) -> dict[str, object]:
    bound = f"{delivery.endpoint_id}_{delivery.message_id}"
    return {
        "id": delivery.id,
        "webhook_id": delivery.message_id if profile == "mcp" else bound,
        "endpoint_id": delivery.endpoint_id,
        "message_id": delivery.message_id,
        "type": type,
        "subject": subject,
        "state": delivery.state,
        "reason": delivery.reason,
        "waits_for": "endpoint" if delivery.hold == "lane" else delivery.hold,
        "order_key": delivery.order_key,
        "attempts": delivery.attempts - delivery.unsent,
        "next_attempt_at": delivery.due_at,
        "created_at": delivery.created_at,
        "concluded_at": delivery.concluded_at,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
    }
