"""One hand-over: judge the fires whose time has come, ring for those that ring, and write down what became of each."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.service import Deliveries, Sent
from app.events import Happened, record
from app.schedules import fires, store, turns
from app.schedules.fires import Conclusion
from app.schedules.firing import Buffer, GiveUp, Ring, Ripe, Skip, Verdict, judge
from app.schedules.holding import Held
from app.schedules.overlap import Tally, after
from app.schedules.ring import outgoing
from tocsin.schemas.wire import rfc3339

__all__ = ["HandedOver", "complete", "hand_over", "happened", "skipped"]

Judged = Sequence[tuple[Ripe, Verdict]]


@dataclass(frozen=True)
class HandedOver:
    """What a hand-over came to, once it has committed."""

    fired: Sequence[Ripe] = ()
    reasons: Counter[str] = field(default_factory=Counter[str])  # of what was skipped
    given_up: int = 0
    # To be judged under a lock after all: nothing has become of these.
    put_back: Sequence[Held] = ()
    passed_on: int = 0
    take_off: Callable[[], None] = lambda: None  # to be called after the commit: sends off what rings


async def hand_over(db: AsyncSession, deliveries: Deliveries, held: Sequence[Held], now: datetime) -> HandedOver:
    """Conclude all that are still ours."""
    guarded = {fire.schedule_id for fire in held if fire.is_guarded}
    if guarded:
        await fires.guard(db, sorted(guarded))
    ripe = await fires.ripe(db, held, now)
    # Their schedules have changed since we took them. Locking those now would be in the wrong order.
    surprising = {fire.id for fire in ripe if fire.schedule_id not in guarded and (fire.is_guarded or fire.is_ahead)}
    ripe = [fire for fire in ripe if fire.id not in surprising]
    tallies = await _tallies(db, ripe)
    judged, after_all = _judge_in_turn(ripe, tallies)
    ringing = [fire for fire, verdict in judged if isinstance(verdict, Ring)]
    dispatched = await deliveries.dispatch(db, [outgoing(fire, now) for fire in ringing], now)
    messages = dict(zip((fire.id for fire in ringing), dispatched.sent, strict=True))
    if judged:
        await fires.conclude(db, [_concluded(fire, verdict, messages, now) for fire, verdict in judged])
        await record(db, *(happened(fire, verdict, now) for fire, verdict in judged))
        await store.skip_counts(db, _skip_counts(judged))
    passed_on = await _settle(db, [fire for fire, _ in judged if fire.is_guarded], ringing, after_all, now)
    return HandedOver(
        fired=ringing,
        reasons=Counter(verdict.reason for _, verdict in judged if isinstance(verdict, Skip)),
        given_up=sum(isinstance(verdict, GiveUp) for _, verdict in judged),
        put_back=[replace(fire, is_guarded=True) for fire in held if fire.id in surprising],
        passed_on=passed_on,
        take_off=dispatched.take_off,
    )


async def _tallies(db: AsyncSession, ripe: Sequence[Ripe]) -> Mapping[str, Tally]:
    """Of the schedules whose fires are counted in one way or the other."""
    counted = {fire.schedule_id for fire in ripe if fire.version and (fire.is_tracked or fire.max_fires is not None)}
    return await turns.tallies(db, sorted(counted)) if counted else {}


def _judge_in_turn(ripe: Sequence[Ripe], tallies: Mapping[str, Tally]) -> tuple[Judged, Mapping[str, Tally]]:
    """A verdict on each, the earliest slot first, as each changes what the next one of its schedule finds; and what
    the schedules have under way afterwards."""
    running = dict(tallies)
    judged: list[tuple[Ripe, Verdict]] = []
    for fire in sorted(ripe, key=_order) if running else ripe:
        tally = running.get(fire.schedule_id)
        verdict = judge(fire, tally or _nothing)
        judged.append((fire, verdict))
        if tally is not None:
            running[fire.schedule_id] = after(
                tally, verdict, is_own=fire.is_own, is_tracked=fire.is_tracked, had_turn=fire.has_turn
            )
    return judged, running


_nothing = Tally()


def _order(fire: Ripe) -> tuple[datetime, datetime, str]:
    return fire.fire_at, fire.scheduled_at, fire.id


async def _settle(
    db: AsyncSession, guarded: Sequence[Ripe], ringing: Sequence[Ripe], after_all: Mapping[str, Tally], now: datetime
) -> int:
    """What follows for the schedules: the count toward their last fire, whose turn it is, and whether they are done."""
    if not guarded:
        return 0
    counted = Counter(fire.schedule_id for fire in ringing if fire.is_own and fire.max_fires is not None)
    if counted:
        await fires.count_fired(db, counted)
    waiting = [id_ for id_, tally in after_all.items() if not tally.is_empty]
    passed_on = await turns.pass_on(db, waiting, now) if waiting else 0
    ending = {fire.schedule_id for fire in guarded if fire.is_own and fire.next_fire is None} | counted.keys()
    await complete(db, sorted(ending), now)
    return passed_on


async def complete(db: AsyncSession, schedule_ids: Sequence[str], now: datetime) -> None:
    """Complete those of these locked schedules that have no slot left to plan or to fire."""
    if schedule_ids:
        completed = await fires.complete(db, schedule_ids, now)
        await record(db, *(Happened("schedule.completed", id_, agent, now) for id_, agent in completed))


def _concluded(fire: Ripe, verdict: Verdict, messages: Mapping[str, Sent], now: datetime) -> Conclusion:
    match verdict:
        case Ring():
            sent = messages[fire.id]
            delivery_id = next(iter(sent.delivery_ids), None)
            # Without a delivery (its endpoint has just been deleted), there is nothing that would end the run.
            outstanding = fire.is_tracked and delivery_id is not None
            return Conclusion(fire.id, "fired", None, now, sent.message_id, delivery_id, outstanding)
        case Skip(reason):
            return Conclusion(fire.id, "skipped", reason)
        case Buffer():
            return Conclusion(fire.id, "buffered")
        case GiveUp(reason):
            return Conclusion(fire.id, "dead", reason)


def _skip_counts(judged: Judged) -> Counter[tuple[str, str]]:
    skips = ((fire, verdict) for fire, verdict in judged if isinstance(verdict, Skip) and fire.version is not None)
    return Counter((fire.schedule_id, verdict.reason) for fire, verdict in skips)


def happened(fire: Ripe, verdict: Verdict, now: datetime) -> Happened:
    """The event of a verdict."""
    told: dict[str, object] = {"schedule_id": fire.schedule_id, "scheduled_at": rfc3339(fire.scheduled_at)}
    match verdict:
        case Ring():
            return Happened("fire.fired", fire.id, fire.agent_id, now, {**told, "run": fire.run})
        case Buffer():
            return Happened("fire.buffered", fire.id, fire.agent_id, now, told)
        case GiveUp(reason):
            return Happened("fire.given_up", fire.id, fire.agent_id, now, {**told, "reason": reason})
        case Skip(reason):
            return skipped(fire.id, fire.agent_id, fire.schedule_id, fire.scheduled_at, reason, now)


def skipped(
    fire_id: str, agent_id: str, schedule_id: str, scheduled_at: datetime, reason: str, now: datetime
) -> Happened:
    """The event of a slot that does not fire."""
    told = {"schedule_id": schedule_id, "scheduled_at": rfc3339(scheduled_at), "reason": reason}
    return Happened("fire.skipped", fire_id, agent_id, now, told)
