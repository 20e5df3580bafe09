"""Requests in flight: many at once, each started as soon as there is room, collected in groups when they have landed.

A slow one takes one place and holds up nothing else: what lands is collected without waiting for what still flies.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from math import inf
from typing import Generic, TypeVar

from app.kit import telemetry

__all__ = ["Flights", "ahead"]

# What waits for a place waits a second or so: were it left in the database, another process might have one.
ahead_seconds = 1.0
ahead_max = 2048

T = TypeVar("T")
R = TypeVar("R")

log = telemetry.logger(__name__)


def ahead(places: int, flight_seconds: float) -> int:
    """How many may wait for one of these places: those that will have it soon, when a flight takes that long."""
    return min(max(places, int(places * ahead_seconds / max(flight_seconds, 0.001))), ahead_max)


class Flights(Generic[T, R]):
    """Flies what it is handed, at most `places` at once, and keeps what came of it until it is collected."""

    def __init__(self, fly: Callable[[T], Awaitable[R]], *, places: int, ahead: int) -> None:
        self._fly = fly
        self._places = places
        self.ahead = ahead  # how many may wait for a place
        self._waiting: deque[T] = deque()
        self._pilots: set[asyncio.Task[None]] = set()
        self._landed: list[R] = []
        self._news = asyncio.Event()
        self._nudged = False
        self._collected_at = -inf

    @property
    def room(self) -> int:
        """How many more may be handed over: enough that no place is idle while the next are fetched."""
        return max(0, self._places + self.ahead - len(self._waiting) - len(self._pilots))

    @property
    def outstanding(self) -> int:
        """How many have not been collected: those that wait, fly, or have landed since."""
        return len(self._waiting) + len(self._pilots) + len(self._landed)

    def start(self, items: Iterable[T]) -> None:
        """Send these on their way, as places become free."""
        self._waiting.extend(items)
        while self._waiting and len(self._pilots) < min(self._places, len(self._pilots) + len(self._waiting)):
            self._take_off()

    async def landed(self, wait_seconds: float, *, apart_seconds: float = 0.0) -> Sequence[R]:
        """What has landed, after waiting that long for more to land; or less, when nothing flies or one is nudged.

        Unless nudged, not sooner than `apart_seconds` after something was last collected: under load, what lands in
        small groups is collected in larger ones.
        """
        if self._pilots:
            await self._wait(wait_seconds)
        while self._landed and not self._nudged and (left := self._collected_at + apart_seconds - _now()) > 0:
            self._news.clear()
            await self._wait(left)
        # Cleared only now: a nudge that came since the last wait has cut this one short.
        self._news.clear()
        self._nudged = False
        landed, self._landed = self._landed, []
        if landed:
            self._collected_at = _now()
        return landed

    def nudge(self) -> None:
        """Wait for no more landings, as there may be something new to hand over; unless there is no room for it."""
        if self.room > 0:
            self._nudged = True
            self._news.set()

    def put_back(self, landed: Sequence[R]) -> None:
        """Keep these until they are collected again: their conclusion could not be written."""
        self._landed = [*landed, *self._landed]

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def _take_off(self) -> None:
        pilot = asyncio.create_task(self._pilot(self._waiting.popleft()))
        self._pilots.add(pilot)
        pilot.add_done_callback(self._arrived)

    async def _pilot(self, item: T) -> None:
        """Fly one after the other while any wait."""
        while True:
            result = await self._fly(item)
            # Not in one line with the await: the list may be another by then.
            self._landed.append(result)
            if not self._waiting:
                return
            item = self._waiting.popleft()

    def _arrived(self, pilot: asyncio.Task[None]) -> None:
        self._pilots.discard(pilot)
        if not pilot.cancelled() and (error := pilot.exception()) is not None:
            # A bug. What it carried is claimed again when its lease has ended; the others fly on.
            log.error("a flight crashed", exc_info=error)
        if self._waiting:
            self._take_off()
        elif not self._pilots:
            self._news.set()


def _now() -> float:
    return asyncio.get_running_loop().time()
