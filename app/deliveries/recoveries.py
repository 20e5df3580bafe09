"""Recoveries: what did not arrive, or did, is sent again in bulk, at a rate that its receiver can bear."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import archive, spans
from app.deliveries.history import require_endpoint
from app.deliveries.models import Recovery
from app.events import Happened, record
from app.kit import limits, pages
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.ids import Ids
from app.kit.operations import require
from app.kit.wake import Wake
from tocsin.problems import Conflict, InvalidBody, NotFound
from tocsin.schemas import recoveries as wire
from tocsin.schemas.wire import Page, rfc3339

__all__ = ["Recoveries"]


class Recoveries:
    """The verbs of recoveries."""

    def __init__(self, transaction: Transaction, clock: Clock, ids: Ids, wake: Wake, kept: timedelta) -> None:
        self._transaction = transaction
        self._clock = clock
        self._ids = ids
        self._wake = wake
        self._kept = kept

    async def recover(
        self, db: AsyncSession, agent_id: str, endpoint_id: str, asked: wire.NewRecovery, now: datetime
    ) -> wire.Recovery:
        """Send again what was sent to an endpoint in a span of time. Ring "recoveries" after the commit."""
        await require_endpoint(db, agent_id, endpoint_id)
        states = sorted(set(asked.states))
        made = self._made(
            agent_id, endpoint_id, states, asked.type, asked.since, asked.until, asked.rate_per_second, now
        )
        return await self._begin(db, made)

    async def redrive(self, db: AsyncSession, agent_id: str, asked: wire.NewRedrive, now: datetime) -> wire.Recovery:
        """Send dead letters again. Ring "recoveries" after the commit."""
        if asked.endpoint is not None:
            await _require_named(db, agent_id, asked.endpoint)
        since = now - self._kept if asked.since is None else asked.since
        made = self._made(
            agent_id, asked.endpoint, ["failed"], asked.type, since, asked.until, asked.rate_per_second, now
        )
        return await self._begin(db, made)

    async def get(self, db: AsyncSession, agent_id: str, recovery_id: str, now: datetime) -> wire.Recovery:
        """One recovery and how far it has got."""
        return _shown(require(await spans.recovery(db, agent_id, recovery_id), "recovery"), now)

    async def list(
        self, db: AsyncSession, agent_id: str, query: wire.RecoveryQuery, now: datetime
    ) -> Page[wire.Recovery]:
        """One page of an agent's recoveries, newest first."""
        rows = await spans.recoveries(db, agent_id, query.state, pages.decode(query.cursor), query.limit + 1)
        return pages.page(rows, query.limit, lambda row: _shown(row, now), lambda row: row.id)

    async def cancel(self, db: AsyncSession, agent_id: str, recovery_id: str, now: datetime) -> wire.Recovery:
        """Send nothing more of it. What it has set on its way stays so; one that has ended stays as it is."""
        recovery = require(await spans.recovery(db, agent_id, recovery_id, lock=True), "recovery")
        if recovery.state == "running":
            await _end(db, recovery, "cancelled", now)
        return _shown(recovery, now)

    async def recover_next(self) -> int:
        """Set the next batch of the most overdue recovery on its way. Returns 1; 0 when none is due.

        All in one transaction, which holds the recovery: whoever dies before the commit has sent nothing, and whoever
        dies behind it has moved on. What was looked at is behind `position`, and is not looked at again.
        """
        async with self._transaction() as db:
            now = await self._clock.now(db)
            recovery = await spans.next_due(db, now)
            if recovery is None:
                return 0
            sent = await self._advance(db, recovery, now)
        if sent:
            self._wake.ring("deliveries")
        if recovery.due_at is not None:
            self._wake.ring_in((recovery.due_at - now).total_seconds(), "recoveries")
        return 1

    async def _advance(self, db: AsyncSession, recovery: Recovery, now: datetime) -> int:
        batch = await spans.matching(
            db, recovery, looked_max=limits.listed_rows_max, limit=spans.batch_of(recovery.rate_per_second)
        )
        sent = await archive.set_off(db, batch.ids, recovery.states, now) if batch.ids else ()
        told = {"recovery_id": recovery.id}
        await record(
            db,
            *(
                Happened(
                    "delivery.redelivered",
                    each.id,
                    each.agent_id,
                    now,
                    {"endpoint_id": each.endpoint_id, "message_id": each.message_id, **told},
                )
                for each in sent
            ),
        )
        recovery.sent += len(sent)
        recovery.skipped += len(batch.ids) - len(sent)
        recovery.attempts += 1
        recovery.position = batch.position
        # From now and not from when it was due: after an outage it goes on at its rate, and does not catch up.
        recovery.due_at = now + timedelta(seconds=len(sent) / recovery.rate_per_second)
        if batch.ends:
            recovery.skipped = max(recovery.skipped, recovery.total - recovery.sent)
            await _end(db, recovery, "done", now)
        return len(sent)

    def _made(
        self,
        agent_id: str,
        endpoint_id: str | None,
        states: Sequence[str],
        type: str | None,
        since: datetime,
        until: datetime | None,
        rate_per_second: float,
        now: datetime,
    ) -> Recovery:
        until = now if until is None else until
        if since < now - self._kept:
            oldest = rfc3339(now - self._kept)
            raise InvalidBody.at("/since", f"may be {oldest} at the earliest: this relay keeps {self._kept.days} days")
        if until > now:
            raise InvalidBody.at("/until", f"may not lie in the future: now is {rfc3339(now)}; leave it out for now")
        if until <= since:
            raise InvalidBody.at("/until", f"has to lie after since, which is {rfc3339(since)}")
        return Recovery(
            id=self._ids.new("rec"),
            agent_id=agent_id,
            endpoint_id=endpoint_id,
            states=[*states],
            type=type,
            since=since,
            until=until,
            rate_per_second=rate_per_second,
            total=0,
            due_at=now,
            created_at=now,
        )

    async def _begin(self, db: AsyncSession, recovery: Recovery) -> wire.Recovery:
        if await spans.running(db, recovery.agent_id) >= limits.recoveries_running_max:
            raise Conflict(
                f"{limits.recoveries_running_max} recoveries are running, and no more may at a time; wait for one, or "
                "cancel it: DELETE /v1/recoveries/{id}"
            )
        most = limits.recovery_deliveries_max
        found = await spans.matching(db, recovery, looked_max=limits.recovery_looked_max, limit=most + 1)
        if not found.ends:
            raise InvalidBody.at(
                "/until", f"a recovery has at most {most} deliveries, and there are more: choose an earlier end"
            )
        recovery.total = len(found.ids)
        await spans.add(db, recovery)
        told = {"endpoint_id": recovery.endpoint_id, "total": recovery.total, "states": recovery.states}
        await record(db, Happened("recovery.started", recovery.id, recovery.agent_id, recovery.created_at, told))
        return _shown(recovery, recovery.created_at)


async def _require_named(db: AsyncSession, agent_id: str, endpoint_id: str) -> None:
    try:
        await require_endpoint(db, agent_id, endpoint_id)
    except NotFound as missing:
        raise InvalidBody.at("/endpoint", "there is no such endpoint of yours") from missing


async def _end(db: AsyncSession, recovery: Recovery, state: str, now: datetime) -> None:
    recovery.state, recovery.due_at, recovery.ended_at = state, None, now
    told = {"state": state, "total": recovery.total, "sent": recovery.sent, "skipped": recovery.skipped}
    await record(db, Happened("recovery.ended", recovery.id, recovery.agent_id, now, told))


def _shown(recovery: Recovery, now: datetime) -> wire.Recovery:
    left = max(0, recovery.total - recovery.sent - recovery.skipped)
    running = recovery.state == "running"
    return wire.Recovery.model_validate(
        {
            **recovery.model_dump(exclude={"agent_id", "position", "due_at", "attempts"}),
            "eta": now + timedelta(seconds=left / recovery.rate_per_second) if running else None,
        }
    )
