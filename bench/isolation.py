"""What a dead endpoint and a slow one cost the others: the same open loop with and without them."""

import asyncio
import time
from collections.abc import Sequence
from math import inf

import uvloop

from app.services import Services
from bench import deliveries, report
from bench.stage import Stage

endpoints_count = 100
per_second = 200
seconds = 20
# So many are published before anything is timed that the breaker of the dead one has had its reasons to open or not.
warm_up_seconds = 5


def report_isolation(on: Stage, workers: int) -> None:
    """Print how long deliveries to 98 endpoints take while two others are well, and while they are dead and slow."""
    well, dead, slow = on.receiver, on.start_receiver(inf), on.start_receiver(5)
    everyone_well = _accepted_to_received(on, [well] * endpoints_count, "a")
    report.show(f"98 of 100 endpoints at {per_second}/s, all well", everyone_well)
    with_them = _accepted_to_received(on, [*[well] * (endpoints_count - 2), dead, slow], "b")
    report.show("the same 98 beside a dead and a 5 s slow one", with_them)
    raised = report.spread(with_them)["p95"] / report.spread(everyone_well)["p95"] - 1
    report.line("their p95 is raised by", f"{raised:.0%}")


def _accepted_to_received(on: Stage, urls: Sequence[str], prefix: str) -> list[float]:
    """Milliseconds from each commit to the receiver, for all endpoints but the last two."""
    worker = on.start("-m", "workers.main")
    accepted = dict[int, float]()

    async def publish() -> None:
        async with deliveries.opened(on) as services:
            ids = await _endpoints(services, urls, prefix)

            async def one(number: int) -> None:
                await deliveries.send(services, [ids[number % len(ids)]], deliveries.body(number))
                accepted[number] = time.monotonic()

            begin, tasks = time.monotonic(), list[asyncio.Task[None]]()
            for number in range(per_second * (seconds + warm_up_seconds)):
                await asyncio.sleep(max(0.0, begin + number / per_second - time.monotonic()))
                tasks.append(asyncio.create_task(one(number)))
            await asyncio.gather(*tasks)

    uvloop.run(publish())
    timed = {n for n in accepted if n >= per_second * warm_up_seconds and n % len(urls) < len(urls) - 2}
    arrivals = dict[int, float]()
    ends_at = time.monotonic() + 60
    while not timed <= arrivals.keys():
        assert time.monotonic() < ends_at, f"{len(timed - arrivals.keys())} did not arrive"
        time.sleep(0.25)
        for number, at in on.taken()["arrivals"]:
            arrivals.setdefault(number, at)
    worker.terminate()
    worker.wait(60)
    deliveries.forget(on)
    return [max(0.0, arrivals[number] - accepted[number]) * 1000 for number in timed]


async def _endpoints(services: Services, urls: Sequence[str], prefix: str) -> list[str]:
    ids = [f"ep_{prefix}{number:025}" for number in range(len(urls))]
    for id, url in zip(ids, urls, strict=True):
        await deliveries.add_endpoint(services, id, f"{url}/hook")
    return ids
