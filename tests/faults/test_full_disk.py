"""The disk that Postgres keeps its tables on is full, and has room again."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.local.valkey import Valkey
from app.local.watchdog import Watchdog
from tests.faults.disks import SmallDisk, small_disk, why_not
from tests.faults.ear import Ear
from tests.faults.publisher import Publisher
from tests.faults.reconciliation import Case
from tests.faults.relay import Relay, until
from tocsin.client import AsyncClient

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("faults")]

refusals_least = 40


@pytest.fixture
def disk(tmp_path: Path, watchdog: Watchdog) -> Iterator[SmallDisk]:
    if (reason := why_not(tmp_path)) is not None:
        pytest.skip(f"no disk can be mounted here that can be filled: {reason}")
    with small_disk(tmp_path, watchdog) as disk:
        yield disk


@pytest.fixture
def relay(disk: SmallDisk, tmp_path: Path, watchdog: Watchdog) -> Iterator[Relay]:
    relay = Relay(tmp_path, disk.postgres, Valkey.start(tmp_path, watchdog=watchdog), watchdog, disk.database_url)
    yield relay
    relay.close()
    relay.valkey.stop()


@pytest.mark.case("Postgres: disk full")
async def test_a_full_disk_is_said_to_be_full_and_all_goes_on_once_there_is_room(
    disk: SmallDisk, relay: Relay, case: Case, ear: Ear, publisher: Publisher
) -> None:
    api, worker = relay.api(), relay.worker(DELIVERY_LEASE_SECONDS=60)
    await publisher.introduce(relay, [await api.ready()], ear.url)
    ended = asyncio.Event()
    publishing = asyncio.create_task(publisher.publish_until(ended, apart_seconds=0.04))
    try:
        await relay.until_count("state = 'delivered'", 30)
        await asyncio.to_thread(disk.fill)

        async def refused() -> bool:
            return len(publisher.refusals) >= refusals_least

        # Pages that are there already are filled first.
        await until(refused, lambda: f"{len(publisher.refusals)} refusals\n{relay.logs()}")
        async with AsyncClient(api.url, publisher.key) as client:
            assert (await client.agents.me()).id, "what only reads goes on"
        before = await relay.count("state = 'delivered'")
        await asyncio.to_thread(disk.make_room)
        await relay.until_count("state = 'delivered'", before + 30)
    finally:
        ended.set()
        await publishing
    await relay.until_settled()

    kinds = {answer.json()["type"] for answer in publisher.refusals if answer.status_code == 503}
    assert kinds == {"/problems/database-full"}
    assert not publisher.broken, "nobody was cut off"
    case.accepted |= publisher.accepted
    row = await case.reconcile(ear.heard)
    assert row["delivered"] == row["received"] == row["accepted"]
    assert [await part.stop() for part in (worker,)] == [0], "it has never been restarted"
