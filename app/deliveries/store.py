"""SQL of what is set on its way, claimed and concluded. Times are parameters; nothing here commits or decides."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import order
from app.deliveries.attempts import Profile
from app.deliveries.ending import Ended
from app.kit.sql import sql


class Claimed(NamedTuple):
    """A delivery that is ours until its lease ends, with all that an attempt needs."""

    id: str
    attempts: int
    attempts_before: int
    unsent: int
    agent_id: str
    endpoint_id: str
    message_id: str
    order_key: str | None
    endpoint_state: str | None  # None: the endpoint is no more
    url: str | None
    secrets: str | None  # as `app.deliveries.secrets` reads them, and these
    headers: str | None
    profile: Profile | None
    retry_seconds: Sequence[float] | None
    timeout_seconds: float | None
    is_limited: bool  # by its owner, in number or rate
    breaker: str | None  # of its lane; None: it has none
    failures: int | None
    body: str
    subject: str | None
    was_due_at: datetime | None  # None: it was held until now
    traceparent: str | None

    @property
    def number(self) -> int:
        """Which attempt this is: claims that came to nothing are not counted."""
        return self.attempts - self.unsent

    @property
    def key(self) -> order.Key | None:
        """What it is ordered by."""
        return None if self.order_key is None else (self.endpoint_id, self.order_key)

    def renewed(self, by: "Claimed") -> "Claimed":
        """This by a later claim of the same delivery: it is the same attempt, and concluded by that claim."""
        later = by.attempts - self.attempts
        return self._replace(
            attempts=by.attempts, attempts_before=self.attempts_before + later, unsent=self.unsent + later
        )

    @property
    def is_for_its_lane(self) -> bool:
        """Whether it goes when its endpoint's lane lets it, and not straight."""
        return self.is_limited or self.endpoint_state != "active" or self.breaker not in (None, "closed")

    @property
    def is_watched(self) -> bool:
        """Whether its lane wants to know of a success, too."""
        return self.is_limited or bool(self.failures) or self.breaker not in (None, "closed")


# Not frozen: with so many members that costs twice as much to make, and one is made for each attempt.
@dataclass(slots=True)
class Outcome:
    """What an attempt came to, and what the delivery is from now on."""

    id: str
    attempts: int
    number: int
    state: str
    reason: str | None
    due_at: datetime | None
    concluded_at: datetime | None
    started_at: datetime
    duration_ms: int
    lookup_ms: int | None
    connect_ms: int | None
    tls_ms: int | None
    wait_ms: int | None
    read_ms: int | None
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
    sender_id: str | None = None
    order_key: str | None = None
    traceparent: str | None = None
    delivery_ids: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Addressed:
    """A message for an endpoint, not yet on its way. `is_behind`: behind another of its key that is added with it."""

    delivery_id: str
    message_id: str
    endpoint_id: str
    order_key: str | None = None
    is_behind: bool = False


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
    profile: Profile
    retry_seconds: Sequence[float] | None
    timeout_seconds: float | None
    failures: int | None  # of its lane
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

    The first `claim` of them are claimed at once, where nothing speaks against it: the endpoint is active, well and not
    limited, and no order is to be kept. All others are due now, but those that wait for an earlier one of their key. Of
    those that are due it is asked when they are claimed whether they go straight: a lane is not touched here, as who
    sends may hold locks that come after a lane's.
    """
    await order.lock(db, {(each.endpoint_id, each.order_key) for each in addressed if each.order_key is not None})
    # One statement and two JSON texts: arrays are escaped element by element in Python, and each statement costs a
    # round trip.
    statement = sql(
        """
        with message as (
            insert into messages
                (id, agent_id, type, body, subject, sender_id, order_key, traceparent, delivery_ids, created_at)
            select id, agent_id, type, body, subject, sender_id, order_key, traceparent, delivery_ids, :now
            from json_to_recordset(cast(:messages as json)) as m(
                id text, agent_id text, type text, body text, subject text, sender_id text, order_key text,
                traceparent text, delivery_ids jsonb
            )
        ), departure as materialized (
            select new.delivery_id, new.message_id, e.id as endpoint_id, e.agent_id, e.url,
                coalesce(e.secret, cast(e.secrets as text)) as secrets, cast(e.headers as text) as headers, e.profile,
                e.retry_seconds, e.timeout_seconds, l.failures, new.position, new.order_key,
                new.order_key is not null and (new.is_behind or exists (
                    select from deliveries d
                    where d.endpoint_id = e.id and d.order_key = new.order_key and d.state = 'pending'
                )) as is_behind,
                case when new.position <= :claim and new.order_key is null and e.state = 'active'
                    and e.max_in_flight is null and e.rate_per_second is null
                    and coalesce(l.breaker, 'closed') = 'closed' then 1 else 0 end as attempts
            from rows from (
                json_to_recordset(cast(:addressed as json))
                    as (delivery_id text, message_id text, endpoint_id text, order_key text, is_behind boolean)
            ) with ordinality as new(delivery_id, message_id, endpoint_id, order_key, is_behind, position)
            join endpoints e on e.id = new.endpoint_id left join lanes l on l.endpoint_id = e.id
        ), delivery as (
            insert into deliveries
                (id, message_id, endpoint_id, agent_id, state, hold, order_key, due_at, attempts, attempts_before,
                created_at)
            select delivery_id, message_id, endpoint_id, agent_id, 'pending', case when is_behind then 'order' end,
                order_key,
                case when is_behind then null when attempts = 1 then cast(:until as timestamptz) else :now end,
                attempts, 0, :now
            from departure
        )
        select delivery_id, message_id, endpoint_id, agent_id, url, secrets, headers, profile, retry_seconds,
            timeout_seconds, failures, attempts
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


# Of a claimed delivery `d`, and what is needed of everything else: the end of every statement that claims, which says
# itself what `was_due_at`. Messages are looked up one by one (`offset 0` keeps it so): a join is planned for as many as
# may be claimed, and reads a week of messages for the three that were.
claimed_columns = "d.id, d.attempts, d.attempts_before, d.unsent, d.agent_id, d.endpoint_id, d.message_id, d.order_key"
loaded = """
    select c.id, c.attempts, c.attempts_before, c.unsent, c.agent_id, c.endpoint_id, c.message_id, c.order_key,
        e.state, e.url, coalesce(e.secret, cast(e.secrets as text)), cast(e.headers as text), e.profile,
        e.retry_seconds, e.timeout_seconds,
        coalesce(e.max_in_flight, e.rate_per_second) is not null, l.breaker, l.failures, m.body, m.subject,
        c.was_due_at, m.traceparent
    from claimed c
        join lateral (select body, subject, traceparent from messages where id = c.message_id offset 0) m on true
        left join endpoints e on e.id = c.endpoint_id left join lanes l on l.endpoint_id = c.endpoint_id
"""


async def claim(db: AsyncSession, now: datetime, lease_seconds: float, limit: int) -> Sequence[Claimed]:
    """Take the most overdue deliveries, with their endpoints and bodies. Others skip them until the lease ends."""
    statement = sql(
        f"""
        with due as materialized (
            select id, due_at from deliveries where due_at <= :now order by due_at limit :limit for update skip locked
        ), claimed as (
            update deliveries d set due_at = :until, attempts = d.attempts + 1
            from due where d.id = due.id
            returning {claimed_columns}, due.due_at as was_due_at
        )
        {loaded}
        """
    )
    values = {"now": now, "until": now + timedelta(seconds=lease_seconds), "limit": limit}
    return [Claimed._make(row) for row in await db.execute(statement, values)]


async def claim_newest(
    db: AsyncSession, now: datetime, lease_seconds: float, limit: int, passed_over: Sequence[str], among: int
) -> Sequence[Claimed]:
    """As `claim`, from the other end: of those that fell due last, what is not for endpoints that are passed over."""
    statement = sql(
        f"""
        with newest as materialized (
            select id, endpoint_id from deliveries where due_at <= :now order by due_at desc limit :among
        ), due as materialized (
            select d.id, d.due_at from deliveries d
            where d.due_at <= :now and d.id in (
                select id from newest
                where endpoint_id not in (select json_array_elements_text(cast(:over as json)))
            )
            limit :limit for update skip locked
        ), claimed as (
            update deliveries d set due_at = :until, attempts = d.attempts + 1
            from due where d.id = due.id
            returning {claimed_columns}, due.due_at as was_due_at
        )
        {loaded}
        """
    )
    values = {
        "now": now,
        "until": now + timedelta(seconds=lease_seconds),
        "limit": limit,
        "among": among,
        "over": orjson.dumps(passed_over).decode(),
    }
    return [Claimed._make(row) for row in await db.execute(statement, values)]


async def hold(db: AsyncSession, claimed: Iterable[Claimed]) -> set[str]:
    """Hold these for their lanes, which the caller makes due; returns the endpoints of those that were still ours. The
    claim does not count as an attempt. What another has locked is left to its lease: nothing here waits. What is held
    already, by a commit of which we never heard, stays as it is."""
    statement = sql(
        """
        with mine as materialized (
            select d.id from json_to_recordset(cast(:mine as json)) as mine(id text, attempts integer)
                join deliveries d on d.id = mine.id and d.attempts = mine.attempts and d.state = 'pending'
            where d.hold is null
            for update of d skip locked
        )
        update deliveries d set due_at = null, hold = 'lane', attempts_before = d.attempts_before + 1,
            unsent = d.unsent + 1
        from mine where d.id = mine.id
        returning d.endpoint_id
        """
    )
    return set((await db.execute(statement, {"mine": _tokens(claimed)})).scalars())


async def release(db: AsyncSession, claimed: Iterable[Claimed], now: datetime) -> None:
    """Give these back, due at once. Nothing was sent, so the claim does not count as an attempt; else as `hold`.

    They move on by a claim of nobody's: so what is given back twice, after a commit of which we never heard, is given
    back once.
    """
    statement = sql(
        """
        with mine as materialized (
            select d.id from json_to_recordset(cast(:mine as json)) as mine(id text, attempts integer)
                join deliveries d on d.id = mine.id and d.attempts = mine.attempts and d.state = 'pending'
            where d.hold is null
            for update of d skip locked
        )
        update deliveries d set due_at = :now, attempts = d.attempts + 1, attempts_before = d.attempts_before + 2,
            unsent = d.unsent + 2
        from mine where d.id = mine.id
        """
    )
    await db.execute(statement, {"mine": _tokens(claimed), "now": now})


async def renew(db: AsyncSession, claimed: Iterable[Claimed]) -> None:
    """These have just been claimed by one who carries them already: the claim is no attempt, only a longer lease."""
    statement = sql(
        """
        update deliveries d set attempts_before = d.attempts_before + 1, unsent = d.unsent + 1
        from json_to_recordset(cast(:mine as json)) as mine(id text, attempts integer)
        where d.id = mine.id and d.attempts = mine.attempts
        """
    )
    await db.execute(statement, {"mine": _tokens(claimed)})


async def cancel(db: AsyncSession, claimed: Iterable[Claimed], reason: str, now: datetime) -> Sequence[Ended]:
    """Cancel those of these that are still ours; returns them. Call with their keys locked; else as `hold`."""
    statement = sql(
        """
        with mine as materialized (
            select d.id, m.subject from json_to_recordset(cast(:mine as json)) as mine(id text, attempts integer)
                join deliveries d on d.id = mine.id and d.attempts = mine.attempts and d.state = 'pending'
                join messages m on m.id = d.message_id
            for update of d skip locked
        )
        update deliveries d
        set state = 'cancelled', reason = :reason, due_at = null, hold = null, concluded_at = :now
        from mine where d.id = mine.id
        returning d.id, d.agent_id, d.endpoint_id, d.message_id, d.order_key, mine.subject
        """
    )
    rows = await db.execute(statement, {"mine": _tokens(claimed), "reason": reason, "now": now})
    return [Ended._make(row) for row in rows]


async def conclude(db: AsyncSession, outcomes: Sequence[Outcome]) -> set[str]:
    """Record these attempts and what their deliveries are from now on; returns the deliveries that were still ours.

    An attempt that was made is recorded even when its delivery was claimed again or cancelled meanwhile.
    """
    statement = sql(
        """
        with outcome as (
            select * from json_to_recordset(cast(:outcomes as json)) as o(
                id text, attempts integer, number integer, state text, reason text, due_at timestamptz,
                concluded_at timestamptz,
                started_at timestamptz, duration_ms integer, lookup_ms integer, connect_ms integer, tls_ms integer,
                wait_ms integer, read_ms integer, status integer, error text, response_excerpt text
            )
        ), recorded as (
            insert into attempts
                (delivery_id, number, started_at, duration_ms, lookup_ms, connect_ms, tls_ms, wait_ms, read_ms, status,
                error, response_excerpt, next_attempt_at)
            select id, number, started_at, duration_ms, lookup_ms, connect_ms, tls_ms, wait_ms, read_ms, status,
                error, response_excerpt, due_at
            from outcome
            on conflict do nothing
        ), mine as materialized (
            -- Locked by id, so that two that write about the same deliveries never wait in a circle. In what order an
            -- update locks what it changes is the planner's choice.
            select d.id from outcome o join deliveries d on d.id = o.id and d.attempts = o.attempts
            where d.state = 'pending'
            order by d.id for no key update of d
        )
        update deliveries d
        -- Held it is only where that was committed and we never heard of it, and sent it all the same: then the claim
        -- was an attempt, which `hold` has not counted.
        set state = o.state, reason = o.reason, due_at = o.due_at, hold = null, concluded_at = o.concluded_at,
            last_status = o.status, last_error = o.error,
            attempts_before = d.attempts_before - case when d.hold is null then 0 else 1 end,
            unsent = d.unsent - case when d.hold is null then 0 else 1 end
        from mine join outcome o on o.id = mine.id
        where d.id = mine.id
        returning d.id
        """
    )
    # One JSON parameter: arrays are escaped element by element in Python, which costs more than their requests.
    written = orjson.dumps(list(outcomes)).decode()
    return set((await db.execute(statement, {"outcomes": written})).scalars())


def _tokens(claimed: Iterable[Claimed]) -> str:
    """What these are fenced by."""
    return orjson.dumps([{"id": each.id, "attempts": each.attempts} for each in claimed]).decode()
