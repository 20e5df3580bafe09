"""SQL of inboxes, and of what came to them."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from app.kit import limits
from app.subscriptions.models import Inbox


async def add(db: AsyncSession, row: Inbox, position: Mapping[str, Any]) -> None:
    """Open an inbox: its source is active from here, and due at no time."""
    db.add(row)
    await db.flush()
    active = text(
        "update sources set state = 'active', position = cast(:position as jsonb), due_at = null where id = :id"
    )
    await db.execute(active, {"id": row.source_id, "position": json.dumps(position)})


async def of_source(db: AsyncSession, source_id: str) -> Inbox | None:
    """The inbox of a source, as it is now."""
    question = select(Inbox).where(col(Inbox.source_id) == source_id)
    return (await db.scalars(question.execution_options(populate_existing=True))).one_or_none()


async def by_token(db: AsyncSession, token_sha256: str) -> Inbox | None:
    """The inbox whose token has this hash."""
    return (await db.scalars(select(Inbox).where(col(Inbox.token_sha256) == token_sha256))).one_or_none()


async def count_of(db: AsyncSession, agent_id: str) -> int:
    """How many inboxes the agent has."""
    mine = text(
        "select count(*) from subscriptions u join inboxes i on i.source_id = u.source_id where u.agent_id = :id"
    )
    return (await db.execute(mine, {"id": agent_id})).scalar_one()


async def close(db: AsyncSession, source_id: str) -> None:
    """Close the inbox of a source that nobody subscribes to any more; of another kind of source there is none."""
    for table in ("inbox_calls", "inboxes"):
        await db.execute(text(f"delete from {table} where source_id = :id"), {"id": source_id})


async def keep_bucket(db: AsyncSession, source_id: str, tokens: float, filled_at: datetime) -> None:
    """What may still come at this moment."""
    statement = text("update inboxes set tokens = :tokens, filled_at = :at where source_id = :id")
    await db.execute(statement, {"id": source_id, "tokens": tokens, "at": filled_at})


async def has_room(db: AsyncSession, agent_id: str, day: date, size: int, most: int) -> bool:
    """Count so many bytes more of an agent's day, and lock it; whether they are within what it may have."""
    await db.execute(
        text("delete from inbox_days where agent_id = :agent_id and day < :day"), {"agent_id": agent_id, "day": day}
    )
    counted = text(
        """
        insert into inbox_days as d (agent_id, day, bytes)
        select :agent_id, :day, cast(:size as bigint) where :size <= :most
        on conflict (agent_id, day) do update set bytes = d.bytes + :size where d.bytes + :size <= :most
        returning 1
        """
    )
    values = {"agent_id": agent_id, "day": day, "size": size, "most": most}
    return (await db.execute(counted, values)).first() is not None


async def remember(
    db: AsyncSession, source_id: str, key: str, until: datetime, event_id: str, now: datetime
) -> str | None:
    """Remember what came, by its key; the event that it was told as, where it came before.

    The source is locked, so of two that come at once one is the second. A few that are too old make room.
    """
    forgotten = text(
        """
        delete from inbox_calls where source_id = :source_id and key in (
            select key from inbox_calls where source_id = :source_id and until <= :now limit :limit
        )
        """
    )
    await db.execute(forgotten, {"source_id": source_id, "now": now, "limit": limits.inbox_forgotten_batch})
    statement = text(
        """
        insert into inbox_calls as c (source_id, key, until, event_id) values (:source_id, :key, :until, :event_id)
        on conflict (source_id, key) do update set until = excluded.until, event_id = excluded.event_id
        where c.until <= :now
        returning 1
        """
    )
    values = {"source_id": source_id, "key": key, "until": until, "event_id": event_id, "now": now}
    if (await db.execute(statement, values)).first() is not None:
        return None
    known = text("select event_id from inbox_calls where source_id = :source_id and key = :key")
    return (await db.execute(known, {"source_id": source_id, "key": key})).scalar_one()


async def sealed_otherwise(db: AsyncSession, key: str, limit: int) -> Sequence[Inbox]:
    """Inboxes that another key sealed, locked."""
    question = select(Inbox).where(col(Inbox.sealed_with) != key).order_by(col(Inbox.source_id)).limit(limit)
    return (await db.scalars(question.with_for_update())).all()


async def sealed_by(db: AsyncSession) -> Mapping[str | None, int]:
    """How many inboxes are sealed with each key."""
    question = select(col(Inbox.sealed_with), func.count()).group_by(col(Inbox.sealed_with))
    return {key: count for key, count in await db.execute(question)}
