"""SQL of lanes: what the engine remembers of endpoints that are not simply rung, and what is held for them.

Nothing held is ever forgotten, by this: who commits a held delivery makes its lane due in the same transaction, and so
does who makes an endpoint active. Both take the lane's row lock for it. Only an attendant clears `due_at`: it holds
that lock, and looks with a snapshot taken since. What was committed before, it sees; what comes later waits for the
lock, and makes the lane due again. Of an endpoint that is not active it clears it only while nobody is about to change
that (`settled`): he may have looked for what is held before there was any, and is yet to commit.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.attendance import Lane, Limits
from app.deliveries.breaker import Breaker
from app.deliveries.bucket import Bucket
from app.deliveries.store import Claimed, claimed_columns, loaded
from app.kit.sql import sql

_COLUMNS = """
    l.endpoint_id, l.due_at, l.breaker, l.failures, l.failing_since, l.opens, l.open_until, l.tokens, l.tokens_at,
    l.holders
"""


async def lock(db: AsyncSession, endpoint_ids: Collection[str]) -> Sequence[Lane]:
    """The lanes of these endpoints, locked in the order of ids; made where there was none."""
    ids = orjson.dumps(sorted(endpoint_ids)).decode()
    make = sql(
        """
        insert into lanes (endpoint_id) select json_array_elements_text(cast(:ids as json)) on conflict do nothing
        """
    )
    take = sql(
        f"""
        select {_COLUMNS} from lanes l
        where l.endpoint_id in (select json_array_elements_text(cast(:ids as json)))
        order by l.endpoint_id for update
        """
    )
    await db.execute(make, {"ids": ids})
    rows = (await db.execute(take, {"ids": ids})).all()
    if len(rows) < len(endpoint_ids):
        # One was let go of between the two, as its endpoint is no more. What is made now, is there until we commit.
        await db.execute(make, {"ids": ids})
        rows = (await db.execute(take, {"ids": ids})).all()
    return [_lane(row) for row in rows]


async def look(db: AsyncSession, endpoint_ids: Collection[str]) -> Sequence[Lane]:
    """The lanes of these endpoints as they are, in the order of ids; others may be changing them."""
    statement = sql(
        f"""
        select {_COLUMNS} from lanes l
        where l.endpoint_id in (select json_array_elements_text(cast(:ids as json))) order by l.endpoint_id
        """
    )
    return [_lane(row) for row in await db.execute(statement, {"ids": orjson.dumps(list(endpoint_ids)).decode()})]


async def lock_due(db: AsyncSession, now: datetime, passed_over: Sequence[str], limit: int) -> Sequence[Lane]:
    """The lanes that are due longest, locked; without those that another attends, and those that are passed over."""
    statement = sql(
        f"""
        select {_COLUMNS} from lanes l
        where l.due_at <= :now and l.endpoint_id not in (select json_array_elements_text(cast(:over as json)))
        order by l.due_at limit :limit for update skip locked
        """
    )
    values = {"now": now, "over": orjson.dumps(passed_over).decode(), "limit": limit}
    return [_lane(row) for row in await db.execute(statement, values)]


async def limits(db: AsyncSession, endpoint_ids: Sequence[str]) -> Mapping[str, Limits]:
    """What bounds these endpoints, without those that are no more. Call with their lanes locked, and not before."""
    statement = sql(
        """
        select id, state, max_in_flight, rate_per_second from endpoints
        where id in (select json_array_elements_text(cast(:ids as json)))
        """
    )
    rows = await db.execute(statement, {"ids": orjson.dumps(endpoint_ids).decode()})
    return {row.id: Limits(row.state == "active", row.max_in_flight, row.rate_per_second) for row in rows}


async def settled(db: AsyncSession, endpoint_ids: Sequence[str]) -> set[str]:
    """Those of these endpoints that are not active, and stay so until we commit; without those that somebody is
    changing, for whom we do not wait: endpoints are locked before lanes."""
    statement = sql(
        """
        select id from endpoints
        where id in (select json_array_elements_text(cast(:ids as json))) and state <> 'active'
        for share skip locked
        """
    )
    return set((await db.execute(statement, {"ids": orjson.dumps(endpoint_ids).decode()})).scalars())


async def claim_held(
    db: AsyncSession, numbers: Mapping[str, int], now: datetime, lease_seconds: float
) -> Sequence[Claimed]:
    """Take that many of what is held for each of these endpoints, oldest first; what another has locked is skipped."""
    statement = sql(
        f"""
        with taken as materialized (
            select held.id
            from json_each_text(cast(:numbers as json)) as asked(endpoint_id, number)
            cross join lateral (
                select d.id from deliveries d where d.endpoint_id = asked.endpoint_id and d.hold = 'lane'
                order by d.id limit cast(asked.number as integer) for update skip locked
            ) held
        ), claimed as (
            update deliveries d set due_at = :until, hold = null, attempts = d.attempts + 1
            from taken where d.id = taken.id
            returning {claimed_columns}, cast(null as timestamptz) as was_due_at
        )
        {loaded}
        """
    )
    values = {"numbers": orjson.dumps(numbers).decode(), "until": now + timedelta(seconds=lease_seconds)}
    return [Claimed._make(row) for row in await db.execute(statement, values)]


async def holding(db: AsyncSession, endpoint_ids: Iterable[str]) -> set[str]:
    """For which of these endpoints anything is held, be it locked by another."""
    statement = sql(
        """
        select asked.id from json_array_elements_text(cast(:ids as json)) as asked(id)
        where exists (select from deliveries d where d.endpoint_id = asked.id and d.hold = 'lane')
        """
    )
    return set((await db.execute(statement, {"ids": orjson.dumps(list(endpoint_ids)).decode()})).scalars())


async def write(db: AsyncSession, lanes: Iterable[Lane]) -> None:
    """Remember these lanes, which are locked."""
    statement = sql(
        """
        update lanes l set due_at = w.due_at, breaker = w.breaker, failures = w.failures,
            failing_since = w.failing_since, opens = w.opens, open_until = w.open_until, tokens = w.tokens,
            tokens_at = w.tokens_at, holders = w.holders
        from jsonb_to_recordset(cast(:lanes as jsonb)) as w(
            endpoint_id text, due_at timestamptz, breaker text, failures integer, failing_since timestamptz,
            opens integer, open_until timestamptz, tokens double precision, tokens_at timestamptz, holders jsonb
        )
        where l.endpoint_id = w.endpoint_id
        """
    )
    await db.execute(statement, {"lanes": orjson.dumps([_row(lane) for lane in lanes]).decode()})


async def make_due(db: AsyncSession, endpoint_ids: Sequence[str], now: datetime) -> None:
    """Have the lanes of these endpoints attended, which have become active in this transaction.

    Where nothing is held that we can see, there is no lane to make: what is being held now makes its own.
    """
    statement = sql(
        """
        insert into lanes (endpoint_id, due_at)
        select asked.id, :now from json_array_elements_text(cast(:ids as json)) as asked(id)
        where exists (select from deliveries d where d.endpoint_id = asked.id and d.hold = 'lane')
        order by asked.id
        on conflict (endpoint_id) do update set due_at = excluded.due_at
        """
    )
    await db.execute(statement, {"ids": orjson.dumps(sorted(endpoint_ids)).decode(), "now": now})


async def begin_anew(db: AsyncSession, endpoint_ids: Sequence[str], now: datetime) -> None:
    """As `make_due`, and what these endpoints were like before they were taken up counts no more: an endpoint that was
    disabled for failing, or failed before it was paused, is not disabled again by its next failure."""
    statement = sql(
        """
        update lanes set breaker = 'closed', failures = 0, failing_since = null, opens = 0, open_until = null
        where endpoint_id in (
            select endpoint_id from lanes where endpoint_id in (select json_array_elements_text(cast(:ids as json)))
            order by endpoint_id for update
        )
        """
    )
    await db.execute(statement, {"ids": orjson.dumps(endpoint_ids).decode()})
    await make_due(db, endpoint_ids, now)


async def leave(db: AsyncSession, endpoint_id: str, now: datetime) -> None:
    """This endpoint is about to be deleted: whoever attends its lane lets go of what is held, and then of the lane.
    How it did is forgotten at once, as a subscription of MCP Events may be made anew under the same id."""
    statement = sql(
        """
        update lanes set due_at = :now, breaker = 'closed', failures = 0, failing_since = null, opens = 0,
            open_until = null, tokens = null, tokens_at = null, holders = '{}'
        where endpoint_id = :id
        """
    )
    await db.execute(statement, {"id": endpoint_id, "now": now})


async def leave_orphaned(db: AsyncSession, now: datetime) -> int:
    """As `leave`, for endpoints that are no more: what was in flight to one when it was deleted has made its lane anew.
    Returns how many."""
    statement = sql(
        """
        update lanes set due_at = :now
        where endpoint_id in (
            select endpoint_id from lanes l
            where due_at is null and not exists (select from endpoints e where e.id = l.endpoint_id)
            for update skip locked
        )
        returning 1
        """
    )
    return len((await db.execute(statement, {"now": now})).all())


async def let_go(db: AsyncSession, endpoint_ids: Sequence[str], now: datetime, limit: int) -> None:
    """Make what is held for these endpoints due, which are no more: whoever claims it finds that it is to be cancelled.
    Their lanes, which are locked, go when nothing is held any more."""
    statement = sql(
        """
        update deliveries set due_at = :now, hold = null
        where id in (
            select id from deliveries
            where hold = 'lane' and endpoint_id in (select json_array_elements_text(cast(:ids as json)))
            limit :limit for update skip locked
        )
        """
    )
    ids = orjson.dumps(endpoint_ids).decode()
    await db.execute(statement, {"ids": ids, "now": now, "limit": limit})
    held = await holding(db, endpoint_ids)
    gone = [id for id in endpoint_ids if id not in held]
    statement = sql("delete from lanes where endpoint_id in (select json_array_elements_text(cast(:ids as json)))")
    await db.execute(statement, {"ids": orjson.dumps(gone).decode()})


def breaker_of(row: Any) -> Breaker:
    """The breaker of a lane, from its row."""
    return Breaker(row.breaker, row.failures, row.failing_since, row.opens, row.open_until)


def _lane(row: Any) -> Lane:
    return Lane(
        endpoint_id=row.endpoint_id,
        due_at=row.due_at,
        breaker=breaker_of(row),
        bucket=None if row.tokens is None else Bucket(row.tokens, row.tokens_at),
        holders={id: datetime.fromisoformat(until) for id, until in row.holders.items()},
    )


def _row(lane: Lane) -> dict[str, Any]:
    return {
        "endpoint_id": lane.endpoint_id,
        "due_at": lane.due_at,
        "breaker": lane.breaker.state,
        "failures": lane.breaker.failures,
        "failing_since": lane.breaker.failing_since,
        "opens": lane.breaker.opens,
        "open_until": lane.breaker.open_until,
        "tokens": lane.bucket.tokens if lane.bucket else None,
        "tokens_at": lane.bucket.at if lane.bucket else None,
        "holders": lane.holders,
    }
