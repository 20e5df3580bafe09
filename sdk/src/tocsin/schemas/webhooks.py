"""What rings: the body of every webhook, by its type.

A body is compact JSON with a `type`, the moment when the message was made, and `data`; what an agent published also
says who did. It is signed as Standard
Webhooks say; `webhook-id` is `<endpoint id>_<message id>`, stable over retries.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from tocsin.schemas.agents import Jwk
from tocsin.schemas.schedules import FireKind
from tocsin.schemas.wire import Json, Timestamp, Wire

__all__ = [
    "WEBHOOKS",
    "ChallengeAnswer",
    "EndpointDisabled",
    "EndpointTest",
    "EndpointVerification",
    "EventBatch",
    "EventMatched",
    "EventRetracted",
    "JwkSet",
    "Published",
    "ScheduleFired",
    "SchedulePaused",
    "SubscriptionHeartbeat",
    "Webhook",
]


Made = Annotated[Timestamp, Field(description="When the message was made; the same over retries.")]


class Webhook(Wire):
    """The body of a ring: `type`, `timestamp` and `data`."""


class Fired(Wire):
    """One fire of a schedule."""

    schedule_id: str
    chosen_id: str | None = Field(default=None, description="The id that you chose for the schedule, if you did.")
    fire_id: str = Field(description="Derived from schedule, kind and nominal time: one slot is never two fires.")
    kind: FireKind = Field(default="auto", description="The schedule's own slot, triggered by hand, or backfilled.")
    scheduled_at: Timestamp = Field(description="The nominal time.")
    fired_at: Timestamp
    run: int | None = Field(
        default=None,
        description="Numbers the schedule's own slots, from 1. One that was skipped at its time leaves a gap.",
    )
    previous: Timestamp | None = Field(default=None, description="Nominal time of the fire before.")
    upcoming: list[Timestamp] = Field(description="The next nominal times, five at most.")
    payload: Json = Field(default=None, description="What the agent gave to be sent along.")


class ScheduleFired(Webhook):
    """A schedule has fired."""

    type: Literal["schedule.fired"] = "schedule.fired"
    timestamp: Made
    data: Fired


class Paused(Wire):
    """A schedule that the relay paused by itself."""

    schedule_id: str
    chosen_id: str | None = None
    name: str | None = None
    reason: str
    give_ups: int = Field(description="How many deliveries in a row were given up.")
    paused_at: Timestamp


class SchedulePaused(Webhook):
    """A schedule was paused, because delivery after delivery was given up. Resume it once its endpoint answers."""

    type: Literal["schedule.paused"] = "schedule.paused"
    timestamp: Made
    data: Paused


class Entry(Wire):
    """An entry of a feed: what all hear who want the same in the same way."""

    feed_id: str
    seq: int = Field(description="Its number in the feed: one more than that of the entry before.")
    prev: str = Field(description="SHA-256 of the entry before, of its body as it was rung; of the first: 64 zeros.")
    source_id: str


class Told(Wire):
    """Something that a watched source showed."""

    event_id: str = Field(description="The same for every receiver of this event.")
    kind: str = Field(description="What was seen, such as `evm.log` or `http.json`.")
    observed_at: Timestamp
    payload: Json = Field(description="The event itself; its shape depends on `kind`.")


class TakenBack(Told):
    """Something that is no longer so."""

    retracts: str = Field(description="The `event_id` that is no longer so.")
    retracts_seq: int = Field(description="The number of the entry that told it.")


class Matched(Entry, Told):
    """Something that a watched source showed."""


class EventMatched(Webhook):
    """An event matched a filter of yours."""

    type: Literal["event.matched"] = "event.matched"
    timestamp: Made
    data: Matched


class Retracted(Entry, TakenBack):
    """An event that a reorganisation took back."""


class EventRetracted(Webhook):
    """An event that you were told of is no longer part of its chain."""

    type: Literal["event.retracted"] = "event.retracted"
    timestamp: Made
    data: Retracted


class ToldInBatch(Told):
    """An event of a batch."""

    type: Literal["event.matched"]


class TakenBackInBatch(TakenBack):
    """A retraction of a batch."""

    type: Literal["event.retracted"]


class BatchBlock(Wire):
    """The block that all of a batch is in."""

    number: int | None = None
    hash: str | None = None


class Batch(Entry):
    """What a feed has to say of one block; of one that has more than fits, a part."""

    block: BatchBlock
    items: list[Annotated[ToldInBatch | TakenBackInBatch, Field(discriminator="type")]]


class EventBatch(Webhook):
    """All events of a block that matched a filter of yours, or all that a reorganisation took back with it."""

    type: Literal["event.batch"] = "event.batch"
    timestamp: Made
    data: Batch


class Heartbeat(Entry):
    """Nothing has matched since this feed said something last."""

    observed_at: Timestamp
    after: int = Field(description="The block at which the feed said something last, or began.")
    through: BatchBlock = Field(description="The block up to which nothing more has matched; its hash where known.")


class SubscriptionHeartbeat(Webhook):
    """Nothing that you subscribed to has happened for as many blocks as you asked for."""

    type: Literal["subscription.heartbeat"] = "subscription.heartbeat"
    timestamp: Made
    data: Heartbeat


class Challenge(Wire):
    """A question that only a willing receiver answers."""

    endpoint_id: str
    challenge: str = Field(description="Used once. Answer 2xx with it.")


class EndpointVerification(Webhook):
    """Does this endpoint want to be rung? Answer 2xx with `{"challenge": "<the same>"}`."""

    type: Literal["endpoint.verification"] = "endpoint.verification"
    timestamp: Made
    data: Challenge


class ChallengeAnswer(Wire):
    """The body of a 2xx answer to `endpoint.verification`."""

    challenge: str


class Disabled(Wire):
    """An endpoint that the relay sends nothing to any more."""

    endpoint_id: str
    url: str
    reason: str
    disabled_at: Timestamp


class EndpointDisabled(Webhook):
    """Another of your endpoints was disabled. What is sent to it is kept; enable it once it answers."""

    type: Literal["endpoint.disabled"] = "endpoint.disabled"
    timestamp: Made
    data: Disabled


class Tested(Wire):
    """A test that the endpoint's owner asked for."""

    endpoint_id: str
    note: str = "A test ring, asked for by the owner of this endpoint."


class EndpointTest(Webhook):
    """A test ring."""

    type: Literal["endpoint.test"] = "endpoint.test"
    timestamp: Made
    data: Tested


class Published(Webhook):
    """An agent published a message of a type of its own."""

    type: str = Field(description="Chosen by the sender; never one of the relay's own.")
    timestamp: Made
    sender: str = Field(description="Who published it, agt_…: you, or an agent among the endpoint's `senders`.")
    data: Json


class JwkSet(Wire):
    """Public keys (RFC 7517): any of them may have signed a `v1a`."""

    keys: list[Jwk]


WEBHOOKS: Mapping[str, type[Webhook]] = {
    "schedule.fired": ScheduleFired,
    "schedule.paused": SchedulePaused,
    "event.matched": EventMatched,
    "event.retracted": EventRetracted,
    "event.batch": EventBatch,
    "subscription.heartbeat": SubscriptionHeartbeat,
    "endpoint.verification": EndpointVerification,
    "endpoint.test": EndpointTest,
    "endpoint.disabled": EndpointDisabled,
    "*": Published,
}
"""The shape of a ring by its type; `*` is whatever type an agent has published."""
