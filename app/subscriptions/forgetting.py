"""How long it is kept what was seen and told: as long as anybody may read it, and no less than anything may need it."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.kit import limits
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.sql import sql

__all__ = ["Forgetting"]


class Forgetting:
    """Drops what is too old, a portion at a time."""

    def __init__(self, transaction: Transaction, clock: Clock, days: int) -> None:
        self._transaction = transaction
        self._clock = clock
        self._days = days

    async def forget_next(self) -> int:
        """Drop a portion of what is too old. Returns how much; 0 when there is nothing left to drop."""
        async with self._transaction() as db:
            before = await self._clock.now(db) - timedelta(days=self._days)
            return await _entries(db, before) + await _sightings(db, before) + await _feeds(db, before)


async def _entries(db: AsyncSession, before: datetime) -> int:
    """Entries that are on their way to everybody, or that nobody waits for."""
    statement = sql(
        """
        delete from feed_entries e using (
            select o.feed_id, o.seq from feed_entries o join feeds f on f.id = o.feed_id
            where o.made_at < :before and o.seq <= f.sent_seq
            order by o.made_at limit :limit
        ) old
        where e.feed_id = old.feed_id and e.seq = old.seq
        returning 1
        """
    )
    return len((await db.execute(statement, {"before": before, "limit": limits.forget_batch_max})).all())


async def _sightings(db: AsyncSession, before: datetime) -> int:
    """Sightings that no feed has yet to read, of blocks that are so deep that none of them can go any more."""
    statement = sql(
        """
        with old as materialized (
            select s.id, s.source_id, s.seq, s.event_id, s.filter_ids
            from sightings s join sources o on o.id = s.source_id
            where s.seen_at < :before
                and (s.block_number is null or o.position is null
                    or s.block_number < cast(o.position ->> 'number' as bigint) - :ring)
                and not exists (
                    select from feeds f
                    where f.filter_id = any(s.filter_ids) and f.source_id = s.source_id and f.resting_since is null
                        and least(f.read_seq, f.released_seq) < s.seq
                )
            order by s.seen_at limit :limit
        ), matched as (
            delete from matches m using old where m.filter_id = any(old.filter_ids) and m.seq = old.seq
        ), told as (
            delete from told_events t using old, feeds f
            where f.filter_id = any(old.filter_ids) and t.feed_id = f.id and t.event_id = old.event_id
        )
        delete from sightings s using old where s.id = old.id returning 1
        """
    )
    values = {"before": before, "ring": limits.chain_ring_blocks_longest, "limit": limits.forget_batch_max}
    return len((await db.execute(statement, values)).all())


async def _feeds(db: AsyncSession, before: datetime) -> int:
    """Feeds that nobody has heard for so long. Whoever wants the same later begins a sequence of its own."""
    statement = sql(
        """
        with old as materialized (
            select id from feeds where resting_since < :before limit :limit for update skip locked
        ), entries as (
            delete from feed_entries e using old where e.feed_id = old.id
        ), told as (
            delete from told_events t using old where t.feed_id = old.id
        )
        delete from feeds f using old where f.id = old.id returning 1
        """
    )
    return len((await db.execute(statement, {"before": before, "limit": limits.forget_batch_max})).all())
