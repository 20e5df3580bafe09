"""Waiting for a feed to move on: one question each quarter of a second, however many wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from app.kit import limits
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.subscriptions import feed_store as store


@dataclass(eq=False, slots=True)
class _Waiter:
    feed_id: str
    seq: int
    until: float
    moved: asyncio.Event = field(default_factory=asyncio.Event)


class Tail:
    """Holds no connection while it waits, and one for a moment when it asks."""

    def __init__(self, transaction: Transaction, clock: Clock) -> None:
        self._transaction = transaction
        self._clock = clock
        self._waiting: set[_Waiter] = set()
        self._asking: asyncio.Task[None] | None = None

    async def moved(self, feed_id: str, beyond_seq: int, seconds: float) -> bool:
        """Return when the feed has gone beyond that place, or when the time is over; whether it was before that."""
        waiter = _Waiter(feed_id, beyond_seq, self._clock.monotonic() + seconds)
        self._waiting.add(waiter)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="events tail")
        try:
            await waiter.moved.wait()
            return self._clock.monotonic() < waiter.until
        finally:
            self._waiting.discard(waiter)

    async def close(self) -> None:
        """Let everybody go."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self) -> None:
        try:
            while self._waiting:
                await self._clock.sleep(limits.events_tail_seconds)
                waiting = list(self._waiting)
                async with self._transaction() as db:
                    seqs = await store.seqs(db, {waiter.feed_id for waiter in waiting})
                for waiter in waiting:
                    if seqs.get(waiter.feed_id, 0) > waiter.seq or self._clock.monotonic() >= waiter.until:
                        waiter.moved.set()
        finally:
            # Also when the database is away: those who wait look for themselves, and meet the fault.
            for waiter in self._waiting:
                waiter.moved.set()
