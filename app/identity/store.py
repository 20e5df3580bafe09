"""SQL of agents, keys and nonces."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from app.identity.models import Agent, AgentKey
from app.kit.sql import sql


class KnownKey(NamedTuple):
    """A key as a request is judged by it. Not a table's object: each request reads one."""

    agent_id: str
    public_key: str
    retired_at: datetime | None


async def key(db: AsyncSession, keyid: str) -> KnownKey | None:
    """The key of that thumbprint, live or retired."""
    statement = sql("select agent_id, public_key, retired_at from agent_keys where keyid = :keyid")
    row = (await db.execute(statement, {"keyid": keyid})).one_or_none()
    return None if row is None else KnownKey._make(row)


async def agent(db: AsyncSession, agent_id: str) -> Agent | None:
    """The agent of that id."""
    return await db.get(Agent, agent_id)


async def live_key(db: AsyncSession, agent_id: str) -> AgentKey | None:
    """The key that speaks for the agent now, locked against a rotation at the same time."""
    question = select(AgentKey).where(col(AgentKey.agent_id) == agent_id, col(AgentKey.retired_at).is_(None))
    return (await db.scalars(question.with_for_update())).one_or_none()


async def latest_key(db: AsyncSession, agent_id: str) -> AgentKey:
    """The key that speaks, or spoke last, for the agent."""
    question = select(AgentKey).where(col(AgentKey.agent_id) == agent_id)
    ordered = question.order_by(col(AgentKey.retired_at).desc().nulls_first(), col(AgentKey.created_at).desc())
    return (await db.scalars(ordered.limit(1))).one()


async def add_key(db: AsyncSession, new: AgentKey) -> bool:
    """Whether the key was new. False: somebody has registered it, perhaps this very moment."""
    statement = sql(
        """
        insert into agent_keys (keyid, agent_id, public_key, created_at)
        values (:keyid, :agent_id, :public_key, :created_at)
        on conflict (keyid) do nothing returning keyid
        """
    )
    return (await db.execute(statement, new.model_dump())).first() is not None


async def use_nonce(db: AsyncSession, keyid: str, nonce: str, expires_at: datetime) -> bool:
    """Whether the key uses this nonce for the first time; remembers it until `expires_at`."""
    statement = sql(
        """
        insert into nonces (keyid, nonce, expires_at) values (:keyid, :nonce, :expires_at)
        on conflict do nothing returning keyid
        """
    )
    values = {"keyid": keyid, "nonce": nonce, "expires_at": expires_at}
    return (await db.execute(statement, values)).first() is not None


async def forget_nonces(db: AsyncSession, now: datetime) -> int:
    """Drop nonces whose signatures have expired. Returns how many."""
    dropped = await db.execute(sql("delete from nonces where expires_at <= :now returning 1"), {"now": now})
    return len(dropped.all())
