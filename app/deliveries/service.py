"""The verbs of deliveries: where agents want to be rung, and getting it there."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import relay_key, store
from app.deliveries.challenger import Challenger
from app.deliveries.conclusions import Concluded, Conclusions
from app.deliveries.courier import Courier, disable
from app.deliveries.models import Attempt, Delivery, Endpoint, Message
from app.deliveries.relay_key import RelayKey
from app.deliveries.store import Addressed, Departure, NewMessage, Progress
from app.events import Happened, record
from app.kit import limits, pages
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.ids import Ids
from app.kit.operations import require
from app.kit.outbound import Fault, Outbound
from app.kit.urls import BadUrl, parse_url
from app.kit.wake import Wake
from app.settings import DeliverySettings
from tocsin import webhooks
from tocsin.problems import Conflict, DeliveryPending, EndpointNotActive, ForbiddenAddress, InvalidBody
from tocsin.schemas import deliveries as wire
from tocsin.schemas import endpoints as endpoint_wire
from tocsin.schemas.webhooks import EndpointTest, JwkSet, Tested, Webhook
from tocsin.schemas.wire import Page

__all__ = ["Deliveries", "Dispatched", "Outgoing", "Sent"]

# Between the deadline of an attempt and the end of its lease: to write down what came of it.
lease_margin_seconds = 5


@dataclass(frozen=True)
class Outgoing:
    """A message to send: compact UTF-8 JSON with type, timestamp and data, to endpoints of any agents."""

    type: str
    body: bytes
    endpoint_ids: Sequence[str]
    agent_id: str | None = None
    # What it is about, such as a fire's id: who listens is told what became of it.
    subject: str | None = None

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


class Deliveries:
    """Endpoints and what is on its way to them."""

    def __init__(
        self,
        *,
        transaction: Transaction,
        clock: Clock,
        ids: Ids,
        wake: Wake,
        outbound: Outbound,
        settings: DeliverySettings,
        jitter: random.Random,
    ) -> None:
        least = settings.timeout_seconds + lease_margin_seconds
        if settings.lease_seconds < least:
            raise ValueError(f"TOCSIN_DELIVERY_LEASE_SECONDS must be at least {least:g}: the timeout and a margin")
        self._ids = ids
        self._outbound = outbound
        self._relay_key = RelayKey()
        self._conclusions = Conclusions()
        self._courier = Courier(
            transaction, clock, wake, outbound, self._relay_key, self._conclusions, settings, jitter
        )
        self._challenger = Challenger(transaction, clock, ids, wake, outbound, self._relay_key, settings)
        self.deliver_next = self._courier.deliver_next
        self.verify_next = self._challenger.verify_next
        self.hurry = self._courier.hurry
        self.start = self._courier.start
        self.stop = self._courier.stop
        self.listen = self._conclusions.listen

    @property
    def in_flight(self) -> int:
        """How many requests of this process are on their way to endpoints."""
        return self._courier.in_flight

    # For other features

    async def require_endpoint(self, db: AsyncSession, agent_id: str, endpoint_id: str) -> Endpoint:
        """This agent's endpoint, to be rung later. A pending one will do: it is rung when it has been verified.

        Raises NotFound, and EndpointNotActive for one that is disabled.
        """
        endpoint = require(await store.endpoint(db, agent_id, endpoint_id), "endpoint")
        if endpoint.state == "disabled":
            raise EndpointNotActive(f"the endpoint is disabled: {endpoint.state_reason}")
        return endpoint

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

    async def progress(self, db: AsyncSession, delivery_ids: Sequence[str]) -> Mapping[str, Progress]:
        """How far each of these deliveries has got."""
        return await store.progress(db, delivery_ids)

    # Endpoints

    async def vet(self, url: str) -> None:
        """Look the URL's host up, and refuse what we would not call. May take seconds: hold no transaction."""
        fault = await self._outbound.vet(_understood(url))
        if fault is not None:
            raise ForbiddenAddress.at("/url", _refusal(fault))

    async def create(
        self, db: AsyncSession, agent_id: str, new: endpoint_wire.NewEndpoint, now: datetime
    ) -> endpoint_wire.CreatedEndpoint:
        """Register an endpoint. It is pending until it has answered its challenge, which is due at once."""
        if await store.count_endpoints(db, agent_id) >= limits.endpoints_per_agent_max:
            raise Conflict(f"an agent has at most {limits.endpoints_per_agent_max} endpoints; delete one first")
        endpoint = Endpoint(
            id=self._ids.new("ep"),
            agent_id=agent_id,
            url=_understood(new.url),
            description=new.description,
            state="pending",
            secret=new.secret or webhooks.new_secret(),
            due_at=now,
            created_at=now,
            updated_at=now,
        )
        db.add(endpoint)
        await record(db, Happened("endpoint.created", endpoint.id, agent_id, now, {"url": endpoint.url}))
        return endpoint_wire.CreatedEndpoint(**_shown(endpoint).model_dump(), secret=endpoint.secret)

    async def list_endpoints(
        self, db: AsyncSession, agent_id: str, query: endpoint_wire.EndpointQuery
    ) -> Page[endpoint_wire.Endpoint]:
        """One page of an agent's endpoints, oldest first."""
        rows = await store.endpoints(db, agent_id, query.state, pages.decode(query.cursor), query.limit + 1)
        return pages.page(rows, query.limit, _shown, lambda row: row.id)

    async def get_endpoint(self, db: AsyncSession, agent_id: str, endpoint_id: str) -> endpoint_wire.Endpoint:
        """One endpoint."""
        return _shown(require(await store.endpoint(db, agent_id, endpoint_id), "endpoint"))

    async def change(
        self, db: AsyncSession, agent_id: str, endpoint_id: str, patch: endpoint_wire.PatchEndpoint, now: datetime
    ) -> endpoint_wire.Endpoint:
        """Change what the patch names. A new URL has not been verified, whatever the old one was."""
        endpoint = await self._locked(db, agent_id, endpoint_id)
        if "description" in patch.model_fields_set:
            endpoint.description = patch.description
        if "url" in patch.model_fields_set:
            if patch.url is None:
                raise InvalidBody.at("/url", "an endpoint cannot be without a URL; DELETE it instead")
            url = _understood(patch.url)
            if url != endpoint.url:
                endpoint.url, endpoint.verified_at = url, None
                _challenge(endpoint, now)
        endpoint.updated_at = now
        changed = sorted(patch.model_fields_set)
        await record(db, Happened("endpoint.changed", endpoint.id, agent_id, now, {"changed": changed}))
        return _shown(endpoint)

    async def delete(self, db: AsyncSession, agent_id: str, endpoint_id: str, now: datetime) -> None:
        """Remove an endpoint. What was on its way to it is cancelled, and stays readable."""
        require(await store.endpoint(db, agent_id, endpoint_id), "endpoint")
        # Deliveries before their endpoint, as the courier does: two that lock in one order never wait in a circle.
        cancelled = await store.cancel_all(db, endpoint_id, now)
        endpoint = await self._locked(db, agent_id, endpoint_id)
        about = [Concluded(subject, id, "cancelled") for id, subject in cancelled if subject is not None]
        await self._conclusions.endpoint_leaves(db, endpoint_id, [each.subject for each in about])
        await db.delete(endpoint)
        await db.flush()
        await self._conclusions.tell(db, about, now)
        await record(db, Happened("endpoint.deleted", endpoint_id, agent_id, now, {"url": endpoint.url}))

    async def verify(self, db: AsyncSession, agent_id: str, endpoint_id: str, now: datetime) -> endpoint_wire.Endpoint:
        """Challenge a pending endpoint again, at once. One that is active has nothing left to prove."""
        endpoint = await self._locked(db, agent_id, endpoint_id)
        if endpoint.state == "disabled":
            raise EndpointNotActive("the endpoint is disabled; POST …/enable first")
        if endpoint.state == "pending":
            _challenge(endpoint, now)
        return _shown(endpoint)

    async def enable(self, db: AsyncSession, agent_id: str, endpoint_id: str, now: datetime) -> endpoint_wire.Endpoint:
        """Take a disabled endpoint up again. It is challenged first: it was disabled for not wanting to be rung."""
        endpoint = await self._locked(db, agent_id, endpoint_id)
        if endpoint.state == "disabled":
            _challenge(endpoint, now)
            endpoint.updated_at = now
            await record(db, Happened("endpoint.enabled", endpoint.id, agent_id, now))
        return _shown(endpoint)

    async def test(self, db: AsyncSession, agent_id: str, endpoint_id: str, now: datetime) -> wire.Delivery:
        """Send a test ring to an active endpoint."""
        endpoint = require(await store.endpoint(db, agent_id, endpoint_id), "endpoint")
        if endpoint.state != "active":
            raise EndpointNotActive(f"the endpoint is {endpoint.state}")
        ring = EndpointTest(timestamp=now, data=Tested(endpoint_id=endpoint_id))
        [sent] = await self.send(db, [Outgoing.of(ring, [endpoint_id], agent_id)], now)
        [delivery_id] = sent.delivery_ids
        delivery, message = require(await store.delivery(db, agent_id, delivery_id), "delivery")
        return _shown_delivery(delivery, message.type, message.subject)

    # Deliveries

    async def list_deliveries(self, db: AsyncSession, agent_id: str, query: wire.DeliveryQuery) -> Page[wire.Delivery]:
        """One page of an agent's deliveries, newest first."""
        before = pages.decode(query.cursor)
        rows = await store.deliveries(db, agent_id, query.state, query.endpoint, before, query.limit + 1)
        return pages.page(rows, query.limit, lambda row: _shown_delivery(*row), lambda row: row[0].id)

    async def get_delivery(self, db: AsyncSession, agent_id: str, delivery_id: str) -> wire.DeliveryDetail:
        """One delivery with its message and its attempts."""
        delivery, message = require(await store.delivery(db, agent_id, delivery_id), "delivery")
        return _detailed(delivery, message, await store.attempts(db, delivery_id))

    async def redeliver(self, db: AsyncSession, agent_id: str, delivery_id: str, now: datetime) -> wire.Delivery:
        """Send a concluded delivery again, with the same webhook-id and a new ladder of retries."""
        delivery, message = require(await store.delivery(db, agent_id, delivery_id, lock=True), "delivery")
        if delivery.state == "pending":
            raise DeliveryPending("the delivery is still on its way")
        endpoint = await self.require_endpoint(db, agent_id, delivery.endpoint_id)
        assert endpoint.id == delivery.endpoint_id
        delivery.state, delivery.due_at, delivery.concluded_at = "pending", now, None
        delivery.attempts_before = delivery.attempts
        told = {"endpoint_id": delivery.endpoint_id, "message_id": delivery.message_id}
        await record(db, Happened("delivery.redelivered", delivery.id, agent_id, now, told))
        return _shown_delivery(delivery, message.type, message.subject)

    async def leave_revoked(self, db: AsyncSession, now: datetime) -> int:
        """Ring the endpoints of revoked agents no more: nobody is left who could stop it. Returns how many."""
        orphaned = await store.orphaned(db)
        if orphaned:
            await disable(db, orphaned, "the agent was revoked", now)
        return len(orphaned)

    # Keys

    async def keys(self, db: AsyncSession, now: datetime) -> JwkSet:
        """The public keys that verify `v1a` signatures."""
        return JwkSet(keys=[relay_key.jwk(await self._relay_key.get(db, now))])

    def _prepared(self, outgoing: Sequence[Outgoing]) -> tuple[Sequence[NewMessage], Sequence[Addressed]]:
        messages = [_message(self._ids.new("msg"), one) for one in outgoing]
        addressed = [
            Addressed(self._ids.new("dlv"), message.id, endpoint_id)
            for message, one in zip(messages, outgoing, strict=True)
            for endpoint_id in one.endpoint_ids
        ]
        return messages, addressed

    async def _locked(self, db: AsyncSession, agent_id: str, endpoint_id: str) -> Endpoint:
        return require(await store.endpoint(db, agent_id, endpoint_id, lock=True), "endpoint")


def _message(id: str, one: Outgoing) -> NewMessage:
    return NewMessage(id, one.agent_id, one.type, one.body.decode(), one.subject)


def _sent(messages: Sequence[NewMessage], departures: Sequence[Departure]) -> list[Sent]:
    delivery_ids: dict[str, list[str]] = {message.id: [] for message in messages}
    for departure in departures:
        delivery_ids[departure.message_id].append(departure.id)
    return [Sent(message_id, ids) for message_id, ids in delivery_ids.items()]


def _nothing() -> None:
    """What takes off when nothing was sent."""


def _understood(url: str) -> str:
    """The URL as we understood it."""
    try:
        return str(parse_url(url))
    except BadUrl as bad:
        raise InvalidBody.at("/url", str(bad)) from bad


def _refusal(fault: Fault) -> str:
    if fault.category == "https_required":
        return "use https; plain http is for networks that this relay's operator listed"
    # One answer for a name that does not exist and one that is at an address of ours: see Outbound.
    return "the host does not resolve, or not only to public addresses"


def _challenge(endpoint: Endpoint, now: datetime) -> None:
    """Make the endpoint prove at once that it wants to be rung; a challenge in flight counts no more."""
    endpoint.state, endpoint.state_reason, endpoint.due_at = "pending", None, now
    endpoint.attempts += 1
    endpoint.attempts_before = endpoint.attempts


def _shown(endpoint: Endpoint) -> endpoint_wire.Endpoint:
    return endpoint_wire.Endpoint.model_validate(
        {
            "id": endpoint.id,
            "url": endpoint.url,
            "description": endpoint.description,
            "state": endpoint.state,
            "state_reason": endpoint.state_reason,
            "next_verification_at": endpoint.due_at,
            "verified_at": endpoint.verified_at,
            "created_at": endpoint.created_at,
            "updated_at": endpoint.updated_at,
        }
    )


def _shown_delivery(delivery: Delivery, type: str, subject: str | None) -> wire.Delivery:
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
        "attempts": delivery.attempts,
        "next_attempt_at": delivery.due_at,
        "created_at": delivery.created_at,
        "concluded_at": delivery.concluded_at,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
    }
