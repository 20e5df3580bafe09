"""The doorbell, on a real Valkey."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from sqlalchemy.exc import OperationalError

from app.kit import limits, telemetry
from app.kit.wake import Bells, Doorbell, waiting_key
from app.local.valkey import Valkey
from app.settings import Settings
from tests.logged import Lines, written
from workers import main as worker

__all__ = ["written"]


@pytest.fixture
async def client(valkey: Valkey) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey.url) as opened:
        await opened.flushall()
        await opened.config_resetstat()
        yield opened


@pytest.fixture
async def doorbell(valkey: Valkey, client: Redis) -> AsyncIterator[Doorbell]:
    opened = Doorbell(valkey.url)
    yield opened
    await opened.close()


@pytest.fixture
async def heard(settings: Settings, client: Redis) -> AsyncIterator[asyncio.Queue[str]]:
    """What a listening worker heard."""
    rings: asyncio.Queue[str] = asyncio.Queue()
    bells = Bells()

    async def hear() -> None:
        rings.put_nowait("housekeeping")

    bells.hang("housekeeping", hear)
    listening = asyncio.create_task(worker.answer_doorbell(settings, bells))
    yield rings
    await worker.end([listening])
    await bells.close()


async def test_a_ring_reaches_the_worker(doorbell: Doorbell, heard: asyncio.Queue[str]) -> None:
    doorbell.ring("housekeeping")
    assert await asyncio.wait_for(heard.get(), 5) == "housekeeping"


async def test_rings_wait_as_one_while_no_worker_listens(doorbell: Doorbell, client: Redis) -> None:
    for _ in range(50):
        doorbell.ring("deliveries")
        await asyncio.sleep(0)
    await doorbell.close()
    assert await client.zcard("arq:queue") == 1
    assert await client.get(waiting_key("deliveries")) is not None


async def test_rings_that_follow_one_another_go_together(
    valkey: Valkey, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "rings_apart_seconds", 3600)
    doorbell = Doorbell(valkey.url)
    doorbell.ring("deliveries")
    while await _rung(client) < 1:
        await asyncio.sleep(0)
    for _ in range(50):
        doorbell.ring("deliveries")
        await asyncio.sleep(0)

    assert await _rung(client) == 1
    await doorbell.close()
    assert await _rung(client) == 2


async def test_what_was_rung_before_the_doorbell_closed_is_rung(valkey: Valkey, client: Redis) -> None:
    doorbell = Doorbell(valkey.url)
    doorbell.ring("deliveries")
    await doorbell.close()
    assert await client.zcard("arq:queue") == 1


async def test_a_doorbell_that_was_closed_rings_no_more(valkey: Valkey, client: Redis) -> None:
    doorbell = Doorbell(valkey.url)
    doorbell.ring("deliveries")
    await doorbell.close()
    await client.flushall()
    doorbell.ring("deliveries")
    await doorbell.close()
    assert await client.zcard("arq:queue") == 0


@pytest.fixture
def deaf() -> Iterator[str]:
    """A Valkey that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}"


async def test_a_valkey_that_never_answers_holds_up_the_end_for_a_second_and_not_for_each_ring(deaf: str) -> None:
    features = [f"feature-{number}" for number in range(20)]
    lost = [_lost(feature) for feature in features]
    doorbell = Doorbell(deaf)
    for feature in features:  # each of which would give up after a second
        doorbell.ring(feature)
    async with asyncio.timeout(10):
        await doorbell.close()

    assert [_lost(feature) for feature in features] == [before + 1 for before in lost]


async def test_what_is_lost_with_the_end_of_a_process_is_counted_and_named(
    deaf: str, written: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "last_rings_seconds", 0.05)  # well before a ring gives up of itself
    telemetry.configure("json", "info")
    features = ["under way", "under way, and rung again", "just rung"]
    lost = [_lost(feature) for feature in features]
    doorbell = Doorbell(deaf)
    doorbell.ring(features[0])
    doorbell.ring(features[1])
    for _ in range(10):
        await asyncio.sleep(0)
    doorbell.ring(features[1])
    doorbell.ring(features[2])
    await doorbell.close()
    await doorbell.close()

    assert [_lost(feature) for feature in features] == [before + 1 for before in lost]
    [line] = map(json.loads, written())
    assert (line["level"], line["features"]) == ("warning", sorted(features))


async def _rung(client: Redis) -> int:
    """How often Valkey was asked to let a wake wait, in this test."""
    statistics = await client.info("commandstats")
    return statistics.get("cmdstat_set", {}).get("calls", 0)


async def test_a_flushed_valkey_hears_the_next_ring(
    doorbell: Doorbell, heard: asyncio.Queue[str], client: Redis
) -> None:
    doorbell.ring("housekeeping")
    await asyncio.wait_for(heard.get(), 5)
    await client.flushall()
    doorbell.ring("housekeeping")
    assert await asyncio.wait_for(heard.get(), 5) == "housekeeping"


async def test_a_dead_valkey_costs_the_caller_nothing() -> None:
    lost = _lost("deliveries")
    doorbell = Doorbell("redis://127.0.0.1:1")
    doorbell.ring("deliveries")
    async with asyncio.timeout(5):
        while _lost("deliveries") == lost:
            await asyncio.sleep(0)
    await doorbell.close()
    assert _lost("deliveries") == lost + 1


def _lost(feature: str) -> float:
    """How many wakes the metrics count as lost."""
    return REGISTRY.get_sample_value("tocsin_wakes_lost_total", {"feature": feature}) or 0.0


async def test_a_ring_during_a_drain_makes_it_look_once_more() -> None:
    looks, bells, hold = 0, Bells(), asyncio.Event()

    async def drain() -> None:
        nonlocal looks
        looks += 1
        await hold.wait()

    bells.hang("deliveries", drain)
    for _ in range(5):
        bells.ring("deliveries")
        await asyncio.sleep(0)
    assert looks == 1
    hold.set()
    while looks < 2:
        await asyncio.sleep(0)
    await bells.close()
    assert looks == 2


async def test_a_ring_during_a_drain_tells_it_to_hurry() -> None:
    bells, hold = Bells(), asyncio.Event()

    async def drain() -> None:
        await hold.wait()

    bells.hang("deliveries", drain, hurry=hold.set)
    bells.ring("deliveries")
    await asyncio.sleep(0)
    assert not hold.is_set()
    bells.ring("deliveries")
    assert hold.is_set()
    await bells.close()


async def test_an_outage_of_the_database_is_told_when_it_begins_and_when_it_ends(written: Lines) -> None:
    telemetry.configure("json", "info")
    away = OperationalError("select 1", {}, Exception("connection refused\nis the server running?"))
    outcomes, bells, rounds = [away, away, None, None], Bells(), 0

    async def drain() -> None:
        nonlocal rounds
        rounds += 1
        if outcome := outcomes[rounds - 1]:
            raise outcome

    bells.hang("deliveries", drain)
    while rounds < len(outcomes):
        bells.ring("deliveries")
        await asyncio.sleep(0)
    await bells.close()

    began, ended = map(json.loads, written())
    assert (began["level"], began["feature"], began["error"]) == ("warning", "deliveries", "connection refused")
    assert (ended["level"], ended["feature"]) == ("info", "deliveries")


async def test_a_drain_that_failed_is_started_again_by_the_next_ring() -> None:
    outcomes, bells, done = [RuntimeError("the database is away")], Bells(), asyncio.Event()

    async def drain() -> None:
        if outcomes:
            raise outcomes.pop()
        done.set()

    bells.hang("deliveries", drain)
    bells.ring("deliveries")
    async with asyncio.timeout(5):
        while not done.is_set():
            bells.ring("deliveries")
            await asyncio.sleep(0)
    await bells.close()
