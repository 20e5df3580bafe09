"""Agents, the keys that speak for them, and the nonces that were used."""

from datetime import datetime

from sqlmodel import Column, DateTime, Field, SQLModel


class Agent(SQLModel, table=True):
    """An agent: whoever holds its current key."""

    __tablename__ = "agents"  # pyright: ignore[reportAssignmentType]

    id: str = Field(primary_key=True)
    name: str | None = None
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    revoked_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class AgentKey(SQLModel, table=True):
    """A key of an agent. `retired_at` says since when it signs nothing; a retired key is never taken up again."""

    __tablename__ = "agent_keys"  # pyright: ignore[reportAssignmentType]

    keyid: str = Field(primary_key=True)
    agent_id: str = Field(foreign_key="agents.id", index=True)
    public_key: str
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    retired_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class Nonce(SQLModel, table=True):
    """A nonce that a key has used for a write, kept until no signature that carries it can be valid any more."""

    __tablename__ = "nonces"  # pyright: ignore[reportAssignmentType]

    keyid: str = Field(primary_key=True)
    nonce: str = Field(primary_key=True)
    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, index=True))
