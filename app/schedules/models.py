"""Tables of schedules, and of their fires."""

from datetime import datetime
from typing import Any

from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import BigInteger, Column, DateTime, Field, ForeignKey, Index, SQLModel, String, text


def _moment(*, nullable: bool = False) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable)


class Schedule(SQLModel, table=True):
    """What an agent wants to be told, when and where.

    `next_fire` is the earliest slot that is not in the journal yet; null when there is none to plan.
    """

    __tablename__ = "schedules"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("schedules_by_agent", "agent_id", "id"),
        Index("schedules_by_endpoint", "endpoint_id"),
        Index("schedules_due", "next_fire", postgresql_where=text("next_fire is not null")),
    )

    id: str = Field(primary_key=True)
    agent_id: str = Field(foreign_key="agents.id")
    # Null once the endpoint has been deleted: the slots from then on are skipped, and say why.
    endpoint_id: str | None = Field(
        default=None, sa_column=Column(String, ForeignKey("endpoints.id", ondelete="SET NULL"), nullable=True)
    )
    name: str | None = None
    spec: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    payload: str  # JSON text: jsonb would rewrite numbers
    version: int = 1
    state: str = "active"  # or paused, completed
    next_fire: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    last_fire: datetime | None = Field(default=None, sa_column=_moment(nullable=True))  # nominal, the latest planned
    runs: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))  # planned so far
    created_at: datetime = Field(sa_column=_moment())
    updated_at: datetime = Field(sa_column=_moment())


class Fire(SQLModel, table=True):
    """One slot of a schedule, in the journal. The key is what keeps a slot from becoming two fires.

    Planned: a worker holds it until `due_at`, after which another may take it over; `attempts` counts the holders and
    is the fencing token. Afterwards fired, skipped (with a reason) or dead, for good.
    """

    # No foreign keys: the journal outlives its schedule.

    __tablename__ = "fires"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("fires_due", "due_at", postgresql_where=text("due_at is not null")),
        Index("fires_planned", "schedule_id", "scheduled_at", postgresql_where=text("state = 'planned'")),
    )

    schedule_id: str = Field(primary_key=True)
    kind: str = Field(default="auto", primary_key=True)
    scheduled_at: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    id: str = Field(unique=True)
    agent_id: str
    version: int
    state: str  # planned, fired, skipped or dead
    reason: str | None = None
    # Skipped only: the row stands for every slot before this time, too.
    until: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    run: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    previous: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    fire_at: datetime = Field(sa_column=_moment())
    due_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    attempts: int = 0
    planned_at: datetime = Field(sa_column=_moment())
    fired_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    message_id: str | None = None
