"""The worker's side of schedules: plan what falls due, hold it until its time, hand it over."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.service import Deliveries
from app.events import Happened, record
from app.kit import limits, telemetry
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.wake import Wake
from app.schedules import fires, store
from app.schedules.entries import Entry, Plannable, Prepared, fire_id, prepare
from app.schedules.handover import HandedOver, complete, hand_over, skipped
from app.schedules.holding import Held, Holding, Reckoning
from app.schedules.planning import missed_before

__all__ = ["Timekeeper", "fire_id", "skipped"]

log = telemetry.logger(__name__)

_ahead = timedelta(seconds=limits.plan_ahead_seconds)
# What is due no sooner than this, the next sweep still plans in time.
_soon = timedelta(seconds=limits.plan_soon_seconds)
_overdue = timedelta(seconds=limits.overdue_seconds)
_forever = datetime.max.replace(tzinfo=UTC)


class Timekeeper:
    """Plans and fires, beside any number of others.

    What it holds is in the journal, under a lease: when the process dies, others take it over.
    """

    def __init__(self, transaction: Transaction, clock: Clock, wake: Wake, deliveries: Deliveries) -> None:
        self._transaction = transaction
        self._clock = clock
        self._wake = wake
        self._deliveries = deliveries
        self._holding = Holding()
        self._reckoning = Reckoning()

    async def plan_next(self) -> int:
        """Write the slots of the next few seconds into the journal. Returns how many schedules; 0 when none is due.

        A schedule that one worker plans is locked, and the others pass it by. After an outage, what is still to come
        is planned before what was missed.
        """
        if self._room == 0:
            return 0
        async with self._transaction() as db:
            now = await self._now(db)
            schedules = await _due(db, now)
            prepared = [prepare(schedule, now) for schedule in schedules]
            rows = [entry for each in prepared for entry in each.entries]
            new = await store.journal(db, rows)
            await store.advance(db, [each.advanced for each in prepared])
            skips = [entry for entry in rows if entry.state == "skipped" and entry.id in new]
            await _tell(db, skips, [each for each in prepared if each.refusal is not None], now)
            await complete(db, [each.advanced.id for each in prepared if each.is_last and not each.held], now)
        # In the journal from here on. If we die now, the leases end and others take the fires over.
        self._hold([held for each in prepared for held in each.held if held.id in new])
        _count_skips(Counter(entry.reason or "" for entry in skips))
        return len(schedules)

    async def take_over_next(self) -> int:
        """Take over the fires that nobody holds: their holders let the leases end, or they have been let go only now.
        Returns how many; 0 when there are none.

        What is overdue is handed over at once: held first, it would wait for another lease if this worker died, too.
        """
        if self._room == 0:
            return 0
        async with self._transaction() as db:
            now = await self._now(db)
            taken = await fires.take_over(db, now, min(limits.fire_batch_max, self._room))
            # Those that are guarded have to be held: their schedules are locked before them, or not at all.
            overdue = [held for held in taken if held.fire_at <= now and not held.is_guarded]
            handed = await hand_over(db, self._deliveries, overdue, now) if overdue else HandedOver()
        at_once = {held.id for held in overdue}
        self._hold([held for held in taken if held.id not in at_once])
        self._follow_up(handed)
        self._measure(handed)
        return len(taken)

    async def fire_next(self) -> int:
        """Hand over the fires whose time has come. Returns how many; 0 when none has, and then the bell is set."""
        if not self._may_be_time():
            self._set_bell()
            return 0
        due: list[Held] = []
        try:
            async with self._transaction() as db:
                now = await self._now(db)
                due = self._holding.due(now, limits.fire_batch_max)
                handed = await hand_over(db, self._deliveries, due, now) if due else HandedOver()
        except BaseException:
            # Nothing has changed. Hold them on; should that be too late, others take them over.
            self._holding.take(due)
            raise
        if not due:
            self._set_bell()
        self._follow_up(handed)
        self._measure(handed)
        return len(due)

    async def catch_up_next(self) -> int:
        """Hand over some of the fires that are late by intent. Returns how many; 0 when there are none, or while fires
        that are to be punctual are overdue.

        One round is as many as may go out at once: its caller paces the rounds.
        """
        if self._is_behind():
            return 0
        async with self._transaction() as db:
            held = await fires.take_late(db, await self._now(db), limits.catch_up_batch_max)
        if not held:
            return 0
        # Ours and committed: if we die from here on, the leases end and they are taken again.
        async with self._transaction() as db:
            handed = await hand_over(db, self._deliveries, held, await self._now(db))
        self._follow_up(handed)
        return len(held)

    async def release(self) -> None:
        """Leave what this process holds to others at once, instead of when the leases end."""
        held = self._holding.due(_forever, len(self._holding))
        if held:
            async with self._transaction() as db:
                await fires.leave(db, held, await self._now(db))

    @property
    def _room(self) -> int:
        return max(0, limits.fires_held_max - len(self._holding))

    def _hold(self, taken: Sequence[Held]) -> None:
        if taken:
            self._holding.take(taken)
            self._wake.ring("fires")

    async def _now(self, db: AsyncSession) -> datetime:
        now, monotonic = await self._clock.now(db), self._clock.monotonic()
        reckoned = self._reckoning.now(monotonic)
        self._reckoning.see(now, monotonic)
        if reckoned is not None and now - reckoned > _overdue:
            # The clock was set forward: what we hold may be due, sooner than its bell rings.
            self._wake.ring("fires")
        return now

    def _may_be_time(self) -> bool:
        """Whether to look: a fire is due by reckoning, or the last look was so long ago that the clock may have been
        set since."""
        next_at, monotonic = self._holding.next_at, self._clock.monotonic()
        reckoned, age = self._reckoning.now(monotonic), self._reckoning.age_seconds(monotonic)
        if next_at is None:
            return False
        return reckoned is None or age is None or next_at <= reckoned or age >= limits.clock_look_seconds

    def _set_bell(self) -> None:
        """Ring at the time of the next fire. A longer timer than a sweep would only be overtaken by it."""
        next_at, reckoned = self._holding.next_at, self._reckoning.now(self._clock.monotonic())
        if next_at is not None and reckoned is not None:
            wait_seconds = max(0.0, (next_at - reckoned).total_seconds())
            self._wake.ring_in(min(wait_seconds, limits.sweep_seconds), "fires")

    def _is_behind(self) -> bool:
        next_at, reckoned = self._holding.next_at, self._reckoning.now(self._clock.monotonic())
        return next_at is not None and reckoned is not None and next_at < reckoned - _overdue

    def _follow_up(self, handed: HandedOver) -> None:
        """After the commit. The message is as durable as the fire: if we die here, the sweeps find its delivery, at
        once, or when the lease ends that it was dispatched with."""
        handed.take_off()
        if handed.passed_on:
            self._wake.ring("schedules")
        self._hold(handed.put_back)
        _count_skips(handed.reasons)
        telemetry.fires_given_up.inc(handed.given_up)

    def _measure(self, handed: HandedOver) -> None:
        now = self._reckoning.now(self._clock.monotonic())
        assert now is not None, "looked at the clock in this very step"
        for fire in handed.fired:
            # One that waited for its turn was not late: it was not yet due.
            if not fire.has_turn:
                telemetry.fire_lateness_seconds.observe((now - fire.fire_at).total_seconds())


async def _due(db: AsyncSession, now: datetime) -> Sequence[Plannable]:
    missed = missed_before(now)
    soon = await store.to_plan(db, missed, now + _soon, now + _ahead, limits.plan_batch_max)
    return soon or await store.to_recover(db, missed, limits.plan_missed_batch_max)


async def _tell(db: AsyncSession, skips: Sequence[Entry], refused: Sequence[Prepared], now: datetime) -> None:
    """Record and count what was skipped at its planning, and the schedules whose specs are refused."""
    if not skips:
        return
    for each in refused:
        log.error("a stored spec is refused; its schedule is paused", schedule=each.advanced.id, refusal=each.refusal)
    paused = [(e, each.advanced.pause_reason) for each in refused for e in each.entries]
    await record(
        db,
        *(skipped(e.id, e.agent_id, e.schedule_id, e.scheduled_at, e.reason or "", now) for e in skips),
        *(Happened("schedule.paused", e.schedule_id, e.agent_id, now, {"reason": reason}) for e, reason in paused),
    )
    await store.skip_counts(db, Counter((entry.schedule_id, entry.reason or "") for entry in skips))


def _count_skips(reasons: Counter[str]) -> None:
    for reason, count in reasons.items():
        telemetry.fires_skipped.labels(reason).inc(count)
