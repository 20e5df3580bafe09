"""Deliveries: a message on its way to an endpoint, attempt by attempt."""

from typing import Literal

from pydantic import Field

from tocsin.schemas.wire import Json, ListQuery, Timestamp, Wire

__all__ = ["Attempt", "Delivery", "DeliveryDetail", "DeliveryQuery", "DeliveryState", "WaitsFor"]

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
    webhook_id: str = Field(description="The `webhook-id` header of every attempt.")
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
        default=None, description="Null when concluded, or waiting for its endpoint."
    )
    created_at: Timestamp
    concluded_at: Timestamp | None = None
    last_status: int | None = None
    last_error: str | None = None


class DeliveryDetail(Delivery):
    """A delivery with its message and its recorded attempts, oldest first."""

    body: Json = Field(description="The message as it is posted.")
    history: list[Attempt]


class DeliveryQuery(ListQuery):
    """Which deliveries, newest first."""

    state: DeliveryState | None = None
    endpoint: str | None = Field(default=None, max_length=100, description="Only those to this endpoint.")
