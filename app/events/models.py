"""The journal's table."""

from datetime import datetime
from typing import Any

from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import BigInteger, Column, DateTime, Field, Index, SQLModel


class Event(SQLModel, table=True):
    """One thing that happened."""

    __tablename__ = "events"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index("events_by_agent", "agent_id", "seq"),)

    seq: int | None = Field(default=None, sa_column=Column(BigInteger, primary_key=True, autoincrement=True))
    kind: str
    subject: str
    agent_id: str | None = None
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    data: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
