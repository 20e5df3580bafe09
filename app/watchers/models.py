"""Tables of what watchers remember between two looks."""

from datetime import datetime
from typing import Any

from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import BigInteger, Column, DateTime, Field, SQLModel


class Watcher(SQLModel, table=True):
    """How the watching of a source goes."""

    __tablename__ = "watchers"  # pyright: ignore[reportAssignmentType]

    source_id: str = Field(primary_key=True, foreign_key="sources.id")
    looked_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    last_error: str | None = None
    upstream_calls: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    failures: int = 0  # looks in a row that came to nothing
    doubts: int = 0  # looks in a row that saw the chain go back
    whole: bool = True  # whether the oldest of the blocks is where we began
    final_number: int | None = Field(default=None, sa_column=Column(BigInteger))
    final_hash: str | None = None  # null where the block was not seen
    providers: list[dict[str, Any]] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    etag: str | None = None
    last_modified: str | None = None
    body_sha256: str | None = None


class Block(SQLModel, table=True):
    """One of the newest blocks of a chain that we applied: one a height."""

    __tablename__ = "blocks"  # pyright: ignore[reportAssignmentType]

    source_id: str = Field(primary_key=True, foreign_key="sources.id")
    number: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    hash: str
    parent_hash: str
    timestamp: int = Field(sa_column=Column(BigInteger, nullable=False))


class Selection(SQLModel, table=True):
    """What a filter remembers of a document as it was last read: the value, or what its rule needs."""

    __tablename__ = "selections"  # pyright: ignore[reportAssignmentType]

    filter_id: str = Field(primary_key=True)
    source_id: str = Field(index=True)
    selected: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
