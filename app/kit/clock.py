"""Time, as a guest: rules take `now`, services hold a `Clock`, and nothing else in the house reads one."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class Reading:
    """What the database's clock said (aware, UTC), and the process's own seconds when the answer was here."""

    at: datetime
    monotonic: float

    def by(self, monotonic: float) -> datetime:
        """What it says by then. Behind the database's by as long as the answer took, and never ahead of it."""
        return self.at + timedelta(seconds=monotonic - self.monotonic)


class Clock(Protocol):
    """What time it is, and how to wait."""

    async def now(self, db: AsyncSession) -> datetime:
        """The database's clock (aware, UTC): the one that processes on several machines agree on."""
        ...

    def wall(self) -> datetime:
        """This process's clock (aware, UTC): for what no other process must agree on, such as a signature's age."""
        ...

    def monotonic(self) -> float:
        """Seconds that never step backwards: for measuring and for timing a sleep."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that many seconds; zero or less gives the loop one turn."""
        ...


class SystemClock:
    """The real thing."""

    async def now(self, db: AsyncSession) -> datetime:
        # Read in the trip that began the transaction; from there on our own seconds count.
        reading: Reading = db.info[Reading]
        return reading.by(self.monotonic())

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
