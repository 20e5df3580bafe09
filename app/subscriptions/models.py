"""Tables of sources, what is wanted of them and by whom, and what was seen."""

from datetime import datetime
from typing import Any

from sqlalchemy import Double, String
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import BigInteger, Column, DateTime, Field, Index, SQLModel, UniqueConstraint, text


def _moment(*, nullable: bool = False) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable)


class Source(SQLModel, table=True):
    """A place that is watched, once for all who subscribe to it. Due while somebody does.

    `seq` counts what was told of it, without gaps: whoever adds to it holds the row. `attempts` is the fencing token of
    whoever looks. `filters_version` changes whenever what is wanted of it does.
    """

    __tablename__ = "sources"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index("sources_due", "due_at", postgresql_where=text("due_at is not null")),)

    id: str = Field(primary_key=True)
    kind: str  # evm, http.json, http.feed or inbox
    params: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    state: str  # idle, starting, active or halted
    state_reason: str | None = None
    position: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    seq: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    filters_version: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    due_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    attempts: int = 0
    created_at: datetime = Field(sa_column=_moment())


class Filter(SQLModel, table=True):
    """What is wanted of a source: one row, however many want it."""

    __tablename__ = "filters"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index("filters_by_source", "source_id"),)

    id: str = Field(primary_key=True)
    source_id: str = Field(foreign_key="sources.id")
    spec: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    trouble: str | None = None  # why the latest look could not judge


class Inbox(SQLModel, table=True):
    """A source that others post to. Its token and secret are sealed; what it has room for is as of `filled_at`."""

    __tablename__ = "inboxes"  # pyright: ignore[reportAssignmentType]

    source_id: str = Field(primary_key=True, foreign_key="sources.id")
    agent_id: str = Field(foreign_key="agents.id")
    token_sha256: str = Field(unique=True)
    sealed_with: str
    sealed: str
    tokens: float = Field(default=0.0, sa_column=Column(Double, nullable=False))
    filled_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    created_at: datetime = Field(sa_column=_moment())


class InboxCall(SQLModel, table=True):
    """What came to an inbox, by what a repetition of it is recognised by, until then."""

    __tablename__ = "inbox_calls"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index("inbox_calls_until", "source_id", "until"),)

    source_id: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    until: datetime = Field(sa_column=_moment())
    event_id: str


class Subscription(SQLModel, table=True):
    """An agent's wish to hear of what a filter lets through, from `after_seq` on."""

    __tablename__ = "subscriptions"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("subscriptions_by_agent", "agent_id", "id"),
        Index("subscriptions_by_filter", "source_id", "filter_id"),
    )

    id: str = Field(primary_key=True)
    agent_id: str = Field(foreign_key="agents.id")
    source_id: str = Field(foreign_key="sources.id")
    filter_id: str = Field(foreign_key="filters.id")
    endpoint_id: str | None = None
    description: str | None = None
    after_seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    begins_after: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    created_at: datetime = Field(sa_column=_moment())


class Sighting(SQLModel, table=True):
    """Something that was told of a source: an event was seen, or is taken back. Due until it is on its way.

    An event keeps its id when it is taken back, and when it comes back. The body is the text that is rung.
    """

    __tablename__ = "sightings"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        UniqueConstraint("source_id", "seq"),
        Index("sightings_due", "due_at", postgresql_where=text("due_at is not null")),
        Index("sightings_by_filter", "filter_ids", postgresql_using="gin"),
        Index("sightings_by_block", "source_id", "block_hash", postgresql_where=text("block_hash is not null")),
    )

    id: str = Field(primary_key=True)
    source_id: str
    seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    event_id: str
    undoes: int | None = Field(default=None, sa_column=Column(BigInteger))  # seq of the sighting that is taken back
    filter_ids: list[str] = Field(sa_column=Column(ARRAY(String), nullable=False))
    block_hash: str | None = None
    type: str  # event.matched or event.retracted
    body: str
    seen_at: datetime = Field(sa_column=_moment())
    due_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    attempts: int = 0
