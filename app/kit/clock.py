"""Time, as a guest: rules take `now`, services hold a `Clock`, and nothing else in the house reads one."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from app.kit.sql import sql


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
        # clock_timestamp() moves within a transaction; now() would stand still at its start.
        instant: datetime = (await db.execute(sql("select clock_timestamp()"))).scalar_one()
        return instant.astimezone(UTC)

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
