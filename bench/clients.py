"""The baselines: what the same posts cost without a relay around them, and what the plain way of building one gives."""

import asyncio
import json
import sys
import time

import aiohttp
import httpx
import uvloop
from arq.connections import RedisSettings
from arq.worker import Worker, func

connections = 64
headers = {
    "Content-Type": "application/json",
    "webhook-timestamp": "1795338000",
    "webhook-signature": f"v1,{'x' * 44} v1a,{'y' * 88}",
}


async def bare(url: str, count: int, body: bytes) -> tuple[float, float]:
    """Post in a loop over one aiohttp session, and nothing else. Returns the seconds it took, and those of CPU."""
    numbers = iter(range(count))
    options = {"cookie_jar": aiohttp.DummyCookieJar(), "auto_decompress": False}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), **options) as session:

        async def post() -> None:
            for number in numbers:
                async with session.post(url, data=body, headers={**headers, "webhook-id": str(number)}) as answer:
                    await answer.read()

        started, cpu = time.monotonic(), time.process_time()
        await asyncio.gather(*(post() for _ in range(connections)))
        return time.monotonic() - started, time.process_time() - cpu


async def one_job_one_post(valkey_url: str, url: str, count: int, body: bytes) -> None:
    """The plain way: an arq worker whose every job posts one webhook with httpx."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(limits=limits) as client:

        async def ring(ctx: object, number: int) -> None:
            (await client.post(url, content=body, headers={**headers, "webhook-id": str(number)})).raise_for_status()

        worker = Worker(
            functions=[func(ring, name="ring")],
            redis_settings=RedisSettings.from_dsn(valkey_url),
            burst=True,
            max_jobs=connections,
            poll_delay=0.01,
            keep_result=0,
            handle_signals=False,
        )
        await worker.main()
        await worker.close()


async def deferred(valkey_url: str, url: str | None, body: bytes) -> list[float]:
    """The plain way to fire at a time: arq's own delayed jobs, which have been enqueued with `_defer_until`.

    Returns by how many milliseconds each began late. With a URL each also posts; without, it costs arq nothing else.
    """
    late: list[float] = []
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=connections)) as client:

        async def fire(ctx: object, nominal: float) -> None:
            late.append((time.time() - nominal) * 1000)
            if url is not None:
                (await client.post(url, content=body, headers={**headers, "webhook-id": "1"})).raise_for_status()

        worker = Worker(
            functions=[func(fire, name="fire")],
            redis_settings=RedisSettings.from_dsn(valkey_url),
            burst=True,
            max_jobs=1_000,
            keep_result=0,
            handle_signals=False,
        )
        await worker.main()
        await worker.close()
    return late


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "bare":
        print(*uvloop.run(bare(arguments[0], int(arguments[1]), arguments[2].encode())), flush=True)
    elif what == "deferred":
        print(json.dumps(uvloop.run(deferred(arguments[0], arguments[1] or None, arguments[2].encode()))), flush=True)
    else:
        uvloop.run(one_job_one_post(arguments[0], arguments[1], int(arguments[2]), arguments[3].encode()))
