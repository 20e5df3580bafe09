"""Tables of endpoints, messages, deliveries and their attempts, and of the keys that sign for the relay."""

from datetime import datetime
from typing import Any

from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Column, DateTime, Field, Index, SQLModel, text


def _moment(*, nullable: bool = False) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable)


def _json(*, default: str | None = None) -> Column[Any]:
    # None is no value, and not the value null of JSON: what is asked of the column means the former.
    kind = JSONB(none_as_null=True)
    return Column(kind, nullable=default is None, server_default=None if default is None else text(f"'{default}'"))


class Endpoint(SQLModel, table=True):
    """Where an agent wants to be rung. Due while it has to be challenged; `attempts` as in Delivery.

    Of MCP Events, due too while its host has to be told that the subscription has ended: disabled, by its time or with
    its agent; or `ended`, by its owner's deletion. The latter is nobody's any more, and goes when that is done.
    """

    __tablename__ = "endpoints"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("endpoints_by_agent", "agent_id", "id"),
        Index("endpoints_by_state", "state"),  # to be counted
        Index("endpoints_due", "due_at", postgresql_where=text("due_at is not null")),
        Index("endpoints_rotating", "id", postgresql_where=text("jsonb_array_length(secrets) > 1")),
        Index("endpoints_expiring", "expires_at", postgresql_where=text("expires_at is not null")),
    )

    id: str = Field(primary_key=True)
    agent_id: str = Field(foreign_key="agents.id")
    url: str
    description: str | None = None
    state: str  # pending, active, paused or disabled; or ended
    state_reason: str | None = None
    secret: str | None = None  # as releases before sealing left it; null once it is in `secrets`
    # Sealed, the one that signs first in front: [{"key", "sealed", "created_at", "expires_at"}].
    secrets: Any = Field(default_factory=list[Any], sa_column=_json(default="[]"))
    headers: Any = Field(default=None, sa_column=_json())  # sealed, too: {"key", "sealed"}
    # What published messages it takes, and from whom else but its owner.
    types: Any = Field(default=None, sa_column=_json())
    filter: Any = Field(default=None, sa_column=_json())
    senders: Any = Field(default_factory=list[Any], sa_column=_json(default="[]"))
    # Its owner's own bounds, where the relay's are not what it wants.
    max_in_flight: int | None = None
    rate_per_second: float | None = None
    retry_seconds: Any = Field(default=None, sa_column=_json())  # waits before the 2nd, 3rd, … attempt
    timeout_seconds: float | None = None
    profile: str = Field(default="standard", sa_column_kwargs={"server_default": "standard"})  # or mcp
    subscription_id: str | None = None  # of one that has ended: its id until then
    expires_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    due_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    attempts: int = 0
    attempts_before: int = 0
    verified_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    created_at: datetime = Field(sa_column=_moment())
    updated_at: datetime = Field(sa_column=_moment())


class Lane(SQLModel, table=True):
    """What the engine remembers of an endpoint that is not simply rung: one row, made when it is first needed.

    Due while something is held that may go. Who commits a held delivery of an active endpoint makes its lane due in the
    same transaction; only one who holds this row's lock, and sees nothing held, may clear `due_at`.
    """

    __tablename__ = "lanes"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("lanes_due", "due_at", postgresql_where=text("due_at is not null")),
        Index("lanes_broken", "breaker", postgresql_where=text("breaker <> 'closed'")),
    )

    endpoint_id: str = Field(primary_key=True)
    due_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    # The breaker: closed, open or half_open.
    breaker: str = Field(default="closed", sa_column_kwargs={"server_default": "closed"})
    failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # in a row
    failing_since: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    opens: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # in a row
    open_until: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    # The token bucket, and who holds the places of an endpoint with few: delivery ids and the ends of their leases.
    tokens: float | None = None
    tokens_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    holders: Any = Field(default_factory=dict[str, Any], sa_column=_json(default="{}"))


class Message(SQLModel, table=True):
    """What is said, stored once for all its recipients. The body is the text that is posted, byte for byte."""

    __tablename__ = "messages"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("messages_by_sender", "sender_id", "id", postgresql_where=text("sender_id is not null")),
        {"postgresql_partition_by": "range (id)"},
    )

    id: str = Field(primary_key=True)
    agent_id: str | None = None  # whose message it is, where it is one agent's
    type: str
    body: str
    subject: str | None = None  # what it is about, such as a fire: whose conclusion its feature wants to hear of
    sender_id: str | None = None  # the agent that published it; null where the relay itself speaks
    order_key: str | None = None
    delivery_ids: Any = Field(default=None, sa_column=_json())  # of a published message, all that it set off
    traceparent: str | None = None  # of the request that caused it (W3C trace context)
    expunged_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))  # since then the body is empty
    created_at: datetime = Field(sa_column=_moment())


class Delivery(SQLModel, table=True):
    """A message on its way to an endpoint.

    Pending with `due_at`: to be attempted then, or claimed until then. Pending without: held, and `hold` says by what:
    its endpoint's `lane`, or the `order` in which an earlier one of the same key comes first.
    `attempts` counts claims and is the fencing token, so it never goes back; `attempts_before` says how many of them
    were made before the delivery was last set on its way, so that a redelivery climbs the ladder from its foot. After
    `unsent` of them no request was made: they are not among the attempts that its owner is shown.
    """

    # No foreign keys here and on attempts: they are written thousands of times a second, by us alone, in the
    # transactions that write what they refer to.

    __tablename__ = "deliveries"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("deliveries_due", "due_at", postgresql_where=text("due_at is not null")),
        Index("deliveries_by_agent", "agent_id", "id"),
        Index("deliveries_held", "endpoint_id", "id", postgresql_where=text("hold = 'lane'")),
        Index(
            "deliveries_in_order",
            "endpoint_id",
            "order_key",
            "id",
            postgresql_where=text("order_key is not null and state = 'pending'"),
        ),
        Index("deliveries_undelivered", "agent_id", "id", postgresql_where=text("state <> 'delivered'")),
        {"postgresql_partition_by": "range (id)"},
    )

    id: str = Field(primary_key=True)
    message_id: str
    endpoint_id: str
    agent_id: str
    state: str = "pending"  # or delivered, failed, cancelled
    reason: str | None = None  # why it failed or was cancelled
    hold: str | None = None  # lane or order
    order_key: str | None = None
    due_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    attempts: int = 0
    attempts_before: int = 0
    unsent: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    created_at: datetime = Field(sa_column=_moment())
    concluded_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    last_status: int | None = None
    last_error: str | None = None


class Attempt(SQLModel, table=True):
    """One request that was made, and what came back. Written when it has ended."""

    __tablename__ = "attempts"  # pyright: ignore[reportAssignmentType]
    __table_args__ = ({"postgresql_partition_by": "range (delivery_id)"},)

    delivery_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    started_at: datetime = Field(sa_column=_moment())
    duration_ms: int
    # How long each part of it took; null where there was none, such as a connection that was still open.
    lookup_ms: int | None = None
    connect_ms: int | None = None
    tls_ms: int | None = None
    wait_ms: int | None = None
    read_ms: int | None = None
    status: int | None = None
    error: str | None = None
    response_excerpt: str | None = None
    next_attempt_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class Recovery(SQLModel, table=True):
    """Deliveries of a span of time that are sent again, a batch at a time. Due while there may be more of them."""

    __tablename__ = "recoveries"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("recoveries_by_agent", "agent_id", "id"),
        Index("recoveries_due", "due_at", postgresql_where=text("due_at is not null")),
    )

    id: str = Field(primary_key=True)
    agent_id: str
    endpoint_id: str | None = None  # null: all of the agent's
    states: Any = Field(default_factory=list[Any], sa_column=_json(default="[]"))  # those of these states
    type: str | None = None
    since: datetime = Field(sa_column=_moment())
    until: datetime = Field(sa_column=_moment())
    rate_per_second: float
    state: str = "running"  # or done, cancelled
    position: str | None = None  # the delivery that was looked at last
    total: int
    sent: int = 0
    skipped: int = 0
    due_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    attempts: int = 0
    created_at: datetime = Field(sa_column=_moment())
    ended_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class SigningKey(SQLModel, table=True):
    """A key that signs for the relay, by purpose. The newest signs; older ones too, until they retire."""

    __tablename__ = "signing_keys"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        # One that has no end in sight, whoever makes the first of them.
        Index("signing_keys_current", "purpose", unique=True, postgresql_where=text("retires_at is null")),
    )

    kid: str = Field(primary_key=True)
    purpose: str
    private_key: str
    sealed_with: str | None = None  # the id of the key that seals `private_key`; null: as releases before left it
    signs_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))  # null: since it was made
    retires_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    created_at: datetime = Field(sa_column=_moment())
