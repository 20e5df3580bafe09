"""Deliveries: how many a second one worker sustains, beside the bare client loop and the plain way."""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
from arq.connections import RedisSettings, create_pool
from sqlalchemy import text

from app.deliveries.service import Outgoing
from app.kit.wake import Doorbell
from app.services import Services, open_services
from bench import report
from bench.stage import Stage, sealed_secrets
from tocsin import signatures
from tocsin.keys import PrivateKey

bare_count = 40_000
engine_count = 40_000
plain_count = 2_000
endpoints_count = 20
verifications = 2_000
agent_id = "agt_bench"


def body(number: int | None = None) -> bytes:
    """About 300 bytes of JSON, as a fire has them."""
    data = {
        "schedule_id": "sch_01m80w2b04f3vvbw30t097b7wz",
        "fire_id": "fir_01m80w2jdxfb8vjzrzg19tn210",
        "scheduled_at": "2026-11-22T09:00:00.000Z",
        "fired_at": "2026-11-22T09:00:00.004Z",
        "run": 17,
        "payload": {"task": "refresh", "note": "x" * 60},
        **({"no": number} if number is not None else {}),
    }
    ring = {"type": "schedule.fired", "timestamp": "2026-11-22T09:00:00.000Z", "data": data}
    return json.dumps(ring, separators=(",", ":")).encode()


def report_throughput(on: Stage, workers: int) -> None:
    """Print deliveries a second between two runs of the bare loop."""
    before = bare_per_second(on)
    report.line("bare aiohttp loop, before", f"{before:.0f}/s")
    one = engine_per_second(on, workers=1)
    report.line("deliveries, one worker process", f"{one:.0f}/s")
    forget(on)
    two = engine_per_second(on, workers=2)
    report.line("deliveries, two worker processes", f"{two:.0f}/s")
    after = bare_per_second(on)
    report.line("bare aiohttp loop, after", f"{after:.0f}/s")
    plain = plain_per_second(on)
    report.line("one arq job, one httpx post", f"{plain:.0f}/s")
    for name, engine in (("one worker is at", one), ("two workers are at", two)):
        bare = (before + after) / 2
        report.line(name, f"{engine / bare:.0%} of the bare loop, {engine / plain:.1f}x the plain way")


def report_verification(on: Stage, workers: int) -> None:
    """Print what the signature of a request costs to verify."""
    report.line("verify a signed request", f"{verification_cost():.0f} us CPU")


def bare_per_second(on: Stage) -> float:
    """The bare client loop, in a process of its own."""
    loop = on.start("-m", "bench.clients", "bare", f"{on.receiver}/hook", str(bare_count), body().decode())
    assert loop.stdout is not None
    seconds, _cpu = map(float, loop.stdout.readline().split())
    on.wait_until_taken(bare_count)
    return bare_count / seconds


def plain_per_second(on: Stage) -> float:
    """One arq job, one httpx post; the jobs wait in Valkey before the worker starts."""

    async def enqueue() -> None:
        valkey = await create_pool(RedisSettings.from_dsn(on.valkey.url))
        for number in range(plain_count):
            await valkey.enqueue_job("ring", number)
        await valkey.aclose()

    asyncio.run(enqueue())
    on.start("-m", "bench.clients", "plain", on.valkey.url, f"{on.receiver}/hook", str(plain_count), body().decode())
    return _per_second(on.wait_until_taken(plain_count))


def engine_per_second(on: Stage, workers: int) -> float:
    """Worker processes with everything: claims, signatures, attempts, journal. All are due before they start."""

    async def enqueue() -> None:
        async with opened(on) as services:
            endpoint_ids = await endpoints(services, f"{on.receiver}/hook")
            for start in range(0, engine_count, 500):
                await send(services, [endpoint_ids[(start + n) % len(endpoint_ids)] for n in range(500)])

    asyncio.run(enqueue())
    started = [on.start("-m", "workers.main") for _ in range(workers)]
    arrived = on.wait_until_taken(engine_count)
    wait_until_concluded(on, engine_count)
    for worker in started:
        worker.terminate()
        worker.wait(30)
    return _per_second(arrived)


def forget(on: Stage) -> None:
    """Empty the tables that the last measurement filled."""
    with psycopg.connect(on.postgres.url, autocommit=True) as db:
        db.execute("truncate deliveries, messages, attempts, events, lanes")
        db.execute("vacuum analyze")


def verification_cost() -> float:
    """Microseconds of CPU to parse and verify one signed request with a body, as the API does before anything else."""
    key, now = PrivateKey.generate(), datetime(2026, 11, 22, 9, tzinfo=UTC)
    fields = {"content-type": "application/json", "idempotency-key": '"one"'}
    request = signatures.Request.of("POST", "https://relay.example/v1/schedules", fields, body())
    added = signatures.sign(request, key, created=now, expires=now + timedelta(seconds=60), nonce="n" * 22)
    signed = signatures.Request.of("POST", "https://relay.example/v1/schedules", fields | added, body())
    started = time.process_time()
    for _ in range(verifications):
        signatures.verify(
            signed, key.public, now=now, signature=signatures.parse(signed), authorities={"relay.example"}
        )
    return (time.process_time() - started) / verifications * 1e6


def _per_second(arrived: dict[str, float]) -> float:
    return arrived["count"] / (arrived["last"] - arrived["first"])


def opened(on: Stage):
    """What publishes, in this process."""
    return open_services(on.settings, Doorbell(on.valkey.url), name="bench")


async def endpoints(services: Services, url: str) -> list[str]:
    """Endpoints as if they had been verified: what is measured is the delivery."""
    ids = [f"ep_{number:026}" for number in range(endpoints_count)]
    for id in ids:
        await add_endpoint(services, id, url)
    return ids


async def add_endpoint(services: Services, id: str, url: str, owner_id: str = agent_id) -> None:
    """An endpoint as if it had been verified."""
    async with services.database.transaction() as db:
        now = await services.clock.now(db)
        await db.execute(
            text("insert into agents (id, created_at) values (:id, :at) on conflict do nothing"),
            {"id": owner_id, "at": now},
        )
        statement = text(
            """
            insert into endpoints (id, agent_id, url, state, secrets, attempts, attempts_before, created_at, updated_at)
            values (:id, :agent, :url, 'active', cast(:secrets as jsonb), 0, 0, :now, :now)
            on conflict do nothing
            """
        )
        secrets = sealed_secrets(id, now)
        await db.execute(statement, {"id": id, "agent": owner_id, "url": url, "secrets": secrets, "now": now})


async def send(services: Services, endpoint_ids: Sequence[str], said: bytes | None = None) -> None:
    """Publish a message to each of these, in one commit."""
    async with services.database.transaction() as db:
        now = await services.clock.now(db)
        outgoing = [Outgoing("schedule.fired", said or body(), [endpoint_id]) for endpoint_id in endpoint_ids]
        await services.deliveries.send(db, outgoing, now)
    services.wake.ring("deliveries")


def wait_until_concluded(on: Stage, count: int) -> None:
    """All of them have been delivered, and that is written down."""
    with psycopg.connect(on.postgres.url, autocommit=True) as db:
        while True:
            row = db.execute("select count(*) from deliveries where state = 'delivered'").fetchone()
            if row is not None and row[0] >= count:
                return
            time.sleep(0.1)
