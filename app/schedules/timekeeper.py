"""The worker's side of schedules: plan what falls due, hold it until its time, hand it over."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.service import Deliveries, Outgoing
from app.events import Happened, record
from app.kit import limits, telemetry
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.ids import derived_id
from app.kit.wake import Wake
from app.schedules import store
from app.schedules.firing import GiveUp, Held, Holding, Reckoning, Ring, Skip, Verdict, judge
from app.schedules.planning import Plan, Slot, plan
from app.schedules.store import Advanced, Conclusion, Entry, Plannable, Ripe
from app.schedules.timing import timing
from tocsin.recurrence import InvalidRecurrence
from tocsin.schemas.wire import rfc3339

__all__ = ["Timekeeper", "fire_id", "skipped"]

log = telemetry.logger(__name__)

_ahead = timedelta(seconds=limits.plan_ahead_seconds)
# What is due no sooner than this, the next sweep still plans in time.
_soon = timedelta(seconds=limits.plan_soon_seconds)
_lease = timedelta(seconds=limits.fire_lease_seconds)
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

        A schedule that one worker plans is locked, and the others pass it by.
        """
        if len(self._holding) >= limits.fires_held_max:
            return 0
        async with self._transaction() as db:
            now = await self._now(db)
            schedules = await store.to_plan(db, now + _soon, now + _ahead, limits.plan_batch_max)
            plans = [(schedule, _planned(schedule, now)) for schedule in schedules]
            entries = [_entry(schedule, slot, now) for schedule, planned in plans for slot in planned.slots]
            new = await store.journal(db, entries)
            await store.advance(db, [_advanced(schedule, planned) for schedule, planned in plans])
            missed = [entry for entry in entries if entry.state == "skipped" and entry.id in new]
            await record(db, *(_missed(entry, now) for entry in missed))
        # In the journal from here on. If we die now, the leases end and others take the fires over.
        self._hold([Held(e.fire_at, e.id, e.attempts) for e in entries if e.state == "planned" and e.id in new])
        return len(schedules)

    async def take_over_next(self) -> int:
        """Hold the fires whose holders have let their leases end. Returns how many; 0 when there are none."""
        async with self._transaction() as db:
            abandoned = await store.take_over(db, await self._now(db), limits.fire_batch_max)
        self._hold(abandoned)
        return len(abandoned)

    async def fire_next(self) -> int:
        """Hand over the fires whose time has come. Returns how many; 0 when none has, and then the bell is set."""
        wait_seconds = self._wait_seconds()
        if wait_seconds is None:
            return 0
        if wait_seconds > 0:
            # A timer longer than a sweep would only be overtaken by it: the sweep notices when the clock is set.
            self._wake.ring_in(min(wait_seconds, limits.sweep_seconds), "fires")
            return 0
        due: list[Held] = []
        try:
            async with self._transaction() as db:
                now = await self._now(db)
                due = self._holding.due(now, limits.fire_batch_max)
                fired, take_off = await self._hand_over(db, due, now)
        except BaseException:
            # Nothing has changed. Hold them on; should that be too late, others take them over.
            self._holding.take(due)
            raise
        # The message is as durable as the fire. If we die here, a sweep finds its delivery: at once, or when the lease
        # ends that it was dispatched with.
        take_off()
        self._measure(fired)
        return len(due)

    async def release(self) -> None:
        """Leave what this process holds to others at once, instead of when the leases end."""
        held = self._holding.due(_forever, len(self._holding))
        if held:
            async with self._transaction() as db:
                await store.release(db, held, await self._now(db))

    async def _hand_over(
        self, db: AsyncSession, due: Sequence[Held], now: datetime
    ) -> tuple[list[Ripe], Callable[[], None]]:
        """Ring for those that are to ring, and conclude all that are still ours.

        Returns those that rang, and what to call after the commit.
        """
        ripe = await store.ripe(db, due)
        verdicts = [(fire, _judged(fire)) for fire in ripe]
        ringing = [fire for fire, verdict in verdicts if isinstance(verdict, Ring)]
        dispatched = await self._deliveries.dispatch(db, [_outgoing(fire, now) for fire in ringing], now)
        messages = {fire.id: each.message_id for fire, each in zip(ringing, dispatched.sent, strict=True)}
        if ripe:
            await store.conclude(db, [_concluded(fire, verdict, messages, now) for fire, verdict in verdicts])
            await record(db, *(_happened(fire, verdict, now) for fire, verdict in verdicts))
        last = [fire.schedule_id for fire in ripe if fire.next_fire is None]
        if last:
            await store.complete(db, last, now)
        return ringing, dispatched.take_off

    def _hold(self, fires: Sequence[Held]) -> None:
        if fires:
            self._holding.take(fires)
            self._wake.ring("fires")

    async def _now(self, db: AsyncSession) -> datetime:
        now = await self._clock.now(db)
        self._reckoning.see(now, self._clock.monotonic())
        return now

    def _wait_seconds(self) -> float | None:
        """How long until the next fire, by reckoning; 0 when its time may have come, None when there is none."""
        next_at, reckoned = self._holding.next_at, self._reckoning.now(self._clock.monotonic())
        if next_at is None:
            return None
        return 0.0 if reckoned is None else max(0.0, (next_at - reckoned).total_seconds())

    def _measure(self, fired: Sequence[Ripe]) -> None:
        now = self._reckoning.now(self._clock.monotonic())
        assert now is not None, "looked at the clock in this very step"
        for fire in fired:
            telemetry.fire_lateness_seconds.observe((now - fire.scheduled_at).total_seconds())


def fire_id(schedule_id: str, kind: str, scheduled_at: datetime) -> str:
    """The id that a slot always has: whoever plans it, however often."""
    return derived_id("fir", schedule_id, kind, rfc3339(scheduled_at))


def skipped(
    fire_id: str, agent_id: str, schedule_id: str, scheduled_at: datetime, reason: str, now: datetime
) -> Happened:
    """The event of a slot that does not fire."""
    told = {"schedule_id": schedule_id, "scheduled_at": rfc3339(scheduled_at), "reason": reason}
    return Happened("fire.skipped", fire_id, agent_id, now, told)


def _planned(schedule: Plannable, now: datetime) -> Plan:
    try:
        read = timing(schedule.spec, schedule.starts_at, schedule.ends_at, schedule.jitter_seconds)
    except InvalidRecurrence as refusal:
        # It read when it was registered; a newer time zone database may have dropped its zone. Others go on.
        log.error("a stored spec is refused; its schedule is paused", schedule=schedule.id, refusal=str(refusal))
        unreadable = Slot(schedule.next_fire, "skipped", reason="spec_refused")
        return Plan((unreadable,), next_fire=None, last_fire=schedule.last_fire, runs=schedule.runs)
    return plan(
        read,
        next_fire=schedule.next_fire,
        last_fire=schedule.last_fire,
        runs=schedule.runs,
        now=now,
        horizon=now + _ahead,
    )


def _advanced(schedule: Plannable, planned: Plan) -> Advanced:
    refused = any(slot.reason == "spec_refused" for slot in planned.slots)
    state = "paused" if refused else "active"
    return Advanced(schedule.id, state, planned.next_fire, planned.last_fire, planned.runs)


def _entry(schedule: Plannable, slot: Slot, now: datetime) -> Entry:
    planned = slot.state == "planned"
    return Entry(
        schedule_id=schedule.id,
        kind="auto",
        scheduled_at=slot.scheduled_at,
        id=fire_id(schedule.id, "auto", slot.scheduled_at),
        agent_id=schedule.agent_id,
        version=schedule.version,
        state=slot.state,
        reason=slot.reason,
        until=slot.until,
        run=slot.run,
        previous=slot.previous,
        fire_at=slot.scheduled_at,
        # We hold it from the start. Late already: the lease counts from now.
        due_at=max(slot.scheduled_at, now) + _lease if planned else None,
        attempts=1 if planned else 0,
        planned_at=now,
    )


def _missed(entry: Entry, now: datetime) -> Happened:
    assert entry.reason is not None, "what is skipped has a reason"
    return skipped(entry.id, entry.agent_id, entry.schedule_id, entry.scheduled_at, entry.reason, now)


def _judged(fire: Ripe) -> Verdict:
    return judge(
        planned_version=fire.planned_version,
        attempts=fire.attempts,
        version=fire.version,
        state=fire.state,
        endpoint_id=fire.endpoint_id,
    )


def _outgoing(fire: Ripe, now: datetime) -> Outgoing:
    """The ring, as `tocsin.schemas.webhooks.ScheduleFired` describes it."""
    assert fire.endpoint_id is not None, "judged to ring"
    assert fire.spec is not None, "judged to ring"
    told = {
        "schedule_id": fire.schedule_id,
        "fire_id": fire.id,
        "scheduled_at": rfc3339(fire.scheduled_at),
        "fired_at": rfc3339(now),
        "run": fire.run,
        "previous": None if fire.previous is None else rfc3339(fire.previous),
        "upcoming": [rfc3339(slot) for slot in _upcoming(fire)],
        # The agent's own text, untouched: reading it and writing it again would cost time and change numbers.
        "payload": orjson.Fragment(fire.payload or "null"),
    }
    body = orjson.dumps({"type": "schedule.fired", "timestamp": rfc3339(now), "data": told})
    return Outgoing("schedule.fired", body, [fire.endpoint_id], agent_id=fire.agent_id, subject=fire.id)


def _upcoming(fire: Ripe) -> list[datetime]:
    assert fire.spec is not None, "judged to ring"
    try:
        slots = timing(fire.spec, fire.starts_at, fire.ends_at, 0).slots_after(fire.scheduled_at)
        return list(islice(slots, limits.upcoming_fires_max))
    except InvalidRecurrence:
        # See `_planned`: this slot was promised, and nothing comes after it.
        return []


def _concluded(fire: Ripe, verdict: Verdict, messages: dict[str, str], now: datetime) -> Conclusion:
    match verdict:
        case Ring():
            return Conclusion(fire.id, "fired", None, now, messages[fire.id])
        case Skip(reason):
            return Conclusion(fire.id, "skipped", reason, None, None)
        case GiveUp(reason):
            return Conclusion(fire.id, "dead", reason, None, None)


def _happened(fire: Ripe, verdict: Verdict, now: datetime) -> Happened:
    match verdict:
        case Ring():
            told = {"schedule_id": fire.schedule_id, "scheduled_at": rfc3339(fire.scheduled_at), "run": fire.run}
            return Happened("fire.fired", fire.id, fire.agent_id, now, told)
        case Skip(reason) | GiveUp(reason):
            return skipped(fire.id, fire.agent_id, fire.schedule_id, fire.scheduled_at, reason, now)
