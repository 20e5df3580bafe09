"""Workers are killed while a chain moves on: every event is still told, in order, and under one message."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.local.postgres import Postgres
from app.local.valkey import Valkey
from examples.devchain import DevChain, Token, transfer_topic
from tests.acceptance.conftest import StartRelay
from tests.acceptance.relays import Account, Relay, run
from tests.receivers import Receiver, receiving
from tests.sealed import SECRET_KEY
from tocsin import AsyncClient, PrivateKey
from tocsin.schemas.subscriptions import EvmLog, NewSubscription

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]

COMMAND: list[str | Path] = [Path(sys.executable).parent / "tocsin"]
US = Account("us")
transfers = 30
seconds_max = 90


@pytest.fixture
async def chain() -> AsyncIterator[DevChain]:
    async with DevChain.start(mining=False) as chain:
        yield chain


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def around(home: Path, chain: DevChain) -> Iterator[dict[str, str]]:
    """What a relay's processes are told: servers of their own, and the chain."""
    postgres, valkey = Postgres.start(home / "servers", durable=False), Valkey.start(home / "servers")
    yield {
        "TOCSIN_DATABASE_URL": postgres.url,
        "TOCSIN_VALKEY_URL": valkey.url,
        "TOCSIN_SECRET_KEY": SECRET_KEY.text,
        "TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8",
        "TOCSIN_CHAINS": json.dumps({"eip155:31337": {"rpc_url": chain.url, "poll_seconds": 0.1}}),
    }
    valkey.stop()
    postgres.stop()


async def test_no_event_is_lost_or_doubled_when_workers_are_killed(
    home: Path, around: dict[str, str], start: StartRelay, chain: DevChain, receiver: Receiver
) -> None:
    token = await Token.deploy(chain)
    await asyncio.to_thread(run, [*COMMAND, "migrate"], home, US, **around)
    api = start([*COMMAND, "api"], US, **around)
    workers = [start([*COMMAND, "worker"], US, **around) for _ in range(2)]
    await asyncio.to_thread(api.wait_until_answering)
    for worker in workers:
        await asyncio.to_thread(worker.wait_for_line, "the worker listens")

    key = PrivateKey.generate()
    async with AsyncClient(api.url, key) as client, asyncio.timeout(seconds_max):
        await client.agents.register(key, "watcher")
        endpoint = await client.endpoints.create(receiver.url)
        wanted = EvmLog(kind="evm.log", chain="eip155:31337", address=token.address, topics=[transfer_topic])
        subscription = await client.subscriptions.create(NewSubscription(source=wanted, endpoint_id=endpoint.id))
        while (await client.subscriptions.get(subscription.id)).state != "active":
            await asyncio.sleep(0.1)
        for value in range(1, transfers + 1):
            await token.mint(chain.accounts[1], value)
            await chain.mine()
            if value % 10 == 5:
                await _replace(workers, start, around)
        events = await _events(client, subscription.id)
        while len({post.id for post in receiver.rings}) < transfers:
            await asyncio.sleep(0.1)

    assert [int(event["payload"]["log"]["data"], 16) for event in events] == list(range(1, transfers + 1))
    assert [event["seq"] for event in events] == list(range(1, transfers + 1))
    # A ring may come twice, if its worker died after the answer; but never under two ids.
    messages = {(post.json["data"]["event_id"], post.id) for post in receiver.rings}
    assert len(messages) == transfers
    assert {event_id for event_id, _ in messages} == {event["event_id"] for event in events}


async def _replace(workers: list[Relay], start: StartRelay, around: dict[str, str]) -> None:
    """Kill the oldest worker, and start another."""
    killed = workers.pop(0)
    killed.process.kill()
    killed.process.wait()
    workers.append(await asyncio.to_thread(start, [*COMMAND, "worker"], US, **around))


async def _events(client: AsyncClient, subscription_id: str) -> list[dict]:
    """Everything that was told, by cursor, waiting for what is not there yet."""
    events: list[dict] = []
    after = None
    while len(events) < transfers:
        page = await client.subscriptions.events(subscription_id, after, wait_seconds=10)
        events += [item.data.model_dump() for item in page.items]
        after = page.next
    return events
