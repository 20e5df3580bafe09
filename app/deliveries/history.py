"""What became of deliveries, read back by their owners, and what they do about it."""

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import archive, register
from app.deliveries.models import Attempt, Delivery, Endpoint, Message
from app.events import Happened, record
from app.kit import pages
from app.kit.operations import require
from tocsin.problems import DeliveryPending, EndpointNotActive
from tocsin.schemas import deliveries as wire
from tocsin.schemas.wire import Page

__all__ = ["History", "require_endpoint", "shown_delivery"]


async def require_endpoint(db: AsyncSession, agent_id: str, endpoint_id: str) -> Endpoint:
    """This agent's endpoint, to be rung later. A pending one will do: it is rung when it has been verified.

    Raises NotFound, and EndpointNotActive for one that is disabled.
    """
    endpoint = require(await register.endpoint(db, agent_id, endpoint_id), "endpoint")
    if endpoint.state == "disabled":
        raise EndpointNotActive(f"the endpoint is disabled: {endpoint.state_reason}")
    return endpoint


class History:
    """Deliveries as their owners see them."""

    async def list(self, db: AsyncSession, agent_id: str, query: wire.DeliveryQuery) -> Page[wire.Delivery]:
        """One page of an agent's deliveries, newest first."""
        before = pages.decode(query.cursor)
        rows = await archive.deliveries(db, agent_id, query.state, query.endpoint, before, query.limit + 1)
        return pages.page(rows, query.limit, lambda row: shown_delivery(*row), lambda row: row[0].id)

    async def get(self, db: AsyncSession, agent_id: str, delivery_id: str) -> wire.DeliveryDetail:
        """One delivery with its message and its attempts."""
        delivery, message = require(await archive.delivery(db, agent_id, delivery_id), "delivery")
        return _detailed(delivery, message, await archive.attempts(db, delivery_id))

    async def redeliver(self, db: AsyncSession, agent_id: str, delivery_id: str, now: datetime) -> wire.Delivery:
        """Send a concluded delivery again, with the same webhook-id and a new ladder of retries."""
        delivery, message = require(await archive.delivery(db, agent_id, delivery_id, lock=True), "delivery")
        if delivery.state == "pending":
            raise DeliveryPending("the delivery is still on its way")
        await require_endpoint(db, agent_id, delivery.endpoint_id)
        delivery.state, delivery.due_at, delivery.concluded_at = "pending", now, None
        delivery.attempts_before = delivery.attempts
        told = {"endpoint_id": delivery.endpoint_id, "message_id": delivery.message_id}
        await record(db, Happened("delivery.redelivered", delivery.id, agent_id, now, told))
        return shown_delivery(delivery, message.type, message.subject)


def shown_delivery(delivery: Delivery, type: str, subject: str | None) -> wire.Delivery:
    return wire.Delivery.model_validate(_members(delivery, type, subject))


def _detailed(delivery: Delivery, message: Message, attempts: Sequence[Attempt]) -> wire.DeliveryDetail:
    return wire.DeliveryDetail.model_validate(
        {
            **_members(delivery, message.type, message.subject),
            "body": json.loads(message.body),
            "history": [attempt.model_dump(exclude={"delivery_id"}) for attempt in attempts],
        }
    )


def _members(delivery: Delivery, type: str, subject: str | None) -> dict[str, object]:
    return {
        "id": delivery.id,
        "webhook_id": f"{delivery.endpoint_id}_{delivery.message_id}",
        "endpoint_id": delivery.endpoint_id,
        "message_id": delivery.message_id,
        "type": type,
        "subject": subject,
        "state": delivery.state,
        "reason": delivery.reason,
        "waits_for": "endpoint" if delivery.hold == "lane" else delivery.hold,
        "order_key": delivery.order_key,
        "attempts": delivery.attempts,
        "next_attempt_at": delivery.due_at,
        "created_at": delivery.created_at,
        "concluded_at": delivery.concluded_at,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
    }
