"""Tables of schedules, of their fires, and of what was asked of them."""

from datetime import datetime
from typing import Any

from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import (
    BigInteger,
    Column,
    DateTime,
    Field,
    ForeignKey,
    Index,
    SQLModel,
    String,
    UniqueConstraint,
    false,
    text,
)


def _moment(*, nullable: bool = False) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable)


def _count() -> Column[int]:
    return Column(BigInteger, nullable=False, server_default="0")


class Schedule(SQLModel, table=True):
    """What an agent wants to be told, when and where.

    `next_fire` is the earliest slot that is not in the journal yet; null when there is none to plan. A paused schedule
    keeps it, and is not planned.
    """

    __tablename__ = "schedules"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        UniqueConstraint("agent_id", "chosen_id", name="schedules_by_chosen_id"),
        Index("schedules_by_agent", "agent_id", "id"),
        Index("schedules_by_endpoint", "endpoint_id"),
        Index("schedules_due", "next_fire", postgresql_where=text("state = 'active' and next_fire is not null")),
        Index("schedules_by_tzdata", "tzdata", postgresql_where=text("tzdata is not null")),
    )

    id: str = Field(primary_key=True)
    agent_id: str = Field(foreign_key="agents.id")
    chosen_id: str | None = None
    # Null once the endpoint has been deleted: the slots from then on are skipped, and say why.
    endpoint_id: str | None = Field(
        default=None, sa_column=Column(String, ForeignKey("endpoints.id", ondelete="SET NULL"), nullable=True)
    )
    name: str | None = None
    payload: str  # JSON text: jsonb would rewrite numbers
    version: int = 1
    state: str = "active"  # or paused, completed
    pause_reason: str | None = None
    paused_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))

    # When
    spec: dict[str, Any] | list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False))
    starts_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    ends_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    jitter_seconds: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    tzdata: str | None = None  # the release that `next_fire` was computed with; null where no zone matters

    # How often, and what else
    max_fires: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    overlap: str = Field(default="allow", sa_column_kwargs={"server_default": "allow"})
    buffer_max: int | None = None
    misfire: str = Field(default="latest", sa_column_kwargs={"server_default": "latest"})
    catch_up_max: int | None = None
    catch_up_seconds: int | None = None
    completion: str = Field(default="delivery", sa_column_kwargs={"server_default": "delivery"})  # or report
    completion_seconds: int | None = None
    pause_after: int | None = None
    notify_endpoint_id: str | None = None

    # How far it has got
    next_fire: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    last_fire: datetime | None = Field(default=None, sa_column=_moment(nullable=True))  # nominal, the latest planned
    runs: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))  # planned so far
    fired: int = Field(default=0, sa_column=_count())  # slots of its own that fired: counted where max_fires is set
    give_ups: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # deliveries in a row that failed
    created_at: datetime = Field(sa_column=_moment())
    updated_at: datetime = Field(sa_column=_moment())


class Fire(SQLModel, table=True):
    """One slot of a schedule, in the journal. The key is what keeps a slot from becoming two fires.

    Planned: a worker holds it until `due_at`, after which another may take it over; `attempts` counts the holders and
    is the fencing token. Buffered: it waits for the run before it. Afterwards fired, skipped (with a reason) or dead,
    for good.
    """

    # No foreign keys: the journal outlives its schedule.

    __tablename__ = "fires"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("fires_due", "due_at", postgresql_where=text("due_at is not null and not late")),
        Index("fires_late", "due_at", postgresql_where=text("due_at is not null and late")),
        Index("fires_open", "schedule_id", "scheduled_at", postgresql_where=text("state in ('planned', 'buffered')")),
        Index("fires_outstanding", "schedule_id", postgresql_where=text("outstanding")),
        Index("fires_until", "schedule_id", "until", postgresql_where=text("until is not null")),
        Index("fires_running_out", "ends_by", postgresql_where=text("outstanding and ends_by is not null")),
    )

    schedule_id: str = Field(primary_key=True)
    scheduled_at: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    kind: str = Field(default="auto", primary_key=True)  # or manual:<id>, backfill:<id>
    id: str = Field(unique=True)
    agent_id: str
    version: int
    state: str  # planned, buffered, fired, skipped or dead
    reason: str | None = None
    # Skipped only: the row stands for every slot before this time, too.
    until: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    run: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    previous: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    fire_at: datetime = Field(sa_column=_moment())
    due_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    attempts: int = 0
    # Fires late by intent (caught up, or backfilled): at a bounded rate, and never ahead of what is due now.
    late: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    overlap: str = Field(default="allow", sa_column_kwargs={"server_default": "allow"})
    planned_at: datetime = Field(sa_column=_moment())
    fired_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    message_id: str | None = None
    delivery_id: str | None = None
    # A run that others of its schedule wait for, until it has been delivered or reported, or its time is up.
    outstanding: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    ends_by: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    completed_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class Skips(SQLModel, table=True):
    """How many journal entries of a schedule were skipped, by reason."""

    __tablename__ = "schedule_skips"  # pyright: ignore[reportAssignmentType]

    schedule_id: str = Field(sa_column=Column(String, ForeignKey("schedules.id", ondelete="CASCADE"), primary_key=True))
    reason: str = Field(primary_key=True)
    count: int = Field(sa_column=Column(BigInteger, nullable=False))


class Backfill(SQLModel, table=True):
    """A range of past slots that an agent asked to be fired after all. How far it has got stands in the journal."""

    __tablename__ = "backfills"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index("backfills_by_schedule", "schedule_id", "id"),)

    id: str = Field(primary_key=True)
    schedule_id: str
    agent_id: str
    range_start: datetime = Field(sa_column=_moment())
    range_end: datetime = Field(sa_column=_moment())
    overlap: str
    slots: int
    created_at: datetime = Field(sa_column=_moment())
    cancelled_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
