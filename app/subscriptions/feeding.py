"""Feeding: what sources have seen becomes entries of feeds, and goes out to all who hear them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.service import Deliveries, Outgoing
from app.kit import limits
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.wake import Wake
from app.subscriptions import feed_store as store
from app.subscriptions.feeds import Feed, Portion, Step, portion, step

__all__ = ["Feeding"]


class Feeding:
    """Feeds the feeds that are due."""

    def __init__(self, transaction: Transaction, clock: Clock, wake: Wake, deliveries: Deliveries) -> None:
        self._transaction = transaction
        self._clock = clock
        self._wake = wake
        self._deliveries = deliveries

    async def feed_next(self) -> int:
        """Let feeds that are due say what there is to say. Returns how many; 0 when none is due.

        One transaction does it all: it holds the feeds, appends to them, and sets what was appended on its way. No
        network lies between, so a crash leaves everything as it was, and the feeds due. What has more hearers, or more
        to say, than one transaction should hold goes on in the next, from where this one says it has got to.
        """
        async with self._transaction() as db:
            now = await self._clock.now(db)
            claimed = await store.claim(db, now, limits.feeds_at_once_max)
            if not claimed:
                return 0
            steps = await self._said(db, claimed, now)
            portions = await self._portioned(db, steps)
            outgoing = [
                Outgoing(entry.type, entry.body.encode(), endpoint_ids)
                for each in portions.values()
                for entry, endpoint_ids in each.outgoing
            ]
            await self._deliveries.send(db, outgoing, now)
            await store.conclude(db, [_fed(each, portions[each.feed.id]) for each in steps], now)
        if outgoing:
            self._wake.ring("deliveries")
        return len(claimed)

    async def _said(self, db: AsyncSession, claimed: Sequence[Feed], now: datetime) -> Sequence[Step]:
        """The entries of each feed that are to go out: those that are left from before, or else new ones."""
        behind = [feed for feed in claimed if feed.sent_seq < feed.seq]
        left = await store.unsent(db, behind, limits.feeding_events_max)
        # What waits to be sent goes first: only then is looked for more. It stays due for that.
        steps = [Step(feed, left[feed.id], None, more=True) for feed in behind]
        # What is seen waits until a feed has caught up; then it is due for that.
        waiting = [feed for feed in claimed if feed.sent_seq == feed.seq and feed.is_catching_up]
        steps += [Step(feed, (), None, more=False) for feed in waiting]
        ready = [feed for feed in claimed if feed.sent_seq == feed.seq and not feed.is_catching_up]
        if not ready:
            return steps
        views = await store.views(db, ready, limits.feeding_events_max)
        new = [
            step(
                feed,
                views[feed.id],
                now,
                items_max=limits.feeding_events_max,
                batch_bytes_max=limits.feed_batch_bytes_max,
            )
            for feed in ready
        ]
        await store.write(db, new, now)
        return [*steps, *new]

    async def _portioned(self, db: AsyncSession, steps: Sequence[Step]) -> Mapping[str, Portion]:
        """What of it goes out in this transaction."""
        speaking = [each.feed for each in steps if each.entries]
        room = limits.feed_deliveries_max
        hearers = await store.hearers(db, speaking, room + 1)
        portions = dict[str, Portion]()
        # Those with few hearers first: one with many goes on for a while, and is no reason for the others to wait.
        for each in sorted(steps, key=lambda each: len(hearers.get(each.feed.id, ()))):
            portions[each.feed.id] = portion(each.feed, each.entries, hearers.get(each.feed.id, ()), room=room)
            room -= portions[each.feed.id].deliveries
        return portions


def _fed(each: Step, sent: Portion) -> store.Fed:
    feed = replace(each.feed, sent_seq=sent.sent_seq, sent_to=sent.sent_to)
    return store.Fed(feed, each.attention_at, goes_on=each.more or feed.sent_seq < feed.seq)
