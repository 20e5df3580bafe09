"""Deliveries: a message on its way to an endpoint, attempt by attempt."""

from typing import Annotated, Literal

from pydantic import Field

from tocsin.schemas.endpoints import EndpointState
from tocsin.schemas.wire import Json, ListQuery, Timestamp, Wire, in_words

__all__ = [
    "Attempt",
    "Counts",
    "Delivery",
    "DeliveryDetail",
    "DeliveryQuery",
    "DeliveryState",
    "EndpointStats",
    "WaitsFor",
]

DeliveryState = Literal["pending", "delivered", "failed", "cancelled"]

WaitsFor = Literal["endpoint", "order"]


class Attempt(Wire):
    """One request to the endpoint, and what came back."""

    number: int
    started_at: Timestamp
    duration_ms: int
    status: int | None = Field(default=None, description="HTTP status; null when no complete answer came.")
    error: str | None = Field(
        default=None, description="Why no complete answer came, such as `timeout` or `tls_error`."
    )
    response_excerpt: str | None = Field(default=None, description="The beginning of the answer's body, as text.")
    lookup_ms: int | None = Field(default=None, description="Spent on looking the host up.")
    connect_ms: int | None = Field(default=None, description="Spent on connecting; null where a connection was open.")
    tls_ms: int | None = Field(default=None, description="Spent on TLS.")
    wait_ms: int | None = Field(default=None, description="From the request sent to the first byte of the answer.")
    read_ms: int | None = Field(default=None, description="Spent on reading the answer.")
    next_attempt_at: Timestamp | None = Field(default=None, description="When the next was to follow, if one was.")


class Delivery(Wire):
    """A delivery. It is attempted until the endpoint answers 2xx or the last attempt has failed."""

    id: str = Field(description="dlv_…")
    webhook_id: str = Field(
        description="The `webhook-id` header of every attempt; to endpoints of MCP Events that is `message_id`."
    )
    endpoint_id: str
    message_id: str
    type: str
    subject: str | None = Field(
        default=None, description="What the message is about: the id of the fire that it rings."
    )
    state: DeliveryState
    reason: str | None = Field(default=None, description="Why it has failed or was cancelled.")
    waits_for: WaitsFor | None = Field(
        default=None, description="What holds it: its endpoint, or an earlier one with the same `order_key`."
    )
    order_key: str | None = None
    attempts: int = Field(description="Attempts begun so far; one that the relay died in counts, and has no record.")
    next_attempt_at: Timestamp | None = Field(
        default=None,
        description="Null when concluded, or waiting for its endpoint. While an attempt is under way: when the next "
        "would be made if nothing came of this one.",
    )
    created_at: Timestamp
    concluded_at: Timestamp | None = None
    last_status: int | None = None
    last_error: str | None = None


class DeliveryDetail(Delivery):
    """A delivery with its message and its recorded attempts, oldest first."""

    body: Json = Field(description="The message as it is posted; null once it was expunged.")
    expunged_at: Timestamp | None = Field(default=None, description="When its payload was removed for good.")
    history: list[Attempt] = Field(description="The latest 100 attempts, oldest first.")


_STATE = "(pending|delivered|failed|cancelled)"
_STATES = f"{_STATE}(,{_STATE}){{0,3}}"


class DeliveryQuery(ListQuery):
    """Which deliveries, newest first. Where few of many match, a page may be short, or empty, and have a `next`."""

    state: Annotated[
        str | None, in_words(_STATES, "pending, delivered, failed or cancelled; several by comma, without spaces")
    ] = Field(
        default=None,
        pattern=f"^{_STATES}$",
        description="Only those in this state: pending, delivered, failed or cancelled; several by comma.",
    )
    undelivered: bool | None = Field(
        default=None, description="true: only what has not been delivered: pending, failed and cancelled."
    )
    endpoint: str | None = Field(default=None, max_length=100, description="Only those to this endpoint.")
    type: str | None = Field(default=None, max_length=200, description="Only messages of this type.")
    subject: str | None = Field(default=None, max_length=200, description="Only what is about this, such as a fire.")
    message: str | None = Field(default=None, max_length=100, description="Only those of this message.")
    order_key: str | None = Field(default=None, max_length=128, description="Only those with this order key.")
    since: Timestamp | None = Field(default=None, description="Only what was sent then or later.")
    until: Timestamp | None = Field(default=None, description="Only what was sent before then.")


class Counts(Wire):
    """How many deliveries of a time are in each state now."""

    since: Timestamp = Field(
        description="What was sent from then on. Later than asked for where there is more than is counted."
    )
    pending: int
    delivered: int
    failed: int
    cancelled: int


class EndpointStats(Wire):
    """How an endpoint does: what is sent to it, what waits for it, and since when it fails."""

    endpoint_id: str
    state: EndpointState
    breaker: Literal["closed", "open", "half_open"] = Field(
        description="open: it has failed so often that it is left alone for a while; half_open: it is being probed."
    )
    failures: int = Field(description="Failed attempts in a row, as far as they have been counted.")
    failing_since: Timestamp | None = None
    open_until: Timestamp | None = Field(default=None, description="When it is probed next.")
    held: int = Field(description="How many deliveries wait for it, up to 50,000.")
    last_day: Counts
    last_week: Counts
