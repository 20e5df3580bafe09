"""Tables of endpoints, messages, deliveries and their attempts, and of the keys that sign for the relay."""

from datetime import datetime

from sqlmodel import Column, DateTime, Field, Index, SQLModel, text


def _moment(*, nullable: bool = False) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable)


class Endpoint(SQLModel, table=True):
    """Where an agent wants to be rung. Due while it has to be challenged; `attempts` as in Delivery."""

    __tablename__ = "endpoints"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("endpoints_by_agent", "agent_id", "id"),
        Index("endpoints_due", "due_at", postgresql_where=text("due_at is not null")),
    )

    id: str = Field(primary_key=True)
    agent_id: str = Field(foreign_key="agents.id")
    url: str
    description: str | None = None
    state: str  # pending, active or disabled
    state_reason: str | None = None
    secret: str
    due_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    attempts: int = 0
    attempts_before: int = 0
    verified_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    created_at: datetime = Field(sa_column=_moment())
    updated_at: datetime = Field(sa_column=_moment())


class Message(SQLModel, table=True):
    """What is said, stored once for all its recipients. The body is the text that is posted, byte for byte."""

    __tablename__ = "messages"  # pyright: ignore[reportAssignmentType]

    id: str = Field(primary_key=True)
    agent_id: str | None = None  # whose message it is, where it is one agent's
    type: str
    body: str
    subject: str | None = None  # what it is about, such as a fire: whose conclusion its feature wants to hear of
    created_at: datetime = Field(sa_column=_moment())


class Delivery(SQLModel, table=True):
    """A message on its way to an endpoint.

    Pending with `due_at`: to be attempted then. Pending without: it waits until its endpoint is active.
    `attempts` counts claims and is the fencing token, so it never goes back; `attempts_before` says how many of them
    were made before the delivery was last set on its way, so that a redelivery climbs the ladder from its foot.
    """

    # No foreign keys here and on attempts: they are written thousands of times a second, by us alone, in the
    # transactions that write what they refer to.

    __tablename__ = "deliveries"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("deliveries_due", "due_at", postgresql_where=text("due_at is not null")),
        Index("deliveries_by_agent", "agent_id", "id"),
        Index("deliveries_waiting", "endpoint_id", postgresql_where=text("state = 'pending' and due_at is null")),
    )

    id: str = Field(primary_key=True)
    message_id: str
    endpoint_id: str
    agent_id: str
    state: str = "pending"  # or delivered, failed, cancelled
    due_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    attempts: int = 0
    attempts_before: int = 0
    created_at: datetime = Field(sa_column=_moment())
    concluded_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    last_status: int | None = None
    last_error: str | None = None


class Attempt(SQLModel, table=True):
    """One request that was made, and what came back. Written when it has ended."""

    __tablename__ = "attempts"  # pyright: ignore[reportAssignmentType]

    delivery_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    started_at: datetime = Field(sa_column=_moment())
    duration_ms: int
    status: int | None = None
    error: str | None = None
    response_excerpt: str | None = None


class SigningKey(SQLModel, table=True):
    """A key that signs for the relay, by purpose. Made once, by whichever process needs it first."""

    __tablename__ = "signing_keys"  # pyright: ignore[reportAssignmentType]

    kid: str = Field(primary_key=True)
    purpose: str = Field(unique=True)
    private_key: str
    created_at: datetime = Field(sa_column=_moment())
