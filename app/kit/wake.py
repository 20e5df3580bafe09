"""The doorbell. Valkey says "look now"; what there is to do stands in Postgres.

A ring may be lost, doubled or late, and carries no data: every worker also sweeps every feature each second. Two bells:
`Doorbell` rings the workers from another process, through arq; `Bells` hang in a worker and start its own drains.

De-duplication is by a key of ours and not by arq's job id. arq keeps a job's id until the job has *ended*, so a ring
that came while the job was in its last look would be swallowed. Our key falls when the job *starts*: whatever is rung
after that moment is a new job, whatever was rung before it is seen by this one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Protocol, cast

from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from app.kit import limits, telemetry
from app.kit.database import AWAY, first_line

log = telemetry.logger(__name__)


class Wake(Protocol):
    """Says that a feature has work to look at. Called after the commit, never before."""

    def ring(self, feature: str) -> None:
        """Never fails and never waits. A lost ring costs the rest of a sweep's second, nothing else."""
        ...

    def ring_in(self, seconds: float, feature: str) -> None:
        """The same, that much later; forgotten when the process ends."""
        ...


class Silence:
    """No bell: for tests that drain by hand, and for commands that only read."""

    def ring(self, feature: str) -> None:
        return None

    def ring_in(self, seconds: float, feature: str) -> None:
        return None


class _Calls:
    """At most one running call per feature; a request that comes while it runs is answered by one more round, which
    begins `apart_seconds` after the call has ended."""

    def __init__(self, apart_seconds: float = 0.0) -> None:
        self._apart_seconds = apart_seconds
        self._running: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._closed = asyncio.Event()
        self._troubled: dict[str, str] = {}

    def is_running(self, feature: str) -> bool:
        return feature in self._running

    def start(self, feature: str, act: Callable[[], Awaitable[object]]) -> None:
        if self._closed.is_set():
            return
        self._again.add(feature)
        if feature not in self._running:
            self._running[feature] = asyncio.create_task(self._run(feature, act), name=f"wake {feature}")

    def start_in(self, seconds: float, feature: str, act: Callable[[], Awaitable[object]]) -> None:
        if feature in self._timers:
            self._timers[feature].cancel()
        self._timers[feature] = asyncio.get_running_loop().call_later(seconds, self.start, feature, act)

    async def close(self) -> None:
        """Start nothing more, and wait for what runs."""
        self._closed.set()
        for timer in self._timers.values():
            timer.cancel()
        await asyncio.gather(*self._running.values())

    def left(self) -> set[str]:
        """What was asked for and has not been done. Told once."""
        left, self._again = self._again, set()
        return left

    async def _run(self, feature: str, act: Callable[[], Awaitable[object]]) -> None:
        try:
            while feature in self._again and not self._closed.is_set():
                self._again.discard(feature)
                await act()
                await self._pause()
            self._tell_of_database(feature, None)
        except asyncio.CancelledError:
            # Cut off: what was asked for is still to be done.
            self._again.add(feature)
            raise
        except AWAY as error:
            # This round ends here, the next sweep starts another.
            self._tell_of_database(feature, first_line(error))
        except Exception:
            # A bug ends this round, too, and not the worker.
            log.exception("a drain stopped", feature=feature)
        finally:
            del self._running[feature]

    async def _pause(self) -> None:
        if self._apart_seconds:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), self._apart_seconds)

    def _tell_of_database(self, feature: str, trouble: str | None) -> None:
        """A line when a feature's trouble with the database begins, changes or ends, and none while it lasts."""
        before = self._troubled.pop(feature, None)
        if trouble is not None:
            self._troubled[feature] = trouble
        if trouble is None and before is not None:
            log.info("drains go on; the database is back", feature=feature)
        elif trouble != before:
            log.warning("drains stop; the database is away or full", feature=feature, error=trouble)


class Bells:
    """The bells of one worker: a ring starts the feature's drain in this process, with no trip to Valkey."""

    def __init__(self) -> None:
        self._drains: dict[str, Callable[[], Awaitable[object]]] = {}
        self._hurries: dict[str, Callable[[], None]] = {}
        self._calls = _Calls()

    def hang(
        self, feature: str, drain: Callable[[], Awaitable[object]], hurry: Callable[[], None] | None = None
    ) -> None:
        """From now on, a ring for this feature runs `drain`; while it runs, and may be waiting, tells it to `hurry`."""
        self._drains[feature] = drain
        if hurry is not None:
            self._hurries[feature] = hurry

    def ring(self, feature: str) -> None:
        if self._calls.is_running(feature) and feature in self._hurries:
            self._hurries[feature]()
        self._calls.start(feature, self._drains[feature])

    def ring_in(self, seconds: float, feature: str) -> None:
        self._calls.start_in(seconds, feature, self._drains[feature])

    async def close(self) -> None:
        """Start no more drains, and wait for those that run."""
        await self._calls.close()


class Doorbell:
    """Rings the workers from a process that is none: one arq job per feature, while none is waiting.

    Under load every commit rings, and a ring is up to four trips to Valkey and a round of a worker's. So the first goes
    at once, and those after it together.
    """

    def __init__(self, url: str) -> None:
        self._valkey = connect(url)
        self._calls = _Calls(limits.rings_apart_seconds)

    def ring(self, feature: str) -> None:
        self._calls.start(feature, lambda: self._enqueue(feature))

    def ring_in(self, seconds: float, feature: str) -> None:
        self._calls.start_in(seconds, feature, lambda: self._enqueue(feature))

    async def close(self) -> None:
        """Ring what is left. A Valkey that does not answer holds the end of a process up for no more than a second."""
        left = set[str]()
        try:
            async with asyncio.timeout(limits.last_rings_seconds):
                await self._calls.close()
                left = self._calls.left()
                for feature in sorted(left):
                    await self._enqueue(feature)
                    left.discard(feature)
        except TimeoutError:
            self._lost(left | self._calls.left())
        await self._valkey.aclose(close_connection_pool=True)

    def _lost(self, features: Collection[str]) -> None:
        for feature in features:
            telemetry.wakes_lost.labels(feature).inc()
        log.warning("the last wakes were lost; the sweep will find the work", features=sorted(features))

    async def _enqueue(self, feature: str) -> None:
        try:
            if await self._valkey.set(waiting_key(feature), 1, nx=True, ex=limits.wake_expiry_seconds):
                await self._valkey.enqueue_job(feature, _expires=limits.wake_expiry_seconds)
        except (RedisError, OSError) as error:
            telemetry.wakes_lost.labels(feature).inc()
            log.warning("a wake was lost; the sweep will find the work", feature=feature, error=type(error).__name__)


def connect(url: str) -> ArqRedis:
    """A client that connects at its first use, so that a process whose Valkey is away starts, and sweeps."""
    pool = cast(ConnectionPool, ConnectionPool.from_url(url, socket_connect_timeout=1, socket_timeout=1))  # pyright: ignore
    return ArqRedis(pool)


def waiting_key(feature: str) -> str:
    """Stands in Valkey while a wake for this feature waits for a worker."""
    return f"tocsin:wake:{feature}"
