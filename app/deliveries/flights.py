"""Requests in flight: many at once, each started as soon as there is room, collected in groups when they have landed.

A slow one takes one place and holds up nothing else: what lands is collected without waiting for what still flies.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from math import inf
from typing import Generic, Protocol, TypeVar

from app.kit import telemetry

__all__ = ["Flights", "Queue"]

T = TypeVar("T")
R = TypeVar("R")

log = telemetry.logger(__name__)


class Queue(Protocol[T]):
    """What waits for a place, and whose turn it is."""

    def __len__(self) -> int:
        """How many wait."""
        ...

    def put(self, items: Iterable[T], /) -> None:
        """Let these wait for their turn."""
        ...

    def take(self) -> T | None:
        """The next that may take off now; None when there is none."""
        ...

    def landed(self, item: T, /) -> None:
        """This one, taken before, has given its place back."""
        ...


class Line(Generic[T]):
    """The plainest of queues: first come, first served."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: Iterable[T], /) -> None:
        self._items.extend(items)

    def take(self) -> T | None:
        return self._items.popleft() if self._items else None

    def landed(self, item: T, /) -> None:
        """Makes no difference to those that wait."""


class Flights(Generic[T, R]):
    """Flies what it is handed, at most `places` at once, and keeps what came of it until it is collected."""

    def __init__(
        self, fly: Callable[[T], Awaitable[R]], *, places: int, ahead: int, queue: Queue[T] | None = None
    ) -> None:
        self._fly = fly
        self._places = places
        self.ahead = ahead  # how many may wait for a place
        self._waiting: Queue[T] = Line() if queue is None else queue
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
    def flying(self) -> int:
        """How many are under way."""
        return len(self._pilots)

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    @property
    def outstanding(self) -> int:
        """How many have not been collected: those that wait, fly, or have landed since."""
        return len(self._waiting) + len(self._pilots) + len(self._landed)

    def start(self, items: Iterable[T]) -> None:
        """Send these on their way, as places become free."""
        self._waiting.put(items)
        self._fill()

    async def landed(self, wait_seconds: float, apart_seconds: float = 0.0) -> Sequence[R]:
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

    def _fill(self) -> None:
        """Use the free places, as far as anything that waits may take off."""
        while len(self._pilots) < self._places and (item := self._waiting.take()) is not None:
            pilot = asyncio.create_task(self._pilot(item))
            self._pilots.add(pilot)
            pilot.add_done_callback(self._arrived)

    async def _pilot(self, first: T) -> None:
        """Fly one after the other while any may take off."""
        item: T | None = first
        while item is not None:
            try:
                result = await self._fly(item)
            finally:
                self._waiting.landed(item)
            # Not in one line with the await: the list may be another by then.
            self._landed.append(result)
            item = self._waiting.take()

    def _arrived(self, pilot: asyncio.Task[None]) -> None:
        self._pilots.discard(pilot)
        if not pilot.cancelled() and (error := pilot.exception()) is not None:
            # A bug. What it carried is claimed again when its lease has ended; the others fly on.
            log.error("a flight crashed", exc_info=error)
        self._fill()
        if not self._pilots:
            self._news.set()


def _now() -> float:
    return asyncio.get_running_loop().time()
