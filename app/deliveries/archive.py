"""SQL of reading back: deliveries, their messages and their attempts; and of what their owners do about them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.deliveries import order
from app.deliveries.ending import Ended
from app.deliveries.models import Attempt, Delivery, Endpoint, Lane, Message
from app.deliveries.statuses import Seen
from app.kit import limits
from app.kit.ids import first_of, moment_of
from app.kit.sql import sql

# A message's deliveries are made with it, in one go.
_with_its_message = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of an agent's deliveries. `since` and `until` go by their ids, which say when they were made."""

    states: frozenset[str] | None = None
    endpoint_id: str | None = None
    type: str | None = None
    subject: str | None = None
    message_id: str | None = None
    order_key: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Deliveries with the types and subjects of their messages and the profiles of their endpoints, where these are
    still there; and where to go on: null when all were looked at."""

    rows: Sequence[tuple[Delivery, str, str | None, str | None]]
    looked_to: str | None


async def deliveries(db: AsyncSession, agent_id: str, wanted: Wanted, before: str | None, limit: int) -> Found:
    """An agent's deliveries, newest first: as many as there are among the next thousands, and `limit` at most."""
    looked = _looked(agent_id, wanted, before)
    each = aliased(Delivery, looked.limit(limits.listed_rows_max).subquery())
    question = select(each, Message.type, Message.subject, Endpoint.profile)
    question = question.join(Message, col(Message.id) == col(each.message_id))
    question = question.outerjoin(Endpoint, col(Endpoint.id) == col(each.endpoint_id))
    for column, value in (
        (each.endpoint_id, wanted.endpoint_id),
        (each.message_id, wanted.message_id),
        (each.order_key, wanted.order_key),
        (Message.type, wanted.type),
        (Message.subject, wanted.subject),
    ):
        if value is not None:
            question = question.where(col(column) == value)
    if wanted.states is not None:
        question = question.where(col(each.state).in_(sorted(wanted.states)))
    found = await db.execute(question.order_by(col(each.id).desc()).limit(limit))
    rows = [(row[0], row[1], row[2], row[3]) for row in found]
    if len(rows) == limit:
        return Found(rows, rows[-1][0].id)
    last = looked.with_only_columns(col(Delivery.id)).offset(limits.listed_rows_max - 1).limit(1)
    return Found(rows, await db.scalar(last))


def _looked(agent_id: str, wanted: Wanted, before: str | None) -> SelectOfScalar[Delivery]:
    """The deliveries in the order of an index, newest first, by what that index knows."""
    question = select(Delivery).where(col(Delivery.agent_id) == agent_id)
    if wanted.states is not None and "delivered" not in wanted.states:
        question = question.where(col(Delivery.state) != sql("'delivered'"))
    if wanted.message_id is not None and (sent := moment_of(wanted.message_id)) is not None:
        question = question.where(col(Delivery.id) >= first_of("dlv", sent))
        question = question.where(col(Delivery.id) < first_of("dlv", sent + _with_its_message))
    if wanted.since is not None:
        question = question.where(col(Delivery.id) >= first_of("dlv", wanted.since))
    if wanted.until is not None:
        question = question.where(col(Delivery.id) < first_of("dlv", wanted.until))
    if before is not None:
        question = question.where(col(Delivery.id) < before)
    return question.order_by(col(Delivery.id).desc())


async def delivery(
    db: AsyncSession, agent_id: str, delivery_id: str, *, lock: bool = False
) -> tuple[Delivery, Message] | None:
    """This agent's delivery, with its message. Locked, with what it is ordered by, both are as they are behind the
    lock."""
    if lock:
        await lock_keys(db, [delivery_id])
        mine = select(Delivery.id).where(col(Delivery.id) == delivery_id, col(Delivery.agent_id) == agent_id)
        await db.execute(mine.with_for_update())
    question = select(Delivery, Message).join(Message, col(Message.id) == col(Delivery.message_id))
    question = question.where(col(Delivery.id) == delivery_id, col(Delivery.agent_id) == agent_id)
    row = (await db.execute(question)).one_or_none()
    return None if row is None else (row[0], row[1])


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a delivery has got."""

    state: str
    attempts: int


async def progress(db: AsyncSession, delivery_ids: Sequence[str]) -> dict[str, Progress]:
    """The progress of each of these deliveries."""
    made = col(Delivery.attempts) - col(Delivery.unsent)
    question = select(Delivery.id, Delivery.state, made).where(col(Delivery.id).in_(delivery_ids))
    return {id_: Progress(state, attempts) for id_, state, attempts in await db.execute(question)}


async def profile(db: AsyncSession, endpoint_id: str) -> str | None:
    """The profile of an endpoint; None when it is no more."""
    return await db.scalar(select(Endpoint.profile).where(col(Endpoint.id) == endpoint_id))


async def attempts(db: AsyncSession, delivery_id: str) -> Sequence[Attempt]:
    """The latest attempts of a delivery that are on record, oldest first."""
    question = select(Attempt).where(col(Attempt.delivery_id) == delivery_id)
    latest = await db.scalars(question.order_by(col(Attempt.number).desc()).limit(limits.attempts_shown_max))
    return list(reversed(latest.all()))


# What their owners do about them


async def lock_keys(db: AsyncSession, delivery_ids: Sequence[str]) -> None:
    """Be alone with what these deliveries are ordered by. Call before they are locked themselves."""
    question = select(Delivery.endpoint_id, Delivery.order_key).where(
        col(Delivery.id).in_(delivery_ids), col(Delivery.order_key).is_not(None)
    )
    await order.lock(db, {(endpoint_id, key) for endpoint_id, key in await db.execute(question) if key is not None})


async def set_off(
    db: AsyncSession, delivery_ids: Iterable[str], states: Iterable[str], now: datetime
) -> Sequence[Ended]:
    """Set these on their way again, due now and at the foot of the ladder: those that are in one of these states still,
    and whose endpoint and payload are still there. Returns them."""
    ids = sorted(delivery_ids)
    await lock_keys(db, ids)
    named = orjson.dumps(ids).decode()
    # Locked by a statement of its own: the next one sees what has become of the payloads behind the locks.
    lock = sql(
        """
        select id from deliveries where id in (select json_array_elements_text(cast(:ids as json)))
        order by id for update
        """
    )
    await db.execute(lock, {"ids": named})
    statement = sql(
        """
        update deliveries d
        set state = 'pending', due_at = case when d.order_key is null then cast(:now as timestamptz) end,
            hold = case when d.order_key is not null then 'order' end, reason = null, concluded_at = null,
            attempts_before = d.attempts
        from messages m, endpoints e
        where d.id in (select json_array_elements_text(cast(:ids as json)))
            and d.state in (select json_array_elements_text(cast(:states as json)))
            and m.id = d.message_id and m.expunged_at is null and e.id = d.endpoint_id
        returning d.id, d.agent_id, d.endpoint_id, d.message_id, d.order_key, m.subject
        """
    )
    values = {"ids": named, "states": orjson.dumps(sorted(states)).decode(), "now": now}
    begun = [Ended._make(row) for row in await db.execute(statement, values)]
    # What keeps an order waits its turn, which has come where nothing else of its key is on its way.
    await order.release_next(db, {each.key for each in begun if each.key is not None}, now)
    return begun


async def cancel(db: AsyncSession, delivery_ids: Iterable[str], reason: str, now: datetime) -> Sequence[Ended]:
    """Cancel those of these that are still on their way. An attempt in flight ends unconcluded. Call with their keys
    locked."""
    statement = sql(
        """
        with cancelled as (
            update deliveries
            set state = 'cancelled', reason = :reason, due_at = null, hold = null, concluded_at = :now
            where state = 'pending' and id in (
                select id from deliveries where id in (select json_array_elements_text(cast(:ids as json)))
                order by id for update
            )
            returning id, agent_id, endpoint_id, message_id, order_key
        )
        select c.*, m.subject from cancelled c join messages m on m.id = c.message_id
        """
    )
    values = {"ids": orjson.dumps(sorted(delivery_ids)).decode(), "reason": reason, "now": now}
    return [Ended._make(row) for row in await db.execute(statement, values)]


async def on_their_way(db: AsyncSession, endpoint_id: str, limit: int | None) -> Sequence[str]:
    """What has been sent to this endpoint and has not ended: so many at most, or all of it."""
    # By the three partial indexes of what is pending: the table holds all that was ever sent.
    statement = sql(
        """
        select id from deliveries where due_at is not null and endpoint_id = :id
        union
        select id from deliveries where hold = 'lane' and endpoint_id = :id
        union
        select id from deliveries where order_key is not null and state = 'pending' and endpoint_id = :id
        limit cast(:limit as bigint)
        """
    )
    return (await db.execute(statement, {"id": endpoint_id, "limit": limit})).scalars().all()


async def lock_siblings(db: AsyncSession, message_id: str) -> Sequence[str]:
    """Lock all deliveries of a message, of any agents, and what they are ordered by; returns their ids."""
    question = select(Delivery.id).where(col(Delivery.message_id) == message_id)
    if (sent := moment_of(message_id)) is not None:
        # The table is in the order of these ids, and has no index by message: it would be written for each, to be read
        # for almost none.
        question = question.where(
            col(Delivery.id) >= first_of("dlv", sent), col(Delivery.id) < first_of("dlv", sent + _with_its_message)
        )
    ids = (await db.scalars(question.order_by(col(Delivery.id)))).all()
    await lock_keys(db, ids)
    return (await db.scalars(question.order_by(col(Delivery.id)).with_for_update())).all()


async def expunge(db: AsyncSession, message_id: str, delivery_ids: Sequence[str], now: datetime) -> None:
    """Remove what a message said, and what its receivers answered."""
    excerpts = sql(
        """
        update attempts set response_excerpt = null
        where delivery_id in (select json_array_elements_text(cast(:ids as json)))
        """
    )
    await db.execute(excerpts, {"ids": orjson.dumps(list(delivery_ids)).decode()})
    body = sql("update messages set body = '', expunged_at = :now where id = :id")
    await db.execute(body, {"id": message_id, "now": now})


# How an endpoint does


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of an endpoint's deliveries are in each state: of the last day, and of all that was looked at."""

    last_day: dict[str, int]
    last_week: dict[str, int]
    looked_to: str | None  # the oldest one, where there were too many to look at


async def counts(db: AsyncSession, agent_id: str, endpoint_id: str, now: datetime) -> Counts:
    """Count an endpoint's deliveries of the last days, among the latest of its agent."""
    looked = """
        select id, state, endpoint_id from deliveries where agent_id = :agent and id >= :week
        order by id desc limit :limit
    """
    statement = sql(
        f"""
        select state, count(*) filter (where id >= :day) as day, count(*) as week
        from ({looked}) looked where endpoint_id = :endpoint group by state
        """
    )
    values = {
        "agent": agent_id,
        "endpoint": endpoint_id,
        "week": first_of("dlv", now - timedelta(days=7)),
        "day": first_of("dlv", now - timedelta(days=1)),
        "limit": limits.counted_rows_max,
    }
    rows = (await db.execute(statement, values)).all()
    last = sql(f"select id from ({looked}) looked offset :limit - 1")
    looked_to = await db.scalar(last, {name: values[name] for name in ("agent", "week", "limit")})
    return Counts({row.state: row.day for row in rows}, {row.state: row.week for row in rows}, looked_to)


async def latest(db: AsyncSession, agent_id: str, endpoint_id: str) -> Seen:
    """When an endpoint took something last, and how the latest that it has not taken has failed: among the latest
    thousands of its agent's deliveries."""
    statement = sql(
        """
        with looked as materialized (
            select id, endpoint_id, state, concluded_at, last_status, last_error from deliveries
            where agent_id = :agent order by id desc limit :limit
        ), refused as (
            select last_status, last_error from looked
            where endpoint_id = :endpoint and state <> 'delivered' and (last_status is not null or last_error <> '')
            order by id desc limit 1
        )
        select (select max(concluded_at) from looked where endpoint_id = :endpoint and state = 'delivered'),
            (select last_status from refused), (select last_error from refused)
        """
    )
    values = {"agent": agent_id, "endpoint": endpoint_id, "limit": limits.listed_rows_max}
    return Seen(*(await db.execute(statement, values)).one())


async def lane(db: AsyncSession, endpoint_id: str) -> Lane | None:
    """What the engine remembers of an endpoint."""
    return await db.get(Lane, endpoint_id)


async def held(db: AsyncSession, endpoint_id: str) -> int:
    """How many deliveries wait for their endpoint, as far as that is counted."""
    statement = sql(
        "select count(*) from (select from deliveries where hold = 'lane' and endpoint_id = :id limit :limit) held"
    )
    return (await db.execute(statement, {"id": endpoint_id, "limit": limits.counted_rows_max})).scalar_one()
