"""The plain way to fire at a time: arq's own delayed jobs, `_defer_until`, in the same run as ours."""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from arq.connections import ArqRedis, RedisSettings, create_pool

from bench import deliveries, report
from bench.stage import Stage

bare_per_second = 1_000
posting_per_second = 200
seconds = 20
enqueued_at_once = 100


def report_plain(on: Stage, workers: int) -> None:
    """Print how late arq's jobs begin that do nothing, and at a rate that one of its workers sustains, that post."""
    report.show(f"{bare_per_second} arq jobs/s that do nothing, begun", _late(on, bare_per_second, ""))
    url = f"{on.receiver}/hook"
    report.show(f"{posting_per_second} arq jobs/s that post, begun", _late(on, posting_per_second, url))


def _late(on: Stage, per_second: int, url: str) -> Sequence[float]:
    asyncio.run(_enqueue(on, per_second))
    worker = on.start("-m", "bench.clients", "deferred", on.valkey.url, url, deliveries.body().decode())
    assert worker.stdout is not None
    # Bounded: its last job is due in known time, and it ends with the last job.
    return json.loads(worker.stdout.readline())


async def _enqueue(on: Stage, per_second: int) -> None:
    """Jobs evenly spread over some seconds that begin once all have been enqueued and a worker has come up."""
    count = per_second * seconds
    valkey = await create_pool(RedisSettings.from_dsn(on.valkey.url))
    began = time.monotonic()
    await _defer(valkey, [datetime.now(UTC) + timedelta(hours=1)] * enqueued_at_once)
    each = (time.monotonic() - began) / enqueued_at_once
    await valkey.flushdb()
    begin = datetime.now(UTC) + timedelta(seconds=5 + 2 * count * each)
    moments = [begin + timedelta(seconds=n / per_second) for n in range(count)]
    for start in range(0, count, enqueued_at_once):
        await _defer(valkey, moments[start : start + enqueued_at_once])
    await valkey.aclose()


async def _defer(valkey: ArqRedis, moments: Sequence[datetime]) -> None:
    await asyncio.gather(*(valkey.enqueue_job("fire", moment.timestamp(), _defer_until=moment) for moment in moments))
