"""A relay in virtual time: planners that die and return, one agent, and a real Postgres between them."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.kit import limits
from app.kit.database import Database
from app.kit.ids import Ids
from app.tables import metadata
from tests.simulation.actions import (
    Action,
    Backfill,
    Delete,
    Kill,
    Leave,
    Pass,
    Patch,
    Pause,
    Put,
    PutAgain,
    Report,
    Request,
    Resume,
    SetClock,
    SkipNext,
    Story,
    Together,
    Trigger,
    Trip,
    Work,
)
from tests.simulation.law import ALWAYS, AT_REST, Complaint, Law, Page, complaints
from tests.simulation.lives import Life, Standing, second
from tests.simulation.planner import Agent, Crash, Place, Planner, StepClock
from tests.world import EPOCH
from tocsin.problems import Problem
from tocsin.schemas.schedules import NewBackfill, NewSchedule, PatchSchedule

AGENT, ENDPOINT = "agt_00000000000000000000000001", "ep_00000000000000000000000001"
rounds_max = 400
complaints_shown_max = 12


class Broken(AssertionError):
    """The law does not hold."""

    def __init__(self, now: datetime, complaints: Sequence[Complaint]) -> None:
        super().__init__("\n".join([f"at {now}", *map(str, complaints[:complaints_shown_max])]))
        self.law, self.schedule = complaints[0].law, complaints[0].schedule


class World:
    """Everything that one story is about."""

    def __init__(self, database: Database, story: Story) -> None:
        self.clock = StepClock()
        bits = random.Random(story.seed)
        ids = Ids(lambda: int(self.clock.at.timestamp() * 1000), bits.getrandbits)
        self._database = database
        self._place = Place(database, self.clock, ids, Agent())
        self._door, _ = self._place.services(database.transaction)
        self._planners = [Planner(self._place) for _ in range(story.planners)]
        self._alive: dict[int, Life] = {}
        self.lives: list[Life] = []

    async def furnish(self) -> None:
        """Empty the database, but for an agent with an endpoint."""
        async with self._database.transaction() as db:
            for table in reversed(metadata.sorted_tables):
                if table.name in _USED:
                    await db.execute(table.delete())
            await db.execute(text("insert into agents (id, created_at) values (:id, :at)"), {"id": AGENT, "at": EPOCH})
            await db.execute(text(_ENDPOINT), {"id": ENDPOINT, "agent": AGENT, "at": EPOCH})

    async def do(self, action: Action) -> None:
        """Let this happen."""
        match action:
            case Pass(seconds):
                self.clock.at += timedelta(seconds=seconds)
            case SetClock(hours):
                self.clock.set_forward(timedelta(hours=hours))
            case Work(planner, step):
                await self._work(planner % len(self._planners), step)
            case Trip(planner):
                self._planners[planner % len(self._planners)].trip(action)
            case Kill(planner):
                self._replace(planner % len(self._planners))
            case Leave(planner):
                await self._leave(planner % len(self._planners))
            case Together(one, other):
                await asyncio.gather(self.do(one), self.do(other))
            case _:
                # What is refused changes nothing; whether it should have been is not for this law to say.
                with suppress(Problem):
                    await self._ask(action)

    async def check(self, laws: Sequence[Law] = ALWAYS) -> None:
        """Hold every journal against the law."""
        found = [complaint for life, page in await self._pages() for complaint in complaints(life, page, laws)]
        if found:
            raise Broken(self.clock.shown, found)

    async def finish(self) -> None:
        """Let everybody do all there is to do, and hold every journal against the law once more."""
        for planner in self._planners:
            planner.trip(None)
        for number in range(len(self._planners)):
            await self._work(number, "work")
        # Whatever the dead still held, somebody else holds after this.
        self.clock.at += timedelta(seconds=limits.plan_ahead_seconds + limits.fire_lease_seconds)
        await self._settle()
        await self.check(AT_REST)

    async def _settle(self) -> None:
        before = None
        for _ in range(rounds_max):
            for number in range(len(self._planners)):
                await self._work(number, "work")
            after = await self._read("select state, outstanding, count(*) from fires group by 1, 2 order by 1, 2")
            if after == before:
                return
            before = after
        raise TimeoutError(f"not at rest after {rounds_max} rounds")

    # Planners

    async def _work(self, number: int, step: str) -> None:
        planner = self._planners[number]
        if step in ("work", "deliver_next"):
            async with self._database.transaction() as db:
                await db.execute(text(_LAST_ATTEMPTS))
        try:
            await planner.take(step)
        except Crash:
            if planner.trips is not None and planner.trips.dies:
                self._replace(number)
            planner.trip(None)

    def _replace(self, number: int) -> None:
        self._planners[number] = Planner(self._place)

    async def _leave(self, number: int) -> None:
        with suppress(Crash):
            await self._planners[number].release()
        self._replace(number)

    # The agent

    async def _ask(self, request: Request) -> None:
        """Send a request, in one transaction as the API does; what it changed is noted before anybody else can see."""
        now, life = self.clock.shown, self._alive.get(request.schedule)
        async with self._database.transaction() as db:
            match request:
                case Put(number, terms) if life is None:
                    await self._create(db, number, terms, now)
                case _ if life is None:
                    pass
                case Put(_, terms):
                    await self._put(db, life, terms, now)
                case PutAgain():
                    await self._put_again(db, life, now)
                case Patch(_, terms):
                    await self._patch(db, life, terms, now)
                case Pause():
                    await self._door.lifecycle.pause(db, AGENT, life.id, "for a reason", now)
                    life.fired_when_paused = (await self._standing(db, life, now)).fired
                case Resume():
                    before = await self._standing(db, life, now)
                    await self._door.lifecycle.resume(db, AGENT, life.id, now)
                    if before.state == "paused":
                        life.begin_anew(now, before, await self._standing(db, life, now))
                    life.fired_when_paused = None
                case Trigger():
                    fire = await self._door.lifecycle.trigger(db, AGENT, life.id, now)
                    life.triggered.add(fire.id)
                case SkipNext():
                    skipped = await self._door.lifecycle.skip_next(db, AGENT, life.id, now)
                    life.skip(second(skipped.scheduled_at))
                case Backfill():
                    await self._backfill(db, life, request, now)
                case Report():
                    running = (await db.execute(text(_RUNNING), {"id": life.id})).scalars().first()
                    if running is not None:
                        await self._door.lifecycle.complete(db, AGENT, life.id, running, now)
                case Delete():
                    standing = await self._standing(db, life, now)
                    await self._door.lifecycle.delete(db, AGENT, life.id, now)
                    life.end(now, standing)
                    life.fired_when_paused = None
                    del self._alive[request.schedule]

    async def _create(self, db: AsyncSession, number: int, terms: Mapping[str, Any], now: datetime) -> None:
        created, is_new = await self._door.put(db, AGENT, f"number-{number}", _asked(terms), now)
        if is_new and number not in self._alive:
            self._alive[number] = Life.begun(created.id, number, terms, now)
            self.lives.append(self._alive[number])

    async def _put(self, db: AsyncSession, life: Life, terms: Mapping[str, Any], now: datetime) -> None:
        before = await self._standing(db, life, now)
        put, is_new = await self._door.put(db, AGENT, f"number-{life.number}", _asked(terms), now)
        assert not is_new, "deleted only by us"
        assert put.id == life.id
        life.change(terms, now, before, await self._standing(db, life, now))

    async def _put_again(self, db: AsyncSession, life: Life, now: datetime) -> None:
        before = await self._open(db, life)
        await self._door.put(db, AGENT, f"number-{life.number}", _asked(life.terms), now)
        after = await self._open(db, life)
        assert after == before, f"asking again for what is there changed {before} into {after}"

    async def _patch(self, db: AsyncSession, life: Life, terms: Mapping[str, Any], now: datetime) -> None:
        before = await self._standing(db, life, now)
        patch = PatchSchedule.model_validate(terms)
        await self._door.patch(db, AGENT, life.id, patch, now)
        life.change({**life.terms, **terms}, now, before, await self._standing(db, life, now))

    async def _backfill(self, db: AsyncSession, life: Life, asked: Backfill, now: datetime) -> None:
        start = now.replace(microsecond=0) - timedelta(seconds=asked.ago_seconds)
        end = min(start + timedelta(seconds=asked.seconds), now)
        wanted = NewBackfill.model_validate({"start": start, "end": end, "overlap": asked.overlap})
        backfill = await self._door.backfills.start(db, AGENT, life.id, wanted, now)
        last = second(end) if end.microsecond else second(end) - 1
        life.backfilled[f"backfill:{backfill.id}"] = life.era.timing.slots(second(start) - 1, last)

    # Reading

    async def _standing(self, db: AsyncSession, life: Life, now: datetime) -> Standing:
        row = (await db.execute(text(_STANDING), {"id": life.id, "now": now})).one()
        return Standing(
            row.state, row.version, row.next_fire, row.fired, row.last_slot, {second(slot) for slot in row.settled}
        )

    async def _open(self, db: AsyncSession, life: Life) -> Sequence[Any]:
        """Its row and its open fires, locked, so that nobody else changes them meanwhile."""
        rows = (await db.execute(text(_LOCKED), {"id": life.id})).all()
        return [*rows, *(await db.execute(text(_OPEN), {"id": life.id})).all()]

    async def _pages(self) -> list[tuple[Life, Page]]:
        fires: dict[str, list[Any]] = defaultdict(list)
        skips: dict[str, dict[str, int]] = defaultdict(dict)
        async with self._database.transaction() as db:
            schedules = {row.id: row for row in await db.execute(text("select * from schedules"))}
            for fire in await db.execute(text("select * from fires order by schedule_id, scheduled_at")):
                fires[fire.schedule_id].append(fire)
            for row in await db.execute(text(_SKIPS)):
                skips[row.schedule_id][row.reason] = row.skipped
            rings = (await db.execute(text(_RINGS))).all()
            told = Counter((row.kind, row.subject) for row in await db.execute(text(_TOLD)))
        sent, pending = Counter(r.fire_id for r in rings), Counter(r.fire_id for r in rings if r.state == "pending")
        heard = self._place.agent.heard
        return [
            (
                life,
                Page(
                    self.clock.shown,
                    self.clock.was_set,
                    schedules.get(life.id),
                    fires[life.id],
                    sent,
                    pending,
                    told,
                    skips[life.id],
                    heard,
                ),
            )
            for life in self.lives
        ]

    async def _read(self, question: str) -> Sequence[Any]:
        async with self._database.transaction() as db:
            return (await db.execute(text(question))).all()


def _asked(terms: Mapping[str, Any]) -> NewSchedule:
    return NewSchedule.model_validate({"endpoint_id": ENDPOINT, **terms})


_USED = {
    "agents",
    "attempts",
    "backfills",
    "deliveries",
    "endpoints",
    "events",
    "fires",
    "messages",
    "schedule_skips",
    "schedules",
}
_ENDPOINT = """
    insert into endpoints (id, agent_id, url, state, secret, attempts, attempts_before, created_at, updated_at)
    values (:id, :agent, 'https://agent.example/', 'active', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 0, 0, :at, :at)
"""
_RINGS = """
    select cast(m.body as json) -> 'data' ->> 'fire_id' as fire_id, d.state
    from messages m left join deliveries d on d.message_id = m.id where m.type = 'schedule.fired'
"""
_SKIPS = "select schedule_id, reason, count as skipped from schedule_skips"
_TOLD = "select kind, subject from events where kind in ('fire.fired', 'fire.skipped')"
_STANDING = """
    select s.state, s.version, s.next_fire,
        (select count(*) from fires where schedule_id = s.id and kind = 'auto' and fired_at is not null) as fired,
        (
            select max(scheduled_at) from fires
            where schedule_id = s.id and kind = 'auto' and (scheduled_at <= :now or state <> 'skipped')
        ) as last_slot,
        array(
            select scheduled_at from fires
            where schedule_id = s.id and kind = 'auto' and scheduled_at > :now and state = 'skipped'
        ) as settled
    from schedules s where id = :id
"""
_LOCKED = "select version, updated_at, next_fire from schedules where id = :id for no key update"
_OPEN = """
    select id, state, version, due_at, fire_at from fires
    where schedule_id = :id and state in ('planned', 'buffered') order by id for update
"""
_RUNNING = "select id from fires where schedule_id = :id and outstanding order by scheduled_at, id limit 1"
# As if all attempts but the last had failed already: the ladder takes days, in which nothing else would happen.
_LAST_ATTEMPTS = "update deliveries set attempts_before = -9 where state = 'pending' and attempts_before > -9"
