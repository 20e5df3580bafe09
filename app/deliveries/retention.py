"""How long messages, deliveries and attempts are kept: by the week, and nothing that is still on its way."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import partitions
from app.deliveries.conclusions import Conclusions
from app.deliveries.ending import tell_of
from app.deliveries.weeks import PREFIXES, Week, week_named, weeks_ahead
from app.kit import limits, telemetry
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.wake import Wake

__all__ = ["Retention"]

log = telemetry.logger(__name__)

# A message has the id of an earlier moment than its deliveries. None of these is that much later.
_apart = timedelta(hours=1)


class Retention:
    """Makes room for weeks to come, and drops those that are too old."""

    def __init__(self, transaction: Transaction, clock: Clock, conclusions: Conclusions, wake: Wake, days: int) -> None:
        self._transaction = transaction
        self._clock = clock
        self._conclusions = conclusions
        self._wake = wake
        self._days = days

    @property
    def kept(self) -> timedelta:
        """How far back what was sent can be read, and sent again."""
        return timedelta(days=self._days)

    async def make_room_next(self) -> int:
        """Make the partition of a week that is about to come. Returns 1; 0 when all are there, or one is in use."""
        async with self._transaction() as db:
            now = await self._clock.now(db)
            there = await partitions.existing(db)
        missing = [(t, w) for w in weeks_ahead(now) for t in PREFIXES if w.partition_of(t) not in there]
        if not missing:
            return 0
        table, week = missing[0]
        return await self._unless_in_use(lambda db: partitions.make(db, table, week), "made", week.partition_of(table))

    async def expire_next(self) -> int:
        """Give up deliveries that are too old and still on their way. Returns how many; 0 when there are none."""
        async with self._transaction() as db:
            now = await self._clock.now(db)
            reason = f"expired after {self._days} days"
            expired = await partitions.expire(db, now - self.kept, reason, now, limits.expire_batch_max)
            told = await tell_of(db, self._conclusions, expired, "failed", reason, now)
        if told:
            self._wake.ring("schedules")
        if any(each.order_key is not None for each in expired):
            self._wake.ring("deliveries")
        return len(expired)

    async def drop_next(self) -> int:
        """Drop the oldest partition of which all is too old. Returns 1; 0 when there is none, or it is in use.

        First a week's deliveries, then their attempts, then the messages: whoever dies in between leaves nothing that
        refers to what is no more, and the next look goes on from there.
        """
        async with self._transaction() as db:
            before = await self._clock.now(db) - self.kept
            there = await partitions.existing(db)
            await partitions.sweep(db, before)
        old = sorted({week for name in there if (week := week_named(name)) and week.ends + _apart <= before})
        left = [(t, w) for w in old for t in PREFIXES if w.partition_of(t) in there]
        if not left:
            return 0
        table, oldest = left[0]
        return await self._unless_in_use(lambda db: _drop(db, table, oldest), "dropped", oldest.partition_of(table))

    async def _unless_in_use(self, change: Callable[[AsyncSession], Awaitable[None]], done: str, name: str) -> int:
        """Change a partition; 0 when another worker is at it, or someone would have to be waited for."""
        try:
            async with self._transaction() as db:
                await partitions.be_brief(db)
                await change(db)
        except (_StillPending, OperationalError) as error:
            if isinstance(error, OperationalError) and not _is_busy(error):
                raise
            return 0
        log.info(f"a partition was {done}", partition=name)
        return 1


class _StillPending(Exception):
    """Something in the partition is on its way."""


async def _drop(db: AsyncSession, table: str, week: Week) -> None:
    # Looked for behind the lock: nothing can be set on its way between the look and the end of the table.
    await partitions.close(db, table)
    if await partitions.has_pending(db, week.ends + _apart):
        raise _StillPending
    await partitions.drop(db, table, week)


def _is_busy(error: OperationalError) -> bool:
    return getattr(error.orig, "sqlstate", None) in {"55P03", "40P01"}
