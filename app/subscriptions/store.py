"""SQL of sources, filters, subscriptions and sightings."""

import json
from collections.abc import Collection, Mapping, Sequence, Set
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select
from sqlmodel.sql.expression import Select

from app.subscriptions.models import Filter, Sighting, Source, Subscription

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


# Subscriptions


async def count_of(db: AsyncSession, agent_id: str) -> int:
    """How many subscriptions the agent has."""
    question = select(func.count()).select_from(Subscription).where(col(Subscription.agent_id) == agent_id)
    return (await db.scalars(question)).one()


async def subscription(
    db: AsyncSession, agent_id: str, subscription_id: str
) -> Row[Subscription, Source, Filter] | None:
    """The agent's subscription, with what it is to."""
    question = _with_parts().where(col(Subscription.id) == subscription_id, col(Subscription.agent_id) == agent_id)
    return (await db.execute(question)).one_or_none()


async def subscriptions(
    db: AsyncSession, agent_id: str, after: str, limit: int
) -> Sequence[Row[Subscription, Source, Filter]]:
    """The agent's subscriptions after an id, oldest first."""
    question = _with_parts().where(col(Subscription.agent_id) == agent_id, col(Subscription.id) > after)
    return (await db.execute(question.order_by(col(Subscription.id)).limit(limit))).all()


def _with_parts() -> Select[Subscription, Source, Filter]:
    return (
        select(Subscription, Source, Filter)
        .join(Source, col(Source.id) == col(Subscription.source_id))
        .join(Filter, col(Filter.id) == col(Subscription.filter_id))
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
    values = {"id": sightings[-1].source_id, "seq": sightings[-1].seq}
    await db.execute(text("update sources set seq = :seq where id = :id"), values)


async def standing(db: AsyncSession, source_id: str, block_hashes: Collection[str]) -> Sequence[Sighting]:
    """What was told of these blocks and has not been taken back, oldest first."""
    # One event may be told in several ways, each by a sighting of its own: they are taken back one by one.
    statement = text(
        """
        select s.* from sightings s
        where s.source_id = :source_id and s.block_hash = any(cast(:hashes as text[])) and s.undoes is null
            and not exists (
                select from sightings u
                where u.source_id = s.source_id and u.block_hash = s.block_hash and u.undoes = s.seq
            )
        order by s.seq
        """
    )
    rows = select(Sighting).from_statement(statement.columns(*Sighting.__table__.columns))  # pyright: ignore
    return (await db.execute(rows, {"source_id": source_id, "hashes": list(block_hashes)})).scalars().all()


async def recipients(db: AsyncSession, sighting_ids: Sequence[str]) -> Mapping[str, list[str]]:
    """The endpoints that each sighting is for, each once. What is taken back concerns those who were told of it."""
    statement = text(
        """
        select s.id, array_agg(distinct u.endpoint_id) as endpoint_ids
        from sightings s
        join subscriptions u on u.source_id = s.source_id and u.filter_id = any(s.filter_ids)
        where s.id = any(cast(:ids as text[])) and u.endpoint_id is not null
            and u.after_seq < coalesce(s.undoes, s.seq)
        group by s.id
        """
    )
    rows = await db.execute(statement, {"ids": list(sighting_ids)})
    return {row.id: row.endpoint_ids for row in rows}


async def sightings_for(db: AsyncSession, subscription: Subscription, after: int, limit: int) -> Sequence[Sighting]:
    """What the subscription is told after a place in its source's order, at most `limit`."""
    question = select(Sighting).where(
        col(Sighting.source_id) == subscription.source_id,
        col(Sighting.seq) > after,
        func.coalesce(col(Sighting.undoes), col(Sighting.seq)) > subscription.after_seq,
        col(Sighting.filter_ids).contains([subscription.filter_id]),
    )
    return (await db.scalars(question.order_by(col(Sighting.seq)).limit(limit))).all()


async def seqs(db: AsyncSession, source_ids: Collection[str]) -> Mapping[str, int]:
    """How far each of these sources has come."""
    rows = await db.execute(select(Source.id, Source.seq).where(col(Source.id).in_(source_ids)))
    return {row.id: row.seq for row in rows}
