"""SQL of sources, filters, subscriptions and sightings."""

import json
from collections.abc import Collection, Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select
from sqlmodel.sql.expression import Select

from app.subscriptions.models import Feed, Filter, Sighting, Source, Subscription

# Sources


async def add_source(db: AsyncSession, source: Source) -> None:
    """Make sure that the source has a row; nothing changes where it has one."""
    statement = text(
        """
        insert into sources (id, kind, params, state, seq, filters_version, attempts, created_at)
        values (:id, :kind, cast(:params as jsonb), 'idle', 0, 0, 0, :created_at)
        on conflict (id) do nothing
        """
    )
    values = {"id": source.id, "kind": source.kind, "params": json.dumps(source.params)}
    await db.execute(statement, {**values, "created_at": source.created_at})


async def source(db: AsyncSession, source_id: str) -> Source | None:
    """The source, as it is now."""
    return (await db.scalars(select(Source).where(col(Source.id) == source_id))).one_or_none()


async def lock_source(db: AsyncSession, source_id: str) -> Source:
    """The source as it is now; nobody else changes it until this transaction ends."""
    question = select(Source).where(col(Source.id) == source_id).with_for_update()
    return (await db.scalars(question.execution_options(populate_existing=True))).one()


async def still_ours(db: AsyncSession, source_id: str, token: int) -> Source | None:
    """The source, locked, unless its token has moved on: claimed by somebody else, or nobody's concern any more."""
    question = select(Source).where(col(Source.id) == source_id, col(Source.attempts) == token).with_for_update()
    return (await db.scalars(question.execution_options(populate_existing=True))).one_or_none()


async def wake_source(db: AsyncSession, source_id: str, now: datetime) -> None:
    """Begin to watch a source that nobody has subscribed to. What it knew of itself is forgotten."""
    statement = text(
        """
        update sources set state = 'starting', state_reason = null, position = null, due_at = :now,
            attempts = attempts + 1
        where id = :id
        """
    )
    await db.execute(statement, {"id": source_id, "now": now})


async def rest_source(db: AsyncSession, source_id: str) -> None:
    """Stop watching a source that nobody subscribes to any more. A look that is under way comes to nothing."""
    statement = text(
        """
        update sources set state = 'idle', state_reason = null, position = null, due_at = null, attempts = attempts + 1
        where id = :id
        """
    )
    await db.execute(statement, {"id": source_id})


async def look_sooner(db: AsyncSession, source_id: str, now: datetime) -> None:
    """Make the source due now. A look that is under way loses its claim, and is made again."""
    await db.execute(
        text("update sources set due_at = least(due_at, :now) where id = :id"), {"id": source_id, "now": now}
    )


async def hurry_source(db: AsyncSession, chain: str, now: datetime, waits_seconds: float, lease_seconds: float) -> bool:
    """Make a chain's source due now; false while somebody may be looking at it, which is not to be disturbed.

    Who waits for its next turn is due within `waits_seconds`; whoever is looked at is due when the lease ends.
    """
    values = {
        "chain": chain,
        "now": now,
        "waits": now + timedelta(seconds=waits_seconds),
        "lease": now + timedelta(seconds=lease_seconds),
    }
    watched = "kind = 'evm' and params->>'chain' = :chain and state in ('starting', 'active') and due_at > :now"
    sooner = text(
        f"update sources set due_at = :now where {watched} and (due_at <= :waits or due_at > :lease) returning id"
    )
    if (await db.execute(sooner, values)).first() is not None:
        return True
    looked_at = text(f"select 1 from sources where {watched}")
    return (await db.execute(looked_at, values)).first() is None


async def states(db: AsyncSession, source_ids: Collection[str]) -> Mapping[str, str]:
    """How these sources stand, of those that were ever watched."""
    question = select(Source.id, Source.state).where(col(Source.id).in_(source_ids))
    return {source_id: state for source_id, state in await db.execute(question)}


async def conclude_look(
    db: AsyncSession,
    source_id: str,
    *,
    state: str,
    reason: str | None,
    position: Mapping[str, Any] | None,
    due_at: datetime,
) -> None:
    """Write how a look ended. Where it says where the source stands, subscriptions that wait for that begin there."""
    values = {"id": source_id, "position": None if position is None else json.dumps(position)}
    moved = text(
        """
        update sources
        set state = :state, state_reason = :reason, due_at = :due_at,
            position = coalesce(cast(:position as jsonb), position)
        where id = :id
        """
    )
    await db.execute(moved, {**values, "state": state, "reason": reason, "due_at": due_at})
    if position is not None:
        begun = text(
            "update subscriptions set begins_after = cast(:position as jsonb) "
            "where source_id = :id and begins_after is null"
        )
        await db.execute(begun, values)


async def next_due(db: AsyncSession) -> datetime | None:
    """When the next source is due."""
    return (await db.scalars(select(func.min(Source.due_at)))).one()


async def sources_of(db: AsyncSession, agent_id: str, after: str, limit: int) -> Sequence[tuple[Source, int]]:
    """The sources that the agent subscribes to, with the number of all their subscriptions, in order of their ids."""
    own = select(col(Subscription.source_id)).where(col(Subscription.agent_id) == agent_id)
    question = (
        select(Source, func.count(col(Subscription.id)))
        .join(Subscription, col(Subscription.source_id) == col(Source.id))
        .where(col(Source.id).in_(own), col(Source.id) > after)
        .group_by(col(Source.id))
        .order_by(col(Source.id))
        .limit(limit)
    )
    return (await db.execute(question)).all()


# Filters


async def add_filter(db: AsyncSession, new: Filter) -> bool:
    """Whether the filter was new to its source, which is locked."""
    statement = text(
        """
        insert into filters (id, source_id, spec) values (:id, :source_id, cast(:spec as jsonb))
        on conflict (id) do nothing returning id
        """
    )
    values = {"id": new.id, "source_id": new.source_id, "spec": json.dumps(new.spec)}
    return (await db.execute(statement, values)).first() is not None


async def drop_unwanted(db: AsyncSession, source_id: str, filter_id: str) -> bool:
    """Drop the filter when no subscription has it; whether it was dropped. Its source is locked."""
    statement = text(
        """
        delete from filters
        where id = :filter_id and not exists (
            select from subscriptions where source_id = :source_id and filter_id = :filter_id
        )
        returning id
        """
    )
    return (await db.execute(statement, {"source_id": source_id, "filter_id": filter_id})).first() is not None


async def filters_changed(db: AsyncSession, source_id: str) -> None:
    """Whoever has read the filters of this source must read them again."""
    await db.execute(text("update sources set filters_version = filters_version + 1 where id = :id"), {"id": source_id})


async def filters(db: AsyncSession, source_id: str, filter_ids: Collection[str] | None = None) -> Sequence[Filter]:
    """All that is wanted of a source, or these of its filters."""
    question = select(Filter).where(col(Filter.source_id) == source_id)
    if filter_ids is not None:
        question = question.where(col(Filter.id) == func.any(list(filter_ids)))
    return (await db.scalars(question)).all()


async def filter_ids(db: AsyncSession, source_id: str) -> Set[str]:
    """The ids of all filters of a source."""
    return set((await db.scalars(select(col(Filter.id)).where(col(Filter.source_id) == source_id))).all())


async def calls_of(db: AsyncSession, agent_id: str) -> int:
    """How many different calls of contracts the agent has subscribed to."""
    statement = text(
        """
        select count(distinct f.id) from subscriptions u join filters f on f.id = u.filter_id
        where u.agent_id = :agent_id and f.spec->>'kind' = 'evm.call'
        """
    )
    return (await db.execute(statement, {"agent_id": agent_id})).scalar_one()


async def calls_at(db: AsyncSession, source_id: str) -> int:
    """How many different calls of contracts are made at every block of a chain."""
    statement = text(
        """
        select count(*) from (
            select distinct spec->>'address', spec->>'data', spec->>'function', spec->>'arguments' from filters
            where source_id = :source_id and spec->>'kind' = 'evm.call'
        ) calls
        """
    )
    return (await db.execute(statement, {"source_id": source_id})).scalar_one()


async def mark_trouble(db: AsyncSession, source_id: str, trouble: Mapping[str, str | None]) -> None:
    """Write why the latest look could not judge for these filters, or that it could."""
    statement = text(
        """
        update filters f set trouble = n.trouble
        from json_to_recordset(cast(:rows as json)) as n(id text, trouble text)
        where f.id = n.id and f.source_id = :source_id and f.trouble is distinct from n.trouble
        """
    )
    rows = [{"id": filter_id, "trouble": reason} for filter_id, reason in trouble.items()]
    await db.execute(statement, {"source_id": source_id, "rows": orjson.dumps(rows).decode()})


# Subscriptions


async def count_of(db: AsyncSession, agent_id: str) -> int:
    """How many subscriptions the agent has."""
    question = select(func.count()).select_from(Subscription).where(col(Subscription.agent_id) == agent_id)
    return (await db.scalars(question)).one()


async def other_filters(db: AsyncSession, agent_id: str, source_id: str, filter_id: str) -> int:
    """How many filters of this source the agent has, without this one."""
    question = select(func.count(col(Subscription.filter_id).distinct())).where(
        col(Subscription.agent_id) == agent_id,
        col(Subscription.source_id) == source_id,
        col(Subscription.filter_id) != filter_id,
    )
    return (await db.scalars(question)).one()


async def other_requests(db: AsyncSession, agent_id: str, source_id: str, origin: str) -> float:
    """How often a second what the agent subscribes to at this origin is asked for, without this source."""
    statement = text(
        """
        select coalesce(sum(1 / cast(s.params ->> 'interval_seconds' as double precision)), 0) from sources s
        where starts_with(s.params ->> 'url', :origin) and s.id in (
            select source_id from subscriptions where agent_id = :agent_id and source_id <> :source_id
        )
        """
    )
    values = {"agent_id": agent_id, "source_id": source_id, "origin": origin}
    return (await db.execute(statement, values)).scalar_one()


async def of_a_revoked_agent(db: AsyncSession) -> Subscription | None:
    """A subscription of an agent that was revoked."""
    statement = text(
        """
        select u.id from agents a cross join lateral (
            select id from subscriptions where agent_id = a.id order by id limit 1
        ) u
        where a.revoked_at is not null limit 1
        """
    )
    found = (await db.execute(statement)).scalar_one_or_none()
    return None if found is None else await db.get(Subscription, found)


async def subscription(
    db: AsyncSession, agent_id: str, subscription_id: str
) -> Row[Subscription, Source, Filter, Feed] | None:
    """The agent's subscription, with what it is to."""
    question = _with_parts().where(col(Subscription.id) == subscription_id, col(Subscription.agent_id) == agent_id)
    return (await db.execute(question)).one_or_none()


async def subscriptions(
    db: AsyncSession, agent_id: str, after: str, limit: int
) -> Sequence[Row[Subscription, Source, Filter, Feed]]:
    """The agent's subscriptions after an id, oldest first."""
    question = _with_parts().where(col(Subscription.agent_id) == agent_id, col(Subscription.id) > after)
    return (await db.execute(question.order_by(col(Subscription.id)).limit(limit))).all()


def _with_parts() -> Select[Subscription, Source, Filter, Feed]:
    return (
        select(Subscription, Source, Filter, Feed)
        .join(Source, col(Source.id) == col(Subscription.source_id))
        .join(Filter, col(Filter.id) == col(Subscription.filter_id))
        .join(Feed, col(Feed.id) == col(Subscription.feed_id))
    )


async def drop_subscription(db: AsyncSession, subscription_id: str) -> bool:
    """Whether the subscription was still there to be dropped."""
    statement = text("delete from subscriptions where id = :id returning id")
    return (await db.execute(statement, {"id": subscription_id})).first() is not None


async def has_begun(db: AsyncSession, source_id: str, filter_id: str) -> bool:
    """Whether some subscription with this filter is past its beginning."""
    statement = text(
        """
        select exists (
            select from subscriptions
            where source_id = :source_id and filter_id = :filter_id and begins_after is not null
        )
        """
    )
    return (await db.execute(statement, {"source_id": source_id, "filter_id": filter_id})).scalar_one()


async def has_subscriptions(db: AsyncSession, source_id: str) -> bool:
    """Whether anybody subscribes to the source."""
    statement = text("select exists (select from subscriptions where source_id = :id)")
    return (await db.execute(statement, {"id": source_id})).scalar_one()


# Sightings


async def add_sightings(db: AsyncSession, sightings: Sequence[Sighting]) -> None:
    """Append to a source, which is locked: its `seq` becomes that of the last of these."""
    db.add_all(sightings)
    await db.flush()
    values = {"id": sightings[-1].source_id, "first": sightings[0].seq, "last": sightings[-1].seq}
    added = """
        select unnest(filter_ids) as filter_id, seq from sightings
        where source_id = :id and seq between :first and :last
    """
    await db.execute(text(f"insert into matches (filter_id, seq) {added}"), values)
    undone = text(
        """
        update sightings s set undone_by = u.seq
        from sightings u
        where u.source_id = :id and u.seq between :first and :last and u.undoes is not null
            and s.source_id = :id and s.seq = u.undoes
        """
    )
    if any(each.undoes is not None for each in sightings):
        await db.execute(undone, values)
    await db.execute(text("update sources set seq = :last where id = :id"), values)


async def standing(db: AsyncSession, source_id: str, block_hashes: Collection[str]) -> Sequence[Sighting]:
    """What was told of these blocks and has not been taken back, oldest first."""
    question = (
        select(Sighting)
        .where(
            col(Sighting.source_id) == source_id,
            col(Sighting.block_hash).in_(block_hashes),
            col(Sighting.undoes).is_(None),
            col(Sighting.undone_by).is_(None),
        )
        .order_by(col(Sighting.seq))
    )
    return (await db.scalars(question)).all()
