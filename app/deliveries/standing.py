"""SQL of how things stand: what is due, what is held, and which endpoints are in trouble."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.kit.sql import sql

__all__ = ["Standing", "standing"]


@dataclass(frozen=True, slots=True)
class Standing:
    """The deliveries that are due or held, counted up to a bound, and how many endpoints are in which state."""

    oldest_due_at: datetime | None
    due: int
    held_by_lane: int
    held_by_order: int
    breakers: Mapping[str, int]
    endpoints: Mapping[str, int]


async def standing(db: AsyncSession, now: datetime, counted_max: int) -> Standing:
    """How things stand now. Every part of it reads an index that holds no more than it counts."""
    statement = sql(
        """
        select
            (select min(due_at) from deliveries where due_at <= :now),
            (select count(*) from (select from deliveries where due_at <= :now limit :max) due),
            (select count(*) from (select from deliveries where hold = 'lane' limit :max) held),
            (select count(*) from (
                select from deliveries
                where order_key is not null and state = 'pending' and hold = 'order' limit :max
            ) behind),
            (select coalesce(json_object_agg(breaker, n), '{}') from (
                -- Of those that would be rung otherwise: what is disabled for failing stays as it is for good.
                select l.breaker, count(*) as n from lanes l join endpoints e on e.id = l.endpoint_id
                where l.breaker <> 'closed' and e.state = 'active' group by l.breaker
            ) by_breaker),
            (select coalesce(json_object_agg(state, n), '{}') from (
                select state, count(*) as n from endpoints where state <> 'ended' group by state
            ) by_state)
        """
    )
    [row] = await db.execute(statement, {"now": now, "max": counted_max})
    return Standing(*row)
