"""What a relay can be asked, area by area. Each method is written once and serves both clients."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tocsin.client.calls import (
    Area,
    C,
    Call,
    cancel,
    creating,
    delete,
    get,
    listing,
    matching,
    once,
    operation,
    patch,
    post,
    post_set,
    put,
    segment,
)
from tocsin.client.following import following
from tocsin.keys import PrivateKey, base64url, rotation_statement
from tocsin.schemas.agents import Agent, Jwk, NewAgent, RevokeKey, RotateKey
from tocsin.schemas.deliveries import Delivery, DeliveryDetail, EndpointStats
from tocsin.schemas.endpoints import (
    CreatedEndpoint,
    Endpoint,
    EndpointState,
    McpSubscription,
    NewEndpoint,
    PatchEndpoint,
    RefreshEndpoint,
    RotatedEndpoint,
    RotateSecret,
)
from tocsin.schemas.events import Event, EventOrder
from tocsin.schemas.messages import (
    Message,
    MessageDetail,
    NewMessage,
    NewMessages,
    PublishedMessage,
    PublishedMessages,
)
from tocsin.schemas.payments import Payment, PriceList
from tocsin.schemas.proofs import EventProof
from tocsin.schemas.recoveries import NewRecovery, NewRedrive, RecoverableState, Recovery, RecoveryState
from tocsin.schemas.schedules import (
    AskedPreview,
    Backfill,
    BackfillOverlap,
    Fire,
    FireKind,
    FireState,
    NewBackfill,
    NewSchedule,
    PatchSchedule,
    PauseSchedule,
    Schedule,
    SchedulePreview,
    ScheduleState,
)
from tocsin.schemas.subscriptions import EventPage, NewSubscription, Subscription
from tocsin.schemas.watchers import Watcher
from tocsin.schemas.wire import Json, Page

__all__ = [
    "Agents",
    "Deliveries",
    "Endpoints",
    "Events",
    "Messages",
    "Payments",
    "Recoveries",
    "Schedules",
    "Subscriptions",
]


class Agents(Area[C]):
    """You."""

    @operation
    def register(self, key: PrivateKey, name: str | None = None) -> Call[Agent]:
        """Register the key that this client signs with."""
        return post("/v1/agents", Agent, NewAgent(public_key=_jwk(key), name=name))

    @operation
    def me(self) -> Call[Agent]:
        """Show the agent that this client's key speaks for."""
        return get("/v1/agents/me", Agent)

    @operation
    def rotate(self, me: Agent, new: PrivateKey) -> Call[Agent]:
        """Let a new key speak for you. This client still signs with the old one, which ends with the answer."""
        proof = base64url(new.sign(rotation_statement(me.id, me.keyid, new.public.keyid)))
        return post("/v1/agents/me/rotate", Agent, RotateKey(public_key=_jwk(new), proof=proof))

    @operation
    def revoke(self, reason: str | None = None) -> Call[Agent]:
        """End your key for good; no other follows it."""
        return post("/v1/agents/me/revoke", Agent, RevokeKey(reason=reason))


class Endpoints(Area[C]):
    """Where you are rung."""

    @operation
    def create(
        self,
        url: str,
        description: str | None = None,
        secret: str | None = None,
        *,
        types: Sequence[str] | None = None,
        filter: Mapping[str, Json] | None = None,
        senders: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
        max_in_flight: int | None = None,
        rate_per_second: float | None = None,
        retry_seconds: Sequence[int] | None = None,
        timeout_seconds: float | None = None,
        mcp: McpSubscription | None = None,
    ) -> Call[CreatedEndpoint]:
        """Register an endpoint. The answer shows its webhook secret, this once.

        `types`, `filter` and `senders` say which published messages it takes, and from whom else but you; `headers` are
        sent along with every ring. `max_in_flight` and `rate_per_second` bound how much comes at a time. With `mcp` it
        is an endpoint of MCP Events, and `secret` that of its host.
        """
        given: dict[str, Any] = {
            "description": description,
            "secret": secret,
            "types": None if types is None else [*types],
            "filter": None if filter is None else {**filter},
            "senders": None if senders is None else [*senders],
            "headers": None if headers is None else {**headers},
            "max_in_flight": max_in_flight,
            "rate_per_second": rate_per_second,
            "retry_seconds": None if retry_seconds is None else [*retry_seconds],
            "timeout_seconds": timeout_seconds,
            "profile": None if mcp is None else "mcp",
            "mcp": mcp,
        }
        new = NewEndpoint(url=url, **{name: value for name, value in given.items() if value is not None})
        return post_set("/v1/endpoints", CreatedEndpoint, new)

    @listing
    def list(self, state: EndpointState | None = None) -> Call[Page[Endpoint]]:
        """Your endpoints, oldest first."""
        return get("/v1/endpoints", Page[Endpoint], state=state, limit=100)

    @operation
    def get(self, id: str) -> Call[Endpoint]:
        """One endpoint."""
        return get(f"/v1/endpoints/{segment(id)}", Endpoint)

    @operation
    def change(self, id: str, changes: PatchEndpoint) -> Call[Endpoint]:
        """Change what `changes` sets; a new URL has to be verified again."""
        return patch(f"/v1/endpoints/{segment(id)}", Endpoint, changes)

    @operation
    def delete(self, id: str) -> Call[None]:
        """Delete an endpoint; what is still under way to it is cancelled."""
        return delete(f"/v1/endpoints/{segment(id)}")

    @operation
    def rotate_secret(self, id: str, secret: str | None = None, overlap_seconds: int = 86_400) -> Call[RotatedEndpoint]:
        """Give an endpoint a new secret, which the answer shows this once. Those before sign, too, for a while."""
        asked = RotateSecret(secret=secret, overlap_seconds=overlap_seconds)
        return post(f"/v1/endpoints/{segment(id)}/rotate-secret", RotatedEndpoint, asked)

    @operation
    def verify(self, id: str) -> Call[Endpoint]:
        """Send the verification challenge again, now."""
        return post(f"/v1/endpoints/{segment(id)}/verify", Endpoint)

    @operation
    def enable(self, id: str) -> Call[Endpoint]:
        """Take a disabled endpoint up again; it is challenged first."""
        return post(f"/v1/endpoints/{segment(id)}/enable", Endpoint)

    @operation
    def pause(self, id: str) -> Call[Endpoint]:
        """Have nothing sent to this endpoint until it is resumed; what is sent meanwhile is kept."""
        return post(f"/v1/endpoints/{segment(id)}/pause", Endpoint)

    @operation
    def resume(self, id: str) -> Call[Endpoint]:
        """Take a paused endpoint up again, with what has been kept for it."""
        return post(f"/v1/endpoints/{segment(id)}/resume", Endpoint)

    @operation
    def refresh(self, id: str, ttl_seconds: int = 3_600, secret: str | None = None) -> Call[Endpoint]:
        """Let a subscription of MCP Events hold for longer; with a `secret`, that one signs from now on."""
        asked = RefreshEndpoint(ttl_seconds=ttl_seconds, secret=secret)
        return post(f"/v1/endpoints/{segment(id)}/refresh", Endpoint, asked)

    @operation
    def test(self, id: str) -> Call[Delivery]:
        """Ring this endpoint once, as a test."""
        return post(f"/v1/endpoints/{segment(id)}/test", Delivery)

    @operation
    def stats(self, id: str) -> Call[EndpointStats]:
        """How an endpoint does: what became of what was sent to it, what waits, and since when it fails."""
        return get(f"/v1/endpoints/{segment(id)}/stats", EndpointStats)

    @operation
    def recover(
        self,
        id: str,
        since: datetime,
        until: datetime | None = None,
        states: Sequence[RecoverableState] = ("failed", "cancelled"),
        type: str | None = None,
        rate_per_second: float = 50,
    ) -> Call[Recovery]:
        """Send again what was sent from `since` on and is in one of `states`, with the same webhook-ids."""
        asked = NewRecovery(since=since, until=until, states=[*states], type=type, rate_per_second=rate_per_second)
        return post(f"/v1/endpoints/{segment(id)}/recover", Recovery, asked)


class Schedules(Area[C]):
    """When you are rung. An id is the relay's own, `sch_…`, or the one that you chose."""

    @operation
    def create(self, new: NewSchedule) -> Call[Schedule]:
        """Register a schedule, under an id that the relay makes."""
        return post("/v1/schedules", Schedule, new)

    @operation
    def put(
        self, chosen_id: str, new: NewSchedule, if_version: int | None = None, create_only: bool = False
    ) -> Call[Schedule]:
        """Make the schedule of this id be so: create it, or replace what it was. The same once more changes nothing.

        With `if_version` it is replaced only while it has that version, with `create_only` it is never replaced; else
        PreconditionFailed, whose `version` is the current one.
        """
        if create_only and if_version is not None:
            raise ValueError("if_version is for a schedule that exists, create_only for one that does not")
        call = put(f"/v1/schedules/{segment(chosen_id)}", Schedule, new)
        return creating(call) if create_only else matching(call, if_version)

    @listing
    def list(self, state: ScheduleState | None = None) -> Call[Page[Schedule]]:
        """Your schedules, oldest first."""
        return get("/v1/schedules", Page[Schedule], state=state, limit=100)

    @operation
    def get(self, id: str) -> Call[Schedule]:
        """One schedule."""
        return get(f"/v1/schedules/{segment(id)}", Schedule)

    @operation
    def change(self, id: str, changes: PatchSchedule, if_version: int | None = None) -> Call[Schedule]:
        """Change what `changes` sets; with `if_version` only while the schedule has that version."""
        return matching(patch(f"/v1/schedules/{segment(id)}", Schedule, changes), if_version)

    @operation
    def pause(self, id: str, reason: str | None = None, if_version: int | None = None) -> Call[Schedule]:
        """Let no further slot fire until it is resumed."""
        call = post(f"/v1/schedules/{segment(id)}/pause", Schedule, PauseSchedule(reason=reason))
        return matching(call, if_version)

    @operation
    def resume(self, id: str, if_version: int | None = None) -> Call[Schedule]:
        """Go on with the next slot that is to come; those that passed in between stay skipped."""
        return matching(post(f"/v1/schedules/{segment(id)}/resume", Schedule), if_version)

    @operation
    def trigger(self, id: str, if_version: int | None = None) -> Call[Fire]:
        """Fire now, beside the schedule's own slots; also while it is paused."""
        return matching(post(f"/v1/schedules/{segment(id)}/trigger", Fire), if_version)

    @operation
    def skip_next(self, id: str, if_version: int | None = None) -> Call[Fire]:
        """Skip exactly the next slot, which is returned."""
        return matching(post(f"/v1/schedules/{segment(id)}/skip-next", Fire), if_version)

    @operation
    def delete(self, id: str, if_version: int | None = None) -> Call[None]:
        """Delete a schedule; it does not fire again."""
        return matching(delete(f"/v1/schedules/{segment(id)}"), if_version)

    @operation
    def upcoming(self, id: str, count: int = 5) -> Call[SchedulePreview]:
        """What a schedule means, and its next slots with their share of jitter."""
        return get(f"/v1/schedules/{segment(id)}/upcoming", SchedulePreview, count=count)

    @operation
    def preview(self, asked: AskedPreview) -> Call[SchedulePreview]:
        """What a spec means and when it would fire, by the relay's clock; `tocsin.previews` does so without a relay."""
        return post("/v1/schedules/preview", SchedulePreview, asked)

    @listing
    def fires(
        self,
        id: str,
        state: FireState | None = None,
        kind: FireKind | None = None,
        backfill: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Call[Page[Fire]]:
        """A schedule's slots from `since` up to, and without, `until`, and what became of each; the latest first."""
        path = f"/v1/schedules/{segment(id)}/fires"
        return get(path, Page[Fire], state=state, kind=kind, backfill=backfill, since=since, until=until, limit=100)

    @operation
    def complete(self, id: str, fire_id: str) -> Call[Fire]:
        """Report that a run has ended, so that what waits for it may follow. Reporting it again changes nothing."""
        return post(f"/v1/schedules/{segment(id)}/fires/{segment(fire_id)}/complete", Fire)

    @operation
    def backfill(self, id: str, start: datetime, end: datetime, overlap: BackfillOverlap = "allow") -> Call[Backfill]:
        """Fire the past slots from `start` up to, and without, `end`."""
        asked = NewBackfill(start=start, end=end, overlap=overlap)
        return post(f"/v1/schedules/{segment(id)}/backfill", Backfill, asked)

    @listing
    def backfills(self, id: str) -> Call[Page[Backfill]]:
        """A schedule's backfills and how far each has got, the latest first."""
        return get(f"/v1/schedules/{segment(id)}/backfills", Page[Backfill], limit=100)

    @operation
    def get_backfill(self, id: str, backfill_id: str) -> Call[Backfill]:
        """One backfill and how far it has got."""
        return get(f"/v1/schedules/{segment(id)}/backfills/{segment(backfill_id)}", Backfill)

    @operation
    def cancel_backfill(self, id: str, backfill_id: str) -> Call[Backfill]:
        """Skip what of a backfill has not fired yet."""
        return cancel(f"/v1/schedules/{segment(id)}/backfills/{segment(backfill_id)}", Backfill)


class Subscriptions(Area[C]):
    """What you want to hear of."""

    @operation
    def create(self, new: NewSubscription) -> Call[Subscription]:
        """Subscribe."""
        return post("/v1/subscriptions", Subscription, new)

    @listing
    def list(self) -> Call[Page[Subscription]]:
        """Your subscriptions, oldest first."""
        return get("/v1/subscriptions", Page[Subscription], limit=100)

    @operation
    def get(self, id: str) -> Call[Subscription]:
        """One subscription."""
        return get(f"/v1/subscriptions/{segment(id)}", Subscription)

    @operation
    def delete(self, id: str) -> Call[None]:
        """End a subscription."""
        return delete(f"/v1/subscriptions/{segment(id)}")

    @operation
    def events(self, id: str, after: str | None = None, wait_seconds: int = 0, limit: int = 100) -> Call[EventPage]:
        """Events after a cursor, in the order of their source. With `wait_seconds` the relay waits for the first."""
        path = f"/v1/subscriptions/{segment(id)}/events"
        return get(path, EventPage, wait_seconds, after=after, wait=wait_seconds, limit=limit)

    @following
    def follow(self) -> None:
        """Follow a subscription's feed, entry by entry, from `after` on, or from where the subscription joined it.

        `after` is a `FeedPosition`, or the `seq` of an entry alone: then that entry itself is not known, and the one
        that follows it is believed to. Without the place it begins with the oldest entry that the relay still keeps,
        where the first ones are forgotten.
        It waits for what is not there yet, until you stop; with `wait_seconds=0` it ends with what is there. Raises
        `BrokenSequence` when an entry does not follow the one before. Keep `seq` and the `hash_of` of the body of the
        last one: that is the `after` to go on with.
        """

    @listing
    def watchers(self) -> Call[Page[Watcher]]:
        """The watchers of what you are subscribed to."""
        return get("/v1/watchers", Page[Watcher], limit=100)


class Payments(Area[C]):
    """What costs something, and what you paid."""

    @operation
    def prices(self) -> Call[PriceList]:
        """What costs something; all else is free."""
        return get("/v1/prices", PriceList)

    @listing
    def list(self) -> Call[Page[Payment]]:
        """Your payments, newest first."""
        return get("/v1/payments", Page[Payment], limit=100)

    @operation
    def get(self, id: str) -> Call[Payment]:
        """One payment."""
        return get(f"/v1/payments/{segment(id)}", Payment)


class Messages(Area[C]):
    """What you have to say."""

    @operation
    def publish(
        self,
        type: str,
        data: Json,
        to: Sequence[str] | None = None,
        order_key: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Call[PublishedMessage]:
        """Publish a message to those of your endpoints that take it, or of the endpoints and agents that `to` names.

        With an `idempotency_key` of your own, such as the id of what it tells of, it is published once for a day,
        however often you ask, also after a crash.
        """
        new = NewMessage(type=type, data=data, to=None if to is None else [*to], order_key=order_key)
        return once(post_set("/v1/messages", PublishedMessage, new), idempotency_key)

    @operation
    def publish_all(
        self, messages: Sequence[NewMessage], *, idempotency_key: str | None = None
    ) -> Call[PublishedMessages]:
        """Publish up to 100 messages, all or none; under an `idempotency_key` once, as `publish` does."""
        new = NewMessages(messages=[*messages])
        return once(post_set("/v1/messages/batch", PublishedMessages, new), idempotency_key)

    @listing
    def list(self, type: str | None = None) -> Call[Page[Message]]:
        """What you have published, newest first."""
        return get("/v1/messages", Page[Message], type=type, limit=100)

    @operation
    def get(self, id: str) -> Call[MessageDetail]:
        """A message with its data, and how many of its deliveries are in which state."""
        return get(f"/v1/messages/{segment(id)}", MessageDetail)


class Deliveries(Area[C]):
    """What is under way to you, or has arrived, or has not."""

    @listing
    def list(
        self,
        state: str | None = None,
        endpoint: str | None = None,
        *,
        undelivered: bool | None = None,
        type: str | None = None,
        subject: str | None = None,
        message: str | None = None,
        order_key: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Call[Page[Delivery]]:
        """Deliveries, newest first: those in a state, or several by comma; with `undelivered` what never arrived."""
        return get(
            "/v1/deliveries",
            Page[Delivery],
            state=state,
            endpoint=endpoint,
            undelivered="true" if undelivered else None,
            type=type,
            subject=subject,
            message=message,
            order_key=order_key,
            since=since,
            until=until,
            limit=100,
        )

    @operation
    def get(self, id: str) -> Call[DeliveryDetail]:
        """One delivery with its message and its attempts."""
        return get(f"/v1/deliveries/{segment(id)}", DeliveryDetail)

    @operation
    def redeliver(self, id: str) -> Call[Delivery]:
        """Attempt a delivery again, with the same webhook-id."""
        return post(f"/v1/deliveries/{segment(id)}/redeliver", Delivery)

    @operation
    def cancel(self, id: str) -> Call[Delivery]:
        """Let a delivery that is on its way end here."""
        return post(f"/v1/deliveries/{segment(id)}/cancel", Delivery)

    @operation
    def expunge(self, id: str) -> Call[DeliveryDetail]:
        """Remove the payload of a delivery's message for good, for all deliveries of that message."""
        return post(f"/v1/deliveries/{segment(id)}/expunge", DeliveryDetail)

    @operation
    def redrive(
        self,
        endpoint: str | None = None,
        type: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        rate_per_second: float = 50,
    ) -> Call[Recovery]:
        """Send again what has failed for good, at one endpoint or all."""
        asked = NewRedrive(endpoint=endpoint, type=type, since=since, until=until, rate_per_second=rate_per_second)
        return post("/v1/deliveries/redrive", Recovery, asked)


class Recoveries(Area[C]):
    """What is sent again in bulk. Begun by `endpoints.recover` and `deliveries.redrive`."""

    @listing
    def list(self, state: RecoveryState | None = None) -> Call[Page[Recovery]]:
        """Your recoveries, newest first."""
        return get("/v1/recoveries", Page[Recovery], state=state, limit=100)

    @operation
    def get(self, id: str) -> Call[Recovery]:
        """One recovery and how far it has got."""
        return get(f"/v1/recoveries/{segment(id)}", Recovery)

    @operation
    def cancel(self, id: str) -> Call[Recovery]:
        """Send nothing more of it; what is on its way stays so."""
        return cancel(f"/v1/recoveries/{segment(id)}", Recovery)


class Events(Area[C]):
    """What happened to your things."""

    @listing
    def list(
        self,
        kind: str | None = None,
        subject: str | None = None,
        after_seq: int | None = None,
        order: EventOrder | None = None,
    ) -> Call[Page[Event]]:
        """What happened, oldest first unless you say `newest`; only what came after the event of this number."""
        return get("/v1/events", Page[Event], kind=kind, subject=subject, after_seq=after_seq, order=order, limit=100)

    @operation
    def proof(self, id: str, *, subscription: str | None = None) -> Call[EventProof]:
        """The proof of an event on a chain that a subscription of yours was told; `tocsin.proofs.verify` checks it.

        The event is given as that subscription was told it; by default as the oldest of yours was.
        """
        return get(f"/v1/events/{segment(id)}/proof", EventProof, subscription_id=subscription)


def _jwk(key: PrivateKey) -> Jwk:
    return Jwk(x=base64url(key.public.raw))
