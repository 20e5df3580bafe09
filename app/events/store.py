"""Writing and reading the journal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.events.models import Event
from app.kit.sql import sql


@dataclass(frozen=True)
class Happened:
    """Something happened: `schedule.created`, to `sch_…`, which belongs to `agt_…`. `data` is JSON without secrets."""

    kind: str
    subject: str
    agent_id: str | None
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])


async def record(db: AsyncSession, *happened: Happened) -> None:
    """Write what happened, in the transaction of the change itself: either both are durable or neither is.

    Whatever must know of it (subscriptions, the log) reads the journal; the feature that calls this knows none of them.
    """
    if not happened:
        return
    # One JSON parameter: arrays are escaped element by element in Python, and this runs for every delivery.
    statement = sql(
        """
        insert into events (writer, kind, subject, agent_id, at, data)
        select pg_current_xact_id()::text::bigint, h.kind, h.subject, h.agent_id, h.at, h.data
        from rows from (
            jsonb_to_recordset(cast(:rows as jsonb))
            as (kind text, subject text, agent_id text, at timestamptz, data jsonb)
        ) with ordinality as h(kind, subject, agent_id, at, data, position)
        order by h.position
        """
    )
    await db.execute(statement, {"rows": orjson.dumps(happened, default=dict).decode()})


async def since(
    db: AsyncSession, agent_id: str, after: int, limit: int, kind: str | None = None, subject: str | None = None
) -> Sequence[Event]:
    """What happened to an agent's things after a position, in order, at most `limit`; of one kind, to one thing.

    A number is given when a row is written, not when it commits, so a late commit could appear behind a reader who has
    gone past it. Hence nothing is shown until every transaction that could still write a lower number has ended.
    """
    question = _settled(agent_id, after, kind, subject).order_by(col(Event.seq))
    return (await db.scalars(question.limit(limit))).all()


async def newest(
    db: AsyncSession,
    agent_id: str,
    before: int,
    after: int,
    limit: int,
    kind: str | None = None,
    subject: str | None = None,
) -> Sequence[Event]:
    """The same from the other end: what happened before a position and after another, the newest first.

    Nothing more is shown than `since` would show: from the newest of these a reader can go on with that.
    """
    question = _settled(agent_id, after, kind, subject).where(col(Event.seq) < before).order_by(col(Event.seq).desc())
    return (await db.scalars(question.limit(limit))).all()


def _settled(agent_id: str, after: int, kind: str | None, subject: str | None) -> SelectOfScalar[Event]:
    settled = text("writer < pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    question = select(Event).where(col(Event.agent_id) == agent_id, col(Event.seq) > after, settled)
    if kind is not None:
        question = question.where(col(Event.kind) == kind)
    if subject is not None:
        question = question.where(col(Event.subject) == subject)
    return question
