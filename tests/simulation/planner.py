"""A worker process in virtual time: its services, its memory, and how it fails."""

import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.service import Deliveries
from app.kit.database import Database, Transaction
from app.kit.due import drain
from app.kit.ids import Ids
from app.kit.outbound import Answer, Fault
from app.kit.wake import Silence
from app.schedules.service import Schedules
from app.settings import DeliverySettings, RetentionSettings, ScheduleSettings
from tests.sealed import KEYRING
from tests.simulation.actions import Moment, Trip
from tests.world import OwnClock

STEPS = ("plan_next", "take_over_next", "fire_next", "catch_up_next", "time_out_next", "deliver_next")


class Crash(Exception):
    """What was going on here ends here."""


class StepClock(OwnClock):
    """A database's clock that can be set, beside a monotonic one that cannot."""

    def __init__(self) -> None:
        super().__init__()
        self._set_by = timedelta(0)
        self.was_set = False

    def set_forward(self, by: timedelta) -> None:
        self._set_by += by
        self.was_set = True

    @property
    def shown(self) -> datetime:
        return self.at + self._set_by

    async def now(self, db: AsyncSession) -> datetime:
        return self.shown

    def wall(self) -> datetime:
        return self.shown


@dataclass
class Agent:
    """Who is rung: takes most rings, reports some runs done, and never takes some others. Notes what it hears."""

    heard: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, timeout_seconds: float
    ) -> Answer | Fault:
        fire_id = orjson.loads(body)["data"].get("fire_id", "")
        self.heard[fire_id].add(body)
        # By the id, so that it answers the same however the story is told.
        match random.Random(fire_id).randrange(10):
            case 0 | 1:
                return Fault("timeout")
            case 2 | 3 | 4:
                return Answer(200, {}, b'{"completed": true}')
            case _:
                return Answer(204, {}, b"")


@dataclass(frozen=True)
class Place:
    """What all processes share."""

    database: Database
    clock: StepClock
    ids: Ids
    agent: Agent

    def services(self, transaction: Transaction) -> tuple[Schedules, Deliveries]:
        """The services of one process."""
        outbound: Any = self.agent
        common: dict[str, Any] = {
            "transaction": transaction, "clock": self.clock, "ids": self.ids, "wake": Silence()
        }  # fmt: skip
        deliveries = Deliveries(
            **common,
            outbound=outbound,
            keyring=KEYRING,
            settings=DeliverySettings(),
            retention=RetentionSettings(),
            jitter=random.Random(0),
        )
        schedules = Schedules(**common, deliveries=deliveries, settings=ScheduleSettings())
        deliveries.listen(schedules)
        deliveries.start()
        return schedules, deliveries


class Planner:
    """One worker process."""

    def __init__(self, place: Place) -> None:
        self._database = place.database
        self.trips: Trip | None = None
        self._countdown = 0
        schedules, deliveries = place.services(self.transaction)
        self.release = schedules.release
        self._deliver_next = deliveries.deliver_next
        self._steps: dict[str, Callable[[], Any]] = {
            name: getattr(schedules, name) for name in STEPS if hasattr(schedules, name)
        } | {"deliver_next": deliveries.deliver_next}

    async def take(self, step: str) -> None:
        """One step of this name; or all of them, as a worker takes them: until there is nothing to do."""
        if step != "work":
            await self._steps[step]()
            return
        for name, once in self._steps.items():
            if name == "catch_up_next":
                await once()
            else:
                await drain(once)

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

    def _stumble(self, moment: Moment) -> None:
        if self.trips is not None and self.trips.moment == moment and self._countdown <= 0:
            raise Crash
