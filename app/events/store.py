"""Writing and reading the journal.

A number is drawn when a row is written, not when it commits, so a late commit could appear behind a reader who has gone
past it. Hence whoever is about to draw announces the last number that was drawn before, by a lock that is shared, so
that writers never wait for one another, and that ends with the transaction. A reader goes no further than the lowest
that is announced.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.events.models import Event
from app.kit.sql import sql

# The last number that was drawn; a sequence that is new says the one that will be.
_drawn = "(last_value - (not is_called)::integer)"
# The first of the two keys of the locks that announce; the second are these bits of a number.
_announcements = 0x65767473  # "evts"
_lowest_bits = 0x7FFFFFFF


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
    # One JSON parameter: arrays are escaped element by element in Python, and this runs for every delivery. Of each row
    # its number is drawn last of all, when the lock is held.
    statement = sql(
        f"""
        with announced as materialized (
            select pg_advisory_xact_lock_shared({_announcements}, ({_drawn} & {_lowest_bits})::integer)
            from events_seq_seq
        )
        insert into events (kind, subject, agent_id, at, data)
        select h.kind, h.subject, h.agent_id, h.at, h.data
        from announced, rows from (
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
    """What happened to an agent's things after a position, in order, at most `limit`; of one kind, to one thing."""
    question = _of(agent_id, after, await settled(db), kind, subject).order_by(col(Event.seq))
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
    end = min(before - 1, await settled(db))
    question = _of(agent_id, after, end, kind, subject).order_by(col(Event.seq).desc())
    return (await db.scalars(question.limit(limit))).all()


async def settled(db: AsyncSession) -> int:
    """Up to which number everything has been committed, or never will be. Rows are read by another statement, after it.

    What was drawn by the time when we look at the sequence was announced before, and is so still when we look at the
    locks, or its transaction has ended: then a statement that begins afterwards sees what it wrote.
    """
    statement = sql(
        f"""
        with journal as materialized (select {_drawn} as drawn from events_seq_seq)
        select journal.drawn - running.behind
        from journal cross join lateral (
            -- Of a number its lowest bits. One that seems far behind has been announced since, and holds nobody up.
            select coalesce(max(announced.behind), 0) as behind
            from (
                select (journal.drawn - objid::bigint) & {_lowest_bits} as behind from pg_locks
                where locktype = 'advisory' and classid = {_announcements} and objsubid = 2
                    and database = (select oid from pg_database where datname = current_database())
            ) announced
            where announced.behind <= {_lowest_bits} / 2
        ) running
        """
    )
    return (await db.execute(statement)).scalar_one()


def _of(agent_id: str, after: int, end: int, kind: str | None, subject: str | None) -> SelectOfScalar[Event]:
    question = select(Event).where(col(Event.agent_id) == agent_id, col(Event.seq) > after, col(Event.seq) <= end)
    if kind is not None:
        question = question.where(col(Event.kind) == kind)
    if subject is not None:
        question = question.where(col(Event.subject) == subject)
    return question
