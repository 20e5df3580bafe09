"""SQL of what is set on its way, claimed and concluded. Times are parameters; nothing here commits or decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from app.kit.sql import sql


class Claimed(NamedTuple):
    """A delivery that is ours until its lease ends, with all that an attempt needs."""

    id: str
    attempts: int
    attempts_before: int
    agent_id: str
    endpoint_id: str
    message_id: str
    endpoint_state: str | None  # None: the endpoint is no more
    url: str | None
    secrets: str | None  # as `app.deliveries.secrets` reads them, and these
    headers: str | None
    body: str
    subject: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt came to, and what the delivery is from now on."""

    id: str
    attempts: int
    state: str
    due_at: datetime | None
    concluded_at: datetime | None
    started_at: datetime
    duration_ms: int
    status: int | None
    error: str | None
    response_excerpt: str | None


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to store. Not a table's object: making one of those costs more than writing the row."""

    id: str
    agent_id: str | None
    type: str
    body: str
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Addressed:
    """A message for an endpoint, not yet on its way."""

    delivery_id: str
    message_id: str
    endpoint_id: str


# Sending


class Departure(NamedTuple):
    """A delivery that has been set on its way, and the endpoint as it was then. Claimed with its first attempt."""

    id: str
    message_id: str
    endpoint_id: str
    agent_id: str
    url: str
    secrets: str
    headers: str | None
    attempts: int


async def add(
    db: AsyncSession,
    messages: Sequence[NewMessage],
    addressed: Sequence[Addressed],
    now: datetime,
    *,
    claim: int = 0,
    lease_seconds: float = 0,
) -> Sequence[Departure]:
    """Store these messages and set them on their way; what is addressed to an endpoint that is no more is left out.

    The first `claim` of them are claimed at once, where their endpoint is active; all others are due now. Of those it
    is asked when they are claimed whether the endpoint is active: asked here for good, a verification that commits a
    moment later would not see them, and they would wait for ever.
    """
    # One statement and two JSON texts: arrays are escaped element by element in Python, and each statement costs a
    # round trip.
    statement = sql(
        """
        with message as (
            insert into messages (id, agent_id, type, body, subject, created_at)
            select id, agent_id, type, body, subject, :now
            from json_to_recordset(cast(:messages as json))
                as m(id text, agent_id text, type text, body text, subject text)
        ), departure as materialized (
            select new.delivery_id, new.message_id, e.id as endpoint_id, e.agent_id, e.url,
                coalesce(e.secret, cast(e.secrets as text)) as secrets, cast(e.headers as text) as headers,
                new.position, case when new.position <= :claim and e.state = 'active' then 1 else 0 end as attempts
            from rows from (
                json_to_recordset(cast(:addressed as json)) as (delivery_id text, message_id text, endpoint_id text)
            ) with ordinality as new(delivery_id, message_id, endpoint_id, position)
            join endpoints e on e.id = new.endpoint_id
        ), delivery as (
            insert into deliveries
                (id, message_id, endpoint_id, agent_id, state, due_at, attempts, attempts_before, created_at)
            select delivery_id, message_id, endpoint_id, agent_id, 'pending',
                case attempts when 1 then cast(:until as timestamptz) else :now end, attempts, 0, :now
            from departure
        )
        select delivery_id, message_id, endpoint_id, agent_id, url, secrets, headers, attempts
        from departure order by position
        """
    )
    values = {
        "messages": orjson.dumps(messages).decode(),
        "addressed": orjson.dumps(addressed).decode(),
        "now": now,
        "claim": claim,
        "until": now + timedelta(seconds=lease_seconds),
    }
    return [Departure._make(row) for row in await db.execute(statement, values)]


# The engine


async def claim(db: AsyncSession, now: datetime, lease_seconds: float, limit: int) -> Sequence[Claimed]:
    """Take the most overdue deliveries, with their endpoints and bodies. Others skip them until the lease ends."""
    statement = sql(
        """
        with due as materialized (
            select id from deliveries where due_at <= :now order by due_at limit :limit for update skip locked
        ), claimed as (
            update deliveries d set due_at = :until, attempts = d.attempts + 1
            from due where d.id = due.id
            returning d.id, d.attempts, d.attempts_before, d.agent_id, d.endpoint_id, d.message_id
        )
        select c.id, c.attempts, c.attempts_before, c.agent_id, c.endpoint_id, c.message_id,
            e.state, e.url, coalesce(e.secret, cast(e.secrets as text)), cast(e.headers as text), m.body, m.subject
        from claimed c join messages m on m.id = c.message_id left join endpoints e on e.id = c.endpoint_id
        """
    )
    values = {"now": now, "until": now + timedelta(seconds=lease_seconds), "limit": limit}
    return [Claimed._make(row) for row in await db.execute(statement, values)]


async def park(db: AsyncSession, claimed: Sequence[Claimed]) -> set[str]:
    """Let these wait until their endpoint is active, unless it has become so; returns those that wait.

    The lock makes this and a verification of the same endpoint follow one another: either it sees what waits here and
    lets go of it, or this sees an active endpoint and parks nothing. The claim does not count as an attempt.
    """
    statement = sql(
        """
        with inactive as (
            select id from endpoints where id = any(cast(:endpoints as text[])) and state <> 'active' for share
        )
        update deliveries d set due_at = null, hold = 'lane', attempts_before = d.attempts_before + 1
        from inactive, unnest(cast(:ids as text[]), cast(:tokens as integer[])) as mine(id, attempts)
        where d.id = mine.id and d.attempts = mine.attempts and d.endpoint_id = inactive.id
        returning d.id
        """
    )
    columns = {
        "endpoints": sorted({c.endpoint_id for c in claimed}),
        "ids": [c.id for c in claimed],
        "tokens": [c.attempts for c in claimed],
    }
    return set((await db.execute(statement, columns)).scalars())


async def release(db: AsyncSession, claimed: Sequence[Claimed], now: datetime) -> None:
    """Give these back, due at once. Nothing was sent, so the claim does not count as an attempt."""
    statement = sql(
        """
        update deliveries d set due_at = :now, attempts_before = d.attempts_before + 1
        from unnest(cast(:ids as text[]), cast(:tokens as integer[])) as mine(id, attempts)
        where d.id = mine.id and d.attempts = mine.attempts and d.state = 'pending'
        """
    )
    await db.execute(statement, {"ids": [c.id for c in claimed], "tokens": [c.attempts for c in claimed], "now": now})


async def cancel(db: AsyncSession, claimed: Sequence[Claimed], now: datetime) -> None:
    """Cancel these: their endpoint is no more."""
    statement = sql(
        """
        update deliveries set state = 'cancelled', due_at = null, concluded_at = :now
        where id = any(cast(:ids as text[])) and state = 'pending'
        """
    )
    await db.execute(statement, {"ids": [c.id for c in claimed], "now": now})


async def conclude(db: AsyncSession, outcomes: Sequence[Outcome]) -> set[str]:
    """Record these attempts and what their deliveries are from now on; returns the deliveries that were still ours.

    An attempt that was made is recorded even when its delivery was claimed again or cancelled meanwhile.
    """
    statement = sql(
        """
        with outcome as (
            select * from jsonb_to_recordset(cast(:outcomes as jsonb)) as o(
                id text, attempts integer, state text, due_at timestamptz, concluded_at timestamptz,
                started_at timestamptz, duration_ms integer, status integer, error text, response_excerpt text
            )
        ), recorded as (
            insert into attempts (delivery_id, number, started_at, duration_ms, status, error, response_excerpt)
            select id, attempts, started_at, duration_ms, status, error, response_excerpt from outcome
            on conflict do nothing
        )
        update deliveries d
        set state = o.state, due_at = o.due_at, concluded_at = o.concluded_at, last_status = o.status,
            last_error = o.error
        from outcome o
        where d.id = o.id and d.attempts = o.attempts and d.state = 'pending'
        returning d.id
        """
    )
    # One JSON parameter: arrays are escaped element by element in Python, which costs more than their requests. In the
    # order of ids, so that two that write about the same deliveries never wait in a circle.
    written = orjson.dumps(sorted(outcomes, key=lambda outcome: outcome.id)).decode()
    return set((await db.execute(statement, {"outcomes": written})).scalars())
