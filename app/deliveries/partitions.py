"""SQL of the weeks that messages, deliveries and attempts lie in: made before they come, dropped when too old."""

from collections.abc import Sequence
from datetime import datetime

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import order
from app.deliveries.ending import Ended
from app.deliveries.weeks import PREFIXES, Week
from app.kit import limits
from app.kit.ids import first_of
from app.kit.sql import sql

# Names of tables and bounds of partitions cannot be parameters. All that is put into statements here is ours.


async def existing(db: AsyncSession) -> set[str]:
    """The names of all partitions."""
    statement = sql(
        """
        select part.relname from pg_inherits
        join pg_class part on part.oid = inhrelid
        where inhparent = any(cast(:tables as regclass[]))
        """
    )
    return set((await db.execute(statement, {"tables": list(PREFIXES)})).scalars())


async def be_brief(db: AsyncSession) -> None:
    """Let no statement of this transaction wait long for a lock: what comes behind it would wait, too."""
    await db.execute(sql(f"set local lock_timeout = '{limits.partition_lock_milliseconds}ms'"))


async def make(db: AsyncSession, table: str, week: Week) -> None:
    """Make a week's partition, of what has come too early for it as well: the rows that fitted nowhere."""
    name, (first, end) = week.partition_of(table), week.bounds(table)
    key = "delivery_id" if table == "attempts" else "id"
    # Nobody may write there in between, or a row could be left behind.
    await db.execute(sql(f"lock table {table}_other in access exclusive mode"))
    if name in await existing(db):  # another worker was first
        return
    await db.execute(sql(f"create table {name} (like {table} including all)"))
    await db.execute(
        sql(
            f"""
            with early as (delete from {table}_other where {key} >= '{first}' and {key} < '{end}' returning *)
            insert into {name} select * from early
            """
        )
    )
    await db.execute(sql(f"alter table {table} attach partition {name} for values from ('{first}') to ('{end}')"))


async def drop(db: AsyncSession, table: str, week: Week) -> None:
    """Drop a week's partition, with all that is in it."""
    await db.execute(sql(f"drop table if exists {week.partition_of(table)}"))


async def close(db: AsyncSession, table: str) -> None:
    """Let nobody into a table until this transaction has ended."""
    await db.execute(sql(f"lock table only {table} in access exclusive mode"))


async def has_pending(db: AsyncSession, before: datetime) -> bool:
    """Whether anything that was sent before then is still on its way."""
    statement = sql(
        """
        select exists (
            select from deliveries where due_at is not null and id < :first
            union all
            select from deliveries where hold = 'lane' and id < :first
            union all
            select from deliveries where order_key is not null and state = 'pending' and id < :first
        )
        """
    )
    return bool((await db.execute(statement, {"first": first_of("dlv", before)})).scalar_one())


async def expire(db: AsyncSession, before: datetime, reason: str, now: datetime, limit: int) -> Sequence[Ended]:
    """Give up what was sent before then and is still on its way. An attempt in flight ends unconcluded."""
    # By the three partial indexes of what is pending: the table holds all that was sent, and most of it has arrived.
    old = sql(
        """
        select id, endpoint_id, order_key from deliveries where due_at is not null and id < :first
        union
        select id, endpoint_id, order_key from deliveries where hold = 'lane' and id < :first
        union
        select id, endpoint_id, order_key from deliveries
        where order_key is not null and state = 'pending' and id < :first
        order by id limit :limit
        """
    )
    found = (await db.execute(old, {"first": first_of("dlv", before), "limit": limit})).all()
    if not found:
        return ()
    await order.lock(db, {(row.endpoint_id, row.order_key) for row in found if row.order_key is not None})
    statement = sql(
        """
        with expired as (
            update deliveries set state = 'failed', reason = :reason, due_at = null, hold = null, concluded_at = :now
            where id in (
                select id from deliveries
                where state = 'pending' and id in (select json_array_elements_text(cast(:ids as json)))
                for update skip locked
            )
            returning id, agent_id, endpoint_id, message_id, order_key
        )
        select e.*, m.subject
        from expired e left join messages m on m.id = e.message_id
        """
    )
    values = {"ids": orjson.dumps([row.id for row in found]).decode(), "reason": reason, "now": now}
    return [Ended._make(row) for row in await db.execute(statement, values)]


async def sweep(db: AsyncSession, before: datetime) -> None:
    """Delete what is as old and fitted into no week, such as an attempt that ended when its delivery was no more."""
    for table, prefix in PREFIXES.items():
        key = "delivery_id" if table == "attempts" else "id"
        keep = " and state <> 'pending'" if table == "deliveries" else ""
        await db.execute(
            sql(f"delete from {table}_other where {key} < :first{keep}"), {"first": first_of(prefix, before)}
        )
