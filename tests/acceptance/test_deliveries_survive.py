"""Nothing that was accepted is lost: real processes are killed and restarted in the middle of 500 due deliveries."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import psycopg
import pytest
import redis
from aiohttp import web
from sqlalchemy import text

from app.deliveries.service import Outgoing
from app.kit.wake import Silence
from app.local import migrations
from app.local.postgres import Postgres
from app.local.valkey import Valkey
from app.services import Services, open_services
from app.settings import ApiSettings, DatabaseSettings, OutboundSettings, SecretSettings, Settings, ValkeySettings
from tests.acceptance.forks import become_worker, forks
from tests.receivers import Post, Receiver, receiving
from tests.sealed import SECRET_KEY
from tests.world import EPOCH
from tocsin.schemas.endpoints import NewEndpoint

pytestmark = pytest.mark.acceptance

deliveries = 500
timeout_seconds = 5
lease_seconds = 10
seconds_max = 60.0


@dataclass
class Relay:
    """Postgres, Valkey and workers, each of which can be ended by itself."""

    home: Path
    postgres: Postgres
    valkey: Valkey
    workers: list[BaseProcess] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        return Settings(
            database=DatabaseSettings(url=self.postgres.url),
            valkey=ValkeySettings(url=self.valkey.url),
            secret=SecretSettings(key=SECRET_KEY),
            api=ApiSettings(),
            outbound=OutboundSettings(allow=("127.0.0.0/8",)),
        )

    def start_worker(self) -> BaseProcess:
        told = {
            "TOCSIN_DATABASE_URL": self.postgres.url,
            "TOCSIN_VALKEY_URL": self.valkey.url,
            "TOCSIN_SECRET_KEY": SECRET_KEY.text,
            "TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8",
            "TOCSIN_DELIVERY_TIMEOUT_SECONDS": str(timeout_seconds),
            "TOCSIN_DELIVERY_LEASE_SECONDS": str(lease_seconds),
        }
        worker = forks.Process(target=become_worker, args=(told, self.home / f"worker-{len(self.workers)}.log"))
        worker.start()
        self.workers.append(worker)
        return worker


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    postgres, valkey = Postgres.start(tmp_path), Valkey.start(tmp_path)
    migrations.migrate(postgres.url)
    running = Relay(tmp_path, postgres, valkey)
    try:
        yield running
    finally:
        for worker in running.workers:
            worker.kill()
            worker.join()
        valkey.stop()
        postgres.stop()


@pytest.fixture
async def services(relay: Relay) -> AsyncIterator[Services]:
    async with open_services(relay.settings, Silence(), name="publisher") as opened:
        yield opened


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async def steadily(post: Post) -> web.Response:
        await asyncio.sleep(0.05)
        return web.Response(status=204)

    async with receiving(Receiver(answers=steadily)) as listening:
        yield listening


async def test_kill_flush_and_restart_lose_nothing_and_repeat_nothing_that_was_concluded(
    relay: Relay, services: Services, receiver: Receiver
) -> None:
    endpoint_id = await registered(services, receiver)
    worker = relay.start_worker()
    await until(lambda: is_active(services, endpoint_id))
    async with services.database.transaction() as db:
        now = await services.clock.now(db)
        one = Outgoing("test.said", b'{"type":"test.said","data":{}}', [endpoint_id])
        sent = await services.deliveries.send(db, [one] * deliveries, now)

    await until(lambda: has_concluded(relay, 50))
    redis.Redis.from_url(relay.valkey.url).flushall()
    await until(lambda: has_concluded(relay, 100))
    worker.kill()
    await asyncio.to_thread(worker.join)
    at_the_kill = concluded(relay), counted(receiver)
    relay.start_worker()
    await until(lambda: has_concluded(relay, 250))
    await asyncio.to_thread(relay.postgres.restart)
    at_the_restart = concluded(relay), counted(receiver)
    await until(lambda: has_concluded(relay, deliveries))

    receipts = counted(receiver)
    assert set(receipts) == {f"{endpoint_id}_{each.message_id}" for each in sent}
    assert concluded(relay) == set(receipts)
    for ids, before in (at_the_kill, at_the_restart):
        assert ids, "something was concluded before"
        assert {id: receipts[id] for id in ids} == {id: before[id] for id in ids}
    # Repeated is what was in flight when the worker was killed, or had landed and was not written down yet.
    assert sum(receipts.values()) - deliveries <= 4 * services.settings.delivery.connections


async def registered(services: Services, receiver: Receiver) -> str:
    async with services.database.transaction() as db:
        now = await services.clock.now(db)
        await db.execute(text("insert into agents (id, created_at) values ('agt_1', :at)"), {"at": EPOCH})
        created = await services.deliveries.endpoints.create(db, "agt_1", NewEndpoint(url=receiver.url), now)
    return created.id


async def is_active(services: Services, endpoint_id: str) -> bool:
    async with services.database.transaction() as db:
        now = await services.clock.now(db)
        return (await services.deliveries.endpoints.get(db, "agt_1", endpoint_id, now)).state == "active"


async def has_concluded(relay: Relay, number: int) -> bool:
    return len(await asyncio.to_thread(concluded, relay)) >= number


def counted(receiver: Receiver) -> Counter[str]:
    return Counter(ring.id for ring in receiver.rings)


def concluded(relay: Relay) -> set[str]:
    """The webhook-ids whose deliveries are concluded, as a stranger to our code reads them."""
    question = "select endpoint_id || '_' || message_id from deliveries where state = 'delivered'"
    with psycopg.connect(relay.postgres.url) as db:
        return {row[0] for row in db.execute(question)}


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(seconds_max):
        while not await true():
            await asyncio.sleep(0.05)
