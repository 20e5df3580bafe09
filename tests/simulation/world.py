"""A relay in virtual time: planners that die and return, one agent, and a real Postgres between them."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.service import Deliveries
from app.kit import limits
from app.kit.database import Database
from app.kit.due import drain
from app.kit.ids import Ids
from app.kit.outbound import Outbound
from app.kit.wake import Silence
from app.schedules.service import Schedules
from app.settings import DeliverySettings
from app.tables import metadata
from tests.simulation.actions import (
    Action,
    Create,
    Delete,
    Kill,
    Leave,
    Moment,
    Pass,
    SetClock,
    Story,
    Together,
    Trip,
    Work,
)
from tests.simulation.law import ALWAYS, AT_REST, Complaint, Law, Page, complaints
from tests.simulation.lives import Life
from tests.simulation.slots import Timing
from tests.world import EPOCH, OwnClock
from tocsin.problems import Problem
from tocsin.schemas.schedules import NewSchedule

AGENT, ENDPOINT = "agt_00000000000000000000000001", "ep_00000000000000000000000001"
rounds_max = 200
complaints_shown_max = 12


class Broken(AssertionError):
    """The law does not hold."""

    def __init__(self, now: datetime, complaints: Sequence[Complaint]) -> None:
        super().__init__("\n".join([f"at {now}", *map(str, complaints[:complaints_shown_max])]))
        self.law = complaints[0].law


class Crash(Exception):
    """What was going on here ends here."""


class StepClock(OwnClock):
    """A database's clock that can be set, beside a monotonic one that cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.set_by = timedelta(0)

    @property
    def shown(self) -> datetime:
        return self.at + self.set_by

    async def now(self, db: AsyncSession) -> datetime:
        return self.shown

    def wall(self) -> datetime:
        return self.shown


class Planner:
    """A worker process: services of its own, and so a memory of its own."""

    def __init__(self, world: "World") -> None:
        self._database = world.database
        self.trips: Trip | None = None
        self._countdown = 0
        self.schedules = world.schedules(self.transaction)

    def trip(self, trip: Trip | None) -> None:
        """Fail like this from now on; None: no more."""
        self.trips, self._countdown = trip, trip.after if trip else 0

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncSession]:
        """A transaction that may fail: with what was done in it, or after it was committed."""
        async with self._database.transaction() as db:
            yield db
            self._stumble("before the commit")
        self._stumble("after the commit")
        self._countdown -= 1

    async def take(self, step: str) -> None:
        if step == "work":
            await drain(self.schedules.plan_next)
            await drain(self.schedules.take_over_next)
            await drain(self.schedules.fire_next)
        else:
            await getattr(self.schedules, step)()

    def _stumble(self, moment: Moment) -> None:
        if self.trips is not None and self.trips.moment == moment and self._countdown <= 0:
            raise Crash


class World:
    """Everything that one story is about."""

    def __init__(self, database: Database, story: Story) -> None:
        self.database = database
        self.clock = StepClock()
        self._bits = random.Random(story.seed)
        self._ids = Ids(lambda: int(self.clock.at.timestamp() * 1000), self._bits.getrandbits)
        self._deliveries = Deliveries(
            transaction=database.transaction,
            clock=self.clock,
            ids=self._ids,
            wake=Silence(),
            outbound=Outbound(allow=()),
            settings=DeliverySettings(),
            jitter=random.Random(story.seed),
        )
        self._door = self.schedules(database.transaction)
        self._planners = [Planner(self) for _ in range(story.planners)]
        self._alive: dict[int, Life] = {}
        self.lives: list[Life] = []

    def schedules(self, transaction: Any) -> Schedules:
        """The schedules of one process."""
        return Schedules(
            transaction=transaction, clock=self.clock, ids=self._ids, wake=Silence(), deliveries=self._deliveries
        )

    async def furnish(self) -> None:
        """Empty the database, but for an agent with an endpoint."""
        async with self.database.transaction() as db:
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
                self.clock.set_by += timedelta(hours=hours)
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
            case Create() | Delete():
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
            after = await self._standing()
            if after == before:
                return
            before = after
        raise TimeoutError(f"not at rest after {rounds_max} rounds")

    async def _standing(self) -> Sequence[Any]:
        return await self._read("select state, count(*) from fires group by state order by state")

    async def _work(self, number: int, step: str) -> None:
        planner = self._planners[number]
        try:
            await planner.take(step)
        except Crash:
            if planner.trips is not None and planner.trips.dies:
                self._replace(number)
            planner.trip(None)

    def _replace(self, number: int) -> None:
        self._planners[number] = Planner(self)

    async def _leave(self, number: int) -> None:
        with suppress(Crash):
            await self._planners[number].schedules.release()
        self._replace(number)

    async def _ask(self, action: Create | Delete) -> None:
        now = self.clock.shown
        async with self.database.transaction() as db:
            match action:
                case Create(number, spec):
                    if number not in self._alive:
                        await self._create(db, number, spec, now)
                case Delete(number):
                    if number in self._alive:
                        await self._delete(db, number, now)

    async def _create(self, db: AsyncSession, number: int, spec: Any, now: datetime) -> None:
        new = NewSchedule(spec=spec, endpoint_id=ENDPOINT)
        created = await self._door.create(db, AGENT, new, now)
        life = Life(created.id, number)
        life.begin(Timing(spec), now)
        self._alive[number] = life
        self.lives.append(life)

    async def _delete(self, db: AsyncSession, number: int, now: datetime) -> None:
        life = self._alive[number]
        cursor = (await db.execute(text("select next_fire from schedules where id = :id"), {"id": life.id})).scalar()
        await self._door.delete(db, AGENT, life.id, now)
        del self._alive[number]
        life.end(now if cursor is None else min(now, cursor - timedelta(seconds=1)), await self._last_slot(db, life))
        life.deleted = True

    async def _last_slot(self, db: AsyncSession, life: Life) -> datetime | None:
        statement = "select max(scheduled_at) from fires where schedule_id = :id and kind = 'auto'"
        return (await db.execute(text(statement), {"id": life.id})).scalar()

    async def _pages(self) -> list[tuple[Life, Page]]:
        async with self.database.transaction() as db:
            schedules = {row.id: row for row in await db.execute(text("select * from schedules"))}
            fires: dict[str, list[Any]] = defaultdict(list)
            for fire in await db.execute(text("select * from fires order by schedule_id, scheduled_at")):
                fires[fire.schedule_id].append(fire)
            rings = Counter((await db.execute(text(_RINGS))).scalars())
            told = Counter((row.kind, row.subject) for row in await db.execute(text(_TOLD)))
        return [
            (life, Page(self.clock.shown, schedules.get(life.id), fires[life.id], rings, told)) for life in self.lives
        ]

    async def _read(self, question: str) -> Sequence[Any]:
        async with self.database.transaction() as db:
            return (await db.execute(text(question))).all()


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
_RINGS = "select cast(body as json) -> 'data' ->> 'fire_id' from messages where type = 'schedule.fired'"
_TOLD = "select kind, subject from events where kind in ('fire.fired', 'fire.skipped')"
_ENDPOINT = """
    insert into endpoints (id, agent_id, url, state, secret, attempts, attempts_before, created_at, updated_at)
    values (:id, :agent, 'https://agent.example/', 'active', 'whsec_', 0, 0, :at, :at)
"""
