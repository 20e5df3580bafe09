"""Runs after their ring: what became of their deliveries, when they end, and what follows for those that wait."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import inf

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.conclusions import Concluded
from app.deliveries.service import Deliveries, Outgoing
from app.events import Happened, record
from app.kit import limits, telemetry
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.wake import Wake
from app.schedules import fires, register, turns
from app.schedules.completion import ending, give_ups
from app.schedules.models import Schedule
from app.schedules.turns import Run, Standing
from app.schedules.versions import pause
from tocsin.schemas.webhooks import Paused, SchedulePaused
from tocsin.schemas.wire import rfc3339

__all__ = ["Runs"]


class Runs:
    """What has been rung for, until it is over."""

    def __init__(self, transaction: Transaction, clock: Clock, wake: Wake, deliveries: Deliveries) -> None:
        self._transaction = transaction
        self._clock = clock
        self._wake = wake
        self._deliveries = deliveries

    async def concluded(self, db: AsyncSession, conclusions: Sequence[Concluded], now: datetime) -> bool:
        """What has become of rings that we sent: see `Listener`."""
        failed = [each.subject for each in conclusions if each.state == "failed"]
        concerned = await turns.concerned(db, [each.subject for each in conclusions], failed)
        if not concerned:
            return False
        runs = await self._locked(db, concerned)
        told = [(runs[each.subject], each) for each in conclusions if each.subject in runs]
        await turns.settle(db, [_standing(run, each, now) for run, each in told])
        happened = [h for run, each in told if (h := _happened(run, each, now)) is not None]
        await record(db, *happened)
        telemetry.fires_given_up.inc(sum(one.kind == "fire.given_up" for one in happened))
        paused = await self._count_give_ups(db, told, now)
        passed_on = await turns.pass_on(db, sorted(set(concerned.values())), now)
        return paused or passed_on > 0

    async def endpoint_leaves(self, db: AsyncSession, endpoint_id: str, subjects: Sequence[str]) -> None:
        """Lock the schedules that the deletion of an endpoint changes: see `Listener`."""
        await fires.guard(db, await turns.concerned_by_deletion(db, endpoint_id, subjects))

    async def report(self, db: AsyncSession, fire_id: str, schedule_id: str, now: datetime) -> bool:
        """The agent says that this run is done. Whether there was anything to end; ring "schedules" after the commit.

        Of a schedule that is locked.
        """
        return await self._end(db, {fire_id: schedule_id}, "fire.completed", now) > 0

    async def time_out_next(self) -> int:
        """End the runs that nobody reported in time. Returns how many; 0 when there are none."""
        async with self._transaction() as db:
            now = await self._clock.now(db)
            ended = await self._end(
                db, await turns.running_out(db, now, limits.fire_batch_max), "fire.timed_out", now, only_by=now
            )
        if ended:
            self._wake.ring("schedules")
        return ended

    async def _end(
        self,
        db: AsyncSession,
        schedule_ids: Mapping[str, str],
        kind: str,
        now: datetime,
        only_by: datetime | None = None,
    ) -> int:
        runs = await self._locked(db, schedule_ids) if schedule_ids else {}
        # Asked again under the lock: another may have ended it, or given it more time, since we looked.
        ending_now = [run for run in runs.values() if run.is_outstanding and (only_by is None or run.is_over(only_by))]
        if ending_now:
            await turns.settle(db, [Standing(run.id, run.state, None, False, None, now) for run in ending_now])
            await record(db, *(Happened(kind, run.id, run.agent_id, now, _about(run)) for run in ending_now))
            await turns.pass_on(db, sorted({run.schedule_id for run in ending_now}), now)
        return len(ending_now)

    async def _locked(self, db: AsyncSession, schedule_ids: Mapping[str, str]) -> dict[str, Run]:
        """These fires and, before them, their schedules."""
        await fires.guard(db, sorted(set(schedule_ids.values())))
        return {run.id: run for run in await turns.runs(db, list(schedule_ids))}

    async def _count_give_ups(self, db: AsyncSession, told: Sequence[tuple[Run, Concluded]], now: datetime) -> bool:
        """Count the deliveries in a row that were given up, where that matters, and pause where it is enough of them.
        Whether anything was paused."""
        counts: dict[str, int] = {}
        for run, each in told:
            if run.pause_after is not None and run.give_ups is not None:
                before = counts.get(run.schedule_id, run.give_ups)
                counts[run.schedule_id] = give_ups(before, run.state, each.state)
        if counts:
            await turns.count_give_ups(db, sorted(counts.items()))
        enough = sorted(
            {run.schedule_id for run, _ in told if counts.get(run.schedule_id, 0) >= (run.pause_after or inf)}
        )
        if enough:
            # All at once: one by one, we could wait in a circle with a worker that holds fires of both.
            await register.lock_own_of(db, enough)
        return any([await self._pause(db, id_, now) for id_ in enough])

    async def _pause(self, db: AsyncSession, schedule_id: str, now: datetime) -> bool:
        """Pause a schedule that has had enough, unless it is, and tell its owner."""
        schedule = await register.by_id(db, schedule_id)
        if schedule is None or schedule.state != "active" or schedule.give_ups < (schedule.pause_after or inf):
            return False
        await pause(db, schedule, f"{schedule.give_ups} deliveries in a row were given up", now)
        ring = SchedulePaused(timestamp=now, data=_paused(schedule, now))
        for endpoint_id in filter(None, (schedule.notify_endpoint_id, schedule.endpoint_id)):
            [sent] = await self._deliveries.send(db, [Outgoing.of(ring, [endpoint_id], schedule.agent_id)], now)
            if sent.delivery_ids:
                # Unless that endpoint has been deleted since it was named.
                break
        return True


def _standing(run: Run, each: Concluded, now: datetime) -> Standing:
    """What a run is, now that its delivery has concluded. One that was given up may be delivered after all."""
    state, reason = ("dead", "gave_up") if each.state == "failed" else ("fired", None)
    if each.state == "cancelled":
        state, reason = run.state, run.reason
    if not run.is_outstanding:
        return Standing(run.id, state, reason, False, None, None)
    if ending(run.completion or "delivery", each.state, each.answer) == "awaited":
        seconds = run.completion_seconds or limits.completion_seconds_default
        return Standing(run.id, state, reason, True, now + timedelta(seconds=seconds), None)
    return Standing(run.id, state, reason, False, None, now)


def _paused(schedule: Schedule, now: datetime) -> Paused:
    return Paused(
        schedule_id=schedule.id,
        chosen_id=schedule.chosen_id,
        name=schedule.name,
        reason=schedule.pause_reason or "",
        give_ups=schedule.give_ups,
        paused_at=now,
    )


def _happened(run: Run, each: Concluded, now: datetime) -> Happened | None:
    if each.state == "failed" and run.state == "fired":
        return Happened("fire.given_up", run.id, run.agent_id, now, {**_about(run), "reason": "gave_up"})
    if each.state == "delivered" and run.state == "dead":
        return Happened("fire.recovered", run.id, run.agent_id, now, _about(run))
    return None


def _about(run: Run) -> dict[str, object]:
    return {"schedule_id": run.schedule_id, "scheduled_at": rfc3339(run.scheduled_at)}
