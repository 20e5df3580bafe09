"""What it takes to publish over HTTP: a signed, idempotent `POST /v1/messages`, beside the plain way."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import aiohttp
import psutil

from app.local.ports import free_port
from bench import report
from bench.deliveries import add_endpoint, opened
from bench.stage import Stage, answering
from tocsin import AsyncClient, PrivateKey, signatures
from tocsin.keys import base64url

__all__ = ["report_publishing"]

one_by_one = 1_000
warming = 100
at_once = 16
many = 2_000

Publish = Callable[[int], Awaitable[None]]


def report_publishing(on: Stage, workers: int) -> None:
    """Print how long one takes that waits for nobody, how many a second there can be, and their processor time."""
    asyncio.run(_report(on))


async def _report(on: Stage) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        url, plain = await _started(on, "-m", "bench.plain_api", on.postgres.url, str(port := free_port()), port=port)
        await _measure("the plain way: one insert", plain, _plain(http, f"{url}/messages"))
        port = free_port()
        command = ("-c", "from tocsin.cli import main; main()", "api")
        url, api = await _started(on, *command, port=port, TOCSIN_API_PORT=str(port))
        await _measure("publish", api, _signed(http, url, await _agent(on, url)))


async def _started(on: Stage, *command: str, port: int, **environment: str) -> tuple[str, psutil.Process]:
    process = on.start(*command, **environment)
    url = f"http://127.0.0.1:{port}"
    await answering(url)
    return url, psutil.Process(process.pid)


async def _agent(on: Stage, url: str) -> PrivateKey:
    """An agent with an endpoint that takes what it publishes."""
    key = PrivateKey.generate()
    async with AsyncClient(url, key) as client:
        agent = await client.agents.register(key)
    async with opened(on) as services:
        await add_endpoint(services, "ep_publishing", f"{on.receiver}/hook", agent.id)
    return key


async def _measure(what: str, server: psutil.Process, publish: Publish) -> None:
    for number in range(warming):
        await publish(-1 - number)
    before = _cpu(server)
    alone = [await _timed(publish(number)) for number in range(one_by_one)]
    report.show(f"{what}, one by one", alone)
    report.line(f"{what}, processor time of the API", f"{(_cpu(server) - before) / one_by_one * 1000:.2f} ms")
    numbers, started = iter(range(one_by_one, one_by_one + many)), time.monotonic()

    async def go_on() -> None:
        for number in numbers:
            await publish(number)

    await asyncio.gather(*(go_on() for _ in range(at_once)))
    report.line(f"{what}, {at_once} at once", f"{many / (time.monotonic() - started):.0f}/s")


async def _timed(one: Awaitable[None]) -> float:
    started = time.perf_counter()
    await one
    return (time.perf_counter() - started) * 1000


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _body(number: int) -> bytes:
    """About 300 bytes."""
    return json.dumps({"type": "report.ready", "data": {"no": number, "note": "x" * 240}}).encode()


def _plain(http: aiohttp.ClientSession, url: str) -> Publish:
    async def publish(number: int) -> None:
        async with http.post(url, data=_body(number)) as answer:
            await answer.read()
            assert answer.status == 200, answer

    return publish


def _signed(http: aiohttp.ClientSession, url: str, key: PrivateKey) -> Publish:
    """The request as the SDK makes it, over the client that costs least. Signing it is in the time that it takes."""
    target = f"{url}/v1/messages"

    async def publish(number: int) -> None:
        now, body = datetime.now(UTC), _body(number)
        fields = {"content-type": "application/json", "idempotency-key": f'"{number}"'}
        request = signatures.Request.of("POST", target, fields, body)
        nonce = base64url(number.to_bytes(16, "big", signed=True))
        signed = signatures.sign(request, key, created=now, expires=now + timedelta(seconds=60), nonce=nonce)
        async with http.post(target, data=body, headers={**fields, **signed}) as answer:
            assert answer.status == 202, await answer.text()
            await answer.read()

    return publish
