"""SQL of endpoints, and of the keys that sign for the relay."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from app.deliveries.models import Endpoint, SigningKey
from app.deliveries.profiles import ENDED
from app.kit.sql import sql

# What is left of a deleted subscription until its host has been told has an id of its own, and is shown to nobody.
_is_there = col(Endpoint.state) != "ended"


async def endpoint(db: AsyncSession, agent_id: str, endpoint_id: str, *, lock: bool = False) -> Endpoint | None:
    """This agent's endpoint."""
    question = select(Endpoint).where(col(Endpoint.id) == endpoint_id, col(Endpoint.agent_id) == agent_id, _is_there)
    return await db.scalar(question.with_for_update() if lock else question)


async def endpoints(
    db: AsyncSession, agent_id: str, state: str | None, after: str | None, limit: int
) -> Sequence[Endpoint]:
    """An agent's endpoints, oldest first."""
    question = select(Endpoint).where(col(Endpoint.agent_id) == agent_id, _is_there)
    if state is not None:
        question = question.where(col(Endpoint.state) == state)
    if after is not None:
        question = question.where(col(Endpoint.id) > after)
    return (await db.scalars(question.order_by(col(Endpoint.id)).limit(limit))).all()


async def count_endpoints(db: AsyncSession, agent_id: str) -> int:
    """How many endpoints an agent has, with those that are only there until their hosts know that they are not."""
    question = select(func.count()).select_from(Endpoint).where(col(Endpoint.agent_id) == agent_id)
    return (await db.scalars(question)).one()


async def forget_farewells(db: AsyncSession, agent_id: str, subscription_id: str) -> None:
    """Tell the host of this subscription no more that it has ended: it is made anew."""
    statement = sql(
        "delete from endpoints where agent_id = :agent and state = 'ended' and subscription_id = :subscription"
    )
    await db.execute(statement, {"agent": agent_id, "subscription": subscription_id})


async def remove(db: AsyncSession, endpoint_ids: Sequence[str]) -> None:
    """Remove these, which nothing refers to."""
    statement = sql("delete from endpoints where id = any(cast(:ids as text[]))")
    await db.execute(statement, {"ids": list(endpoint_ids)})


async def orphaned(db: AsyncSession) -> Sequence[str]:
    """The endpoints whose agents have been revoked, and that are rung all the same; or whose hosts believe so."""
    statement = sql(
        """
        select e.id from endpoints e join agents a on a.id = e.agent_id
        where a.revoked_at is not null and (
            e.state not in ('disabled', 'ended')
            or e.state = 'disabled' and e.profile = 'mcp' and e.state_reason <> all(cast(:ended as text[]))
        ) order by e.id
        """
    )
    return list((await db.execute(statement, {"ended": [*ENDED]})).scalars())


class Disabled(NamedTuple):
    """An endpoint that has just been disabled."""

    id: str
    agent_id: str
    url: str


async def disable(
    db: AsyncSession, endpoint_ids: Sequence[str], reason: str, now: datetime, urls: Sequence[str] | None = None
) -> Sequence[Disabled]:
    """Disable those of these endpoints that are not, or only those still at one of `urls`; returns them.

    A challenge in flight counts no more. Where the reason ends a subscription of MCP Events, it does so for one that is
    disabled, too, and its host, if it ever wanted to be told of anything, is due to be told of that.
    """
    statement = sql(
        """
        update endpoints set state = 'disabled', state_reason = :reason, updated_at = :now,
            attempts = attempts + 1, attempts_before = attempts + 1,
            due_at = case when :ends and profile = 'mcp' and verified_at is not null
                then cast(:now as timestamptz) end
        where id in (select id from endpoints where id = any(cast(:ids as text[])) order by id for update)
            and (state <> 'disabled' or :ends and state_reason <> all(cast(:ended as text[])))
            and (cast(:urls as text[]) is null or url = any(cast(:urls as text[])))
        returning id, agent_id, url
        """
    )
    values = {
        "ids": list(endpoint_ids),
        "reason": reason,
        "now": now,
        "urls": None if urls is None else list(urls),
        "ends": reason in ENDED,
        "ended": [*ENDED],
    }
    return [Disabled._make(row) for row in await db.execute(statement, values)]


async def expired(db: AsyncSession, now: datetime, limit: int) -> Sequence[str]:
    """Endpoints whose time is over, locked, of which that is not written down; without those that somebody is about to
    refresh."""
    statement = sql(
        """
        select id from endpoints
        where expires_at <= :now and (state <> 'disabled' or state_reason <> all(cast(:ended as text[])))
        order by id limit :limit for update skip locked
        """
    )
    values = {"now": now, "limit": limit, "ended": [*ENDED]}
    return list((await db.execute(statement, values)).scalars())


async def active_of(db: AsyncSession, agent_ids: Sequence[str], most: int) -> Mapping[str, Sequence[str]]:
    """The endpoints of these agents that can be rung with what the relay itself has to say: the oldest, so many of each
    at most. Not those that fail, too. A thousand endpoints that go one after the other would owe each other half a
    million notices."""
    statement = sql(
        """
        select e.agent_id, (array_agg(e.id order by e.id))[1:cast(:most as integer)] as ids
        from endpoints e left join lanes l on l.endpoint_id = e.id
        where e.agent_id = any(cast(:agents as text[])) and e.state = 'active' and e.profile = 'standard'
            and coalesce(l.failures, 0) = 0
        group by e.agent_id
        """
    )
    values = {"agents": list(agent_ids), "most": most}
    return {row.agent_id: row.ids for row in await db.execute(statement, values)}


# Secrets


async def unsealed(db: AsyncSession, limit: int) -> Sequence[Endpoint]:
    """Endpoints whose secret is as a release before sealing left it, to be sealed in this transaction."""
    question = select(Endpoint).where(col(Endpoint.secret).is_not(None)).order_by(col(Endpoint.id)).limit(limit)
    return (await db.scalars(question.with_for_update())).all()


async def sealed_otherwise(db: AsyncSession, key_id: str, after: str, limit: int) -> Sequence[Endpoint]:
    """Endpoints after this one of which something is sealed with another key, to be sealed anew in this transaction."""
    statement = sql(
        """
        select id from endpoints
        where id > :after and (
            headers ->> 'key' <> :key
            or exists (select from jsonb_array_elements(secrets) as s where s ->> 'key' <> :key)
        ) order by id limit :limit
        """
    )
    ids = list((await db.execute(statement, {"after": after, "key": key_id, "limit": limit})).scalars())
    question = select(Endpoint).where(col(Endpoint.id).in_(ids)).order_by(col(Endpoint.id))
    return (await db.scalars(question.with_for_update())).all() if ids else ()


async def sealed_by(db: AsyncSession) -> Mapping[str | None, int]:
    """How many secrets, headers and keys of the relay are sealed with each key; None: with none."""
    statement = sql(
        """
        select key, count(*) from (
            select null as key from endpoints where secret is not null
            union all select s ->> 'key' from endpoints, jsonb_array_elements(secrets) as s
            union all select headers ->> 'key' from endpoints where jsonb_typeof(headers) = 'object'
            union all select sealed_with from signing_keys
        ) as sealed group by key
        """
    )
    return {key: count for key, count in await db.execute(statement)}


async def forget_ended_secrets(db: AsyncSession, now: datetime) -> int:
    """Drop secrets whose time is over. Returns of how many endpoints."""
    statement = sql(
        """
        update endpoints e set secrets = (
            select jsonb_agg(s order by n) from jsonb_array_elements(e.secrets) with ordinality as each(s, n)
            where coalesce(cast(s ->> 'expires_at' as timestamptz) > :now, true)
        )
        where id in (
            select id from endpoints
            where jsonb_array_length(secrets) > 1 and exists (
                select from jsonb_array_elements(secrets) as s where cast(s ->> 'expires_at' as timestamptz) <= :now
            ) order by id for update skip locked
        )
        returning 1
        """
    )
    return len((await db.execute(statement, {"now": now})).all())


# The keys that sign for the relay


async def signing_keys(db: AsyncSession, purpose: str, *, lock: bool = False) -> Sequence[SigningKey]:
    """The keys for this purpose, the newest first; those too that sign no more, and are still there."""
    newest_first = col(SigningKey.created_at).desc(), col(SigningKey.retires_at).desc().nulls_first()
    question = select(SigningKey).where(col(SigningKey.purpose) == purpose).order_by(*newest_first)
    # What this session saw before it had the lock may have changed since.
    locked = question.with_for_update().execution_options(populate_existing=True)
    return (await db.scalars(locked if lock else question)).all()


async def add_signing_key(db: AsyncSession, key: SigningKey) -> None:
    """Store the key, unless another process was first."""
    statement = sql(
        """
        insert into signing_keys (kid, purpose, private_key, sealed_with, created_at)
        values (:kid, :purpose, :private_key, :sealed_with, :created_at)
        on conflict (purpose) where retires_at is null do nothing
        """
    )
    await db.execute(statement, key.model_dump())


async def forget_retired_keys(db: AsyncSession, now: datetime) -> int:
    """Drop keys that have retired. Returns how many."""
    statement = sql("delete from signing_keys where retires_at <= :now returning 1")
    return len((await db.execute(statement, {"now": now})).all())
