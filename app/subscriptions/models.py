"""Tables of sources, what is wanted of them and by whom, and what was seen."""

from datetime import date, datetime
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


class InboxDay(SQLModel, table=True):
    """How much the inboxes of an agent have taken in a day, those that it has ended included."""

    __tablename__ = "inbox_days"  # pyright: ignore[reportAssignmentType]

    agent_id: str = Field(primary_key=True, foreign_key="agents.id")
    day: date = Field(primary_key=True)
    bytes: int = Field(sa_column=Column(BigInteger, nullable=False))


class Feed(SQLModel, table=True):
    """What all hear who want the same of a source in the same way: one sequence without gaps. Due while it may grow.

    `seq` and `hash` are those of its newest entry. Of its source it has looked at what is undone up to `read_seq`, and
    has told all that stands up to `released_seq`. Entries up to `sent_seq` are on their way to everybody; the one after
    it to the endpoints up to `sent_to`. It is worth a look once the head of its level, which is `depth` blocks below
    the one by that name, comes to `attention_at`; both count from that one.
    """

    __tablename__ = "feeds"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("feeds_due", "due_at", postgresql_where=text("due_at is not null")),
        Index("feeds_by_filter", "filter_id"),
        Index(
            "feeds_by_attention",
            "source_id",
            "level",
            "attention_at",
            postgresql_where=text("attention_at is not null"),
        ),
    )

    id: str = Field(primary_key=True)
    source_id: str = Field(foreign_key="sources.id")
    filter_id: str  # which is gone while nobody hears the feed
    finality: str
    batch: str | None = None
    heartbeat_blocks: int | None = None
    # A feed of the past: until it has caught up, what is seen waits. What is told up to this block was read from logs.
    from_block: int | None = Field(default=None, sa_column=Column(BigInteger))
    after_block: int | None = Field(default=None, sa_column=Column(BigInteger))
    is_catching_up: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    level: str  # latest, safe or finalized
    depth: int = Field(sa_column=Column(BigInteger, nullable=False))
    seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    hash: str
    read_seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    released_seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    sent_seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    sent_to: str = ""
    # The head of its level when it last said something, or began: heartbeats count from there.
    spoke_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    attention_at: int | None = Field(default=None, sa_column=Column(BigInteger))
    resting_since: datetime | None = Field(default=None, sa_column=_moment(nullable=True))  # nobody hears it
    due_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    created_at: datetime = Field(sa_column=_moment())


class FeedEntry(SQLModel, table=True):
    """One entry of a feed. The body is the text that is rung, and holds the hash of the body before.

    `event_ids` are those of the events that it tells or takes back: how an entry is found again by what it says.
    """

    __tablename__ = "feed_entries"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("feed_entries_by_age", "made_at"),
        Index("feed_entries_by_event", "event_ids", postgresql_using="gin"),
    )

    feed_id: str = Field(primary_key=True)
    seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    type: str
    body: str
    event_ids: list[str] = Field(sa_column=Column(ARRAY(String), nullable=False, server_default=text("'{}'")))
    made_at: datetime = Field(sa_column=_moment())


class Catching(SQLModel, table=True):
    """How far a feed has caught up with its source: due until it has. Its `id` is the feed's."""

    __tablename__ = "catching_up"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index("catching_up_due", "due_at", postgresql_where=text("due_at is not null")),)

    id: str = Field(primary_key=True)
    next_block: int = Field(sa_column=Column(BigInteger, nullable=False))
    until_block: int | None = Field(default=None, sa_column=Column(BigInteger))  # once it is known where live begins
    reach_blocks: int
    failures: int = 0
    last_error: str | None = None
    due_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    attempts: int = 0


class ToldEvent(SQLModel, table=True):
    """An event that a feed has told and may have to take back, and the entry that told it."""

    __tablename__ = "told_events"  # pyright: ignore[reportAssignmentType]

    feed_id: str = Field(primary_key=True)
    event_id: str = Field(primary_key=True)
    entry_seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    sighting_seq: int = Field(sa_column=Column(BigInteger, nullable=False))


class Subscription(SQLModel, table=True):
    """An agent's wish to hear a feed from `after_seq` on, whose entry has `after_hash`."""

    __tablename__ = "subscriptions"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("subscriptions_by_agent", "agent_id", "id"),
        Index("subscriptions_by_filter", "source_id", "filter_id"),
        Index("subscriptions_by_feed", "feed_id", "endpoint_id"),
    )

    id: str = Field(primary_key=True)
    agent_id: str = Field(foreign_key="agents.id")
    source_id: str = Field(foreign_key="sources.id")
    filter_id: str = Field(foreign_key="filters.id")
    feed_id: str = Field(foreign_key="feeds.id")
    endpoint_id: str | None = None
    description: str | None = None
    after_seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    after_hash: str
    begins_after: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    created_at: datetime = Field(sa_column=_moment())


class Sighting(SQLModel, table=True):
    """An entry in the record of a source: an event was seen, or is taken back.

    An event keeps its id when it is taken back, and when it comes back. It stands while nothing undoes the sighting.
    """

    __tablename__ = "sightings"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        UniqueConstraint("source_id", "seq"),
        Index("sightings_by_event", "event_id"),
        Index("sightings_by_age", "seen_at"),
        Index("sightings_by_block", "source_id", "block_hash", postgresql_where=text("block_hash is not null")),
    )

    id: str = Field(primary_key=True)
    source_id: str
    seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    event_id: str
    kind: str
    undoes: int | None = Field(default=None, sa_column=Column(BigInteger))  # seq of the sighting that is taken back
    undone_by: int | None = Field(default=None, sa_column=Column(BigInteger))  # seq of the sighting that took it back
    filter_ids: list[str] = Field(sa_column=Column(ARRAY(String), nullable=False))
    block_number: int | None = Field(default=None, sa_column=Column(BigInteger))
    block_hash: str | None = None
    payload: str  # JSON
    seen_at: datetime = Field(sa_column=_moment())


class Match(SQLModel, table=True):
    """That a sighting passed a filter: what a feed reads, from wherever it has got to."""

    __tablename__ = "matches"  # pyright: ignore[reportAssignmentType]

    filter_id: str = Field(primary_key=True)
    seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
