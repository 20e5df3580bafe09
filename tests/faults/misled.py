"""A worker that is real but for where it gets names and the time from: files that a test writes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import orjson

from app.kit.clock import SystemClock
from tests.acceptance.forks import become

__all__ = ["Names", "SteppedClock", "become_misled"]


@dataclass(frozen=True)
class Names:
    """Names and their addresses, in a file; and in another, each name that was looked up."""

    place: Path

    def become(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """From now on, these names are at these addresses."""
        new = self.place / "names.new"
        new.write_bytes(orjson.dumps(addresses))
        new.rename(self.place / "names")

    def looked_up(self) -> list[str]:
        return (self.place / "looked-up").read_text().split()

    async def addresses(self, host: str) -> Sequence[str]:
        with (self.place / "looked-up").open("a") as log:
            log.write(f"{host}\n")
        return orjson.loads((self.place / "names").read_bytes()).get(host, ())


@dataclass(frozen=True)
class SteppedClock(SystemClock):
    """The system's, but for a wall clock that is as many seconds off as the file says."""

    file: Path

    def wall(self) -> datetime:
        return super().wall() + timedelta(seconds=int.from_bytes(self.file.read_bytes(), "little", signed=True))


def become_misled(told: Mapping[str, str], log: Path, *, names: Path | None = None, clock: Path | None = None) -> None:
    """What `tocsin worker` does, misled by these files."""
    become(told, log)
    from app.kit import telemetry
    from app.settings import Settings
    from workers.main import work

    settings = Settings()
    telemetry.configure(settings.log.format, settings.log.level)
    asyncio.run(
        work(
            settings,
            clock=SteppedClock(clock) if clock is not None else None,
            resolver=Names(names) if names is not None else None,
        )
    )
