"""Workers that die: after so many statements and commits, wherever that is."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.kit.database import Database

__all__ = ["Died", "Trip"]


class Died(Exception):
    """The worker is no more."""


@dataclass
class Trip:
    """Lets a worker get so many statements and commits far, and then no further, ever."""

    database: Database
    steps_left: int

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncSession]:
        async with self.database.transaction() as db:
            execute = db.execute

            async def counted(*args: Any, **options: Any) -> Any:
                self._step()
                return await execute(*args, **options)

            db.execute = counted  # pyright: ignore[reportAttributeAccessIssue]
            yield db
            self._step()
        # Durable, and nobody was told.
        self._step()

    def _step(self) -> None:
        if self.steps_left == 0:
            raise Died
        self.steps_left -= 1
