"""A backlog: 100,000 deliveries that are all due when the worker starts."""

import asyncio
import threading
import time

import psutil

from bench import deliveries, report
from bench.stage import Stage

backlog = 100_000
sample_seconds = 0.5


def report_backlog(on: Stage, workers: int) -> None:
    """Print how fast it drains, at its beginning and at its end, and how much memory the worker takes meanwhile."""
    asyncio.run(_enqueue(on))
    worker = on.start("-m", "workers.main")
    memory, arrived = list[int](), list[tuple[float, int]]()
    done = threading.Event()

    def sample() -> None:
        process = psutil.Process(worker.pid)
        while not done.wait(sample_seconds):
            memory.append(process.memory_info().rss)
            arrived.append((time.monotonic(), on.counted()))

    sampling = threading.Thread(target=sample)
    sampling.start()
    deliveries.wait_until_concluded(on, backlog)
    done.set()
    sampling.join()
    taken = on.taken()
    worker.terminate()
    worker.wait(30)
    report.line(f"a backlog of {backlog:,}", f"{taken['count'] / (taken['last'] - taken['first']):.0f}/s")
    report.line(
        "its second to fourth fifth, and its last", f"{_rate(arrived, 0.2, 0.8):.0f}/s, {_rate(arrived, 0.8, 1):.0f}/s"
    )
    settled = memory[len(memory) // 4 :]
    report.line(
        "worker's memory: a quarter in, most, at the end",
        ", ".join(f"{m / 2**20:.0f} MiB" for m in (settled[0], max(memory), memory[-1])),
    )


def _rate(arrived: list[tuple[float, int]], begin: float, end: float) -> float:
    """Deliveries a second between two shares of the backlog."""
    inside = [(at, count) for at, count in arrived if begin * backlog <= count <= end * backlog]
    (first_at, first), (last_at, last) = inside[0], next(s for s in inside if s[1] == inside[-1][1])
    return (last - first) / (last_at - first_at)


async def _enqueue(on: Stage) -> None:
    async with deliveries.opened(on) as services:
        endpoint_ids = await deliveries.endpoints(services, f"{on.receiver}/hook")
        for start in range(0, backlog, 500):
            await deliveries.send(services, [endpoint_ids[(start + n) % len(endpoint_ids)] for n in range(500)])
