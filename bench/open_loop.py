"""An open loop: one publish after the other at a steady rate, whatever becomes of those before it."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass

import psycopg
import uvloop

from app.services import Services
from bench import deliveries, report
from bench.stage import Stage

per_second = 200
seconds = 20
# Connections are opened in these, statements are planned, and a breaker finds its reasons. Shown by themselves.
warm_up_seconds = 5
plain_connections = 4


@dataclass(frozen=True)
class Published:
    """When each was asked for, accepted and received, by its number: seconds of the clock that all processes share."""

    asked: Mapping[int, float]
    accepted: Mapping[int, float]
    arrived: Mapping[int, float]

    @property
    def commits(self) -> Sequence[float]:
        """Milliseconds of each publish, once all was warm."""
        return self._commits(_warm())

    @property
    def first_commits(self) -> Sequence[float]:
        """The same of those before that."""
        return self._commits(range(per_second * warm_up_seconds))

    @property
    def arrivals(self) -> Sequence[float]:
        """Milliseconds from each commit to the receiver, once all was warm."""
        waited = (self.arrived[number] - self.accepted[number] for number in _warm() if number in self.arrived)
        return [max(0.0, each) * 1000 for each in waited]

    def _commits(self, numbers: Iterable[int]) -> Sequence[float]:
        return [(self.accepted[number] - self.asked[number]) * 1000 for number in numbers]


def report_open_loop(on: Stage, workers: int) -> None:
    """Print how long a publish takes, cold and warm, beside a plain insert, and how long until it is received."""
    report.show(f"a plain insert and commit, at {per_second}/s", plain_commits(on))
    loop = published(on, [on.receiver], "a")
    report.show(f"publish, one commit, the first {warm_up_seconds} s", loop.first_commits)
    report.show(f"publish, one commit, at {per_second}/s from then on", loop.commits)
    report.show(f"accepted to received, at {per_second}/s", loop.arrivals)


def published(on: Stage, urls: Sequence[str], prefix: str, *, unheard: int = 0) -> Published:
    """Publish to endpoints at these addresses by turns, beside one worker, and wait for what arrives. Of the last
    `unheard` of them nothing is expected."""
    worker = on.start("-m", "workers.main")
    asked, accepted = dict[int, float](), dict[int, float]()

    async def publish() -> None:
        async with deliveries.opened(on) as services:
            ids = await _endpoints(services, urls, prefix)
            # The worker is up when it has delivered one.
            await deliveries.send(services, ids[:1])
            await asyncio.to_thread(on.wait_until_taken, 1)

            async def one(number: int) -> None:
                asked[number] = time.monotonic()
                await deliveries.send(services, [ids[number % len(ids)]], deliveries.body(number))
                accepted[number] = time.monotonic()

            await _steadily(one)

    uvloop.run(publish())
    arrived = _arrived(on, {number for number in accepted if number % len(urls) < len(urls) - unheard})
    worker.terminate()
    worker.wait(60)
    deliveries.forget(on)
    return Published(asked, accepted, arrived)


def plain_commits(on: Stage) -> Sequence[float]:
    """Milliseconds of each insert of the same body with its commit, at the same rate, with nothing else at work."""
    taken = dict[int, float]()

    async def insert() -> None:
        opened = [await psycopg.AsyncConnection.connect(on.postgres.url) for _ in range(plain_connections)]
        await opened[0].execute("create table plain (number bigint primary key, body text not null)")
        await opened[0].commit()
        idle = asyncio.LifoQueue[psycopg.AsyncConnection]()
        for each in opened:
            idle.put_nowait(each)

        async def one(number: int) -> None:
            began = time.monotonic()
            db = await idle.get()
            await db.execute("insert into plain values (%s, %s)", [number, deliveries.body(number).decode()])
            await db.commit()
            idle.put_nowait(db)
            taken[number] = (time.monotonic() - began) * 1000

        await _steadily(one)
        await opened[0].execute("drop table plain")
        await opened[0].commit()
        for each in opened:
            await each.close()

    uvloop.run(insert())
    return [taken[number] for number in _warm()]


async def _steadily(act: Callable[[int], Coroutine[None, None, None]]) -> None:
    """Have each number acted on at its time, and wait for all of them."""
    begin = time.monotonic()
    async with asyncio.TaskGroup() as acting:
        for number in range(per_second * (warm_up_seconds + seconds)):
            await asyncio.sleep(max(0.0, begin + number / per_second - time.monotonic()))
            acting.create_task(act(number))


def _warm() -> Iterable[int]:
    return range(per_second * warm_up_seconds, per_second * (warm_up_seconds + seconds))


def _arrived(on: Stage, wanted: set[int]) -> Mapping[int, float]:
    """When each of these was first received."""
    arrived, ends_at = dict[int, float](), time.monotonic() + 60
    while not wanted <= arrived.keys():
        assert time.monotonic() < ends_at, f"{len(wanted - arrived.keys())} did not arrive"
        time.sleep(0.25)
        for number, at in on.taken()["arrivals"]:
            arrived.setdefault(number, at)
    return {number: at for number, at in arrived.items() if number in wanted}


async def _endpoints(services: Services, urls: Sequence[str], prefix: str) -> list[str]:
    ids = [f"ep_{prefix}{number:025}" for number in range(len(urls))]
    for id, url in zip(ids, urls, strict=True):
        await deliveries.add_endpoint(services, id, f"{url}/hook")
    return ids
