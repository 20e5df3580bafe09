"""Valkey forgets everything, restarts, and stays away."""

import asyncio

import pytest
import redis

from tests.faults.ear import Ear
from tests.faults.publisher import Publisher
from tests.faults.reconciliation import Case
from tests.faults.relay import Relay, long

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("faults")]

away_seconds = 60.0 if long else 8.0


@pytest.mark.case("Valkey: FLUSHALL, restart, absence")
async def test_without_valkey_the_relay_accepts_and_delivers_as_before(
    relay: Relay, case: Case, ear: Ear, publisher: Publisher
) -> None:
    api, _ = relay.api(), relay.worker()
    await publisher.introduce(relay, [await api.ready()], ear.url)
    ended = asyncio.Event()
    publishing = asyncio.create_task(publisher.publish_until(ended, apart_seconds=0.05))
    try:
        await relay.until_count("state = 'delivered'", 20)
        redis.Redis.from_url(relay.valkey.url).flushall()
        await relay.until_count("state = 'delivered'", 40)
        await asyncio.to_thread(relay.valkey.restart)
        await relay.until_count("state = 'delivered'", 60)
        await asyncio.to_thread(relay.valkey.stop)
        await asyncio.sleep(away_seconds)
        meanwhile = await relay.count("state = 'delivered'")
        await asyncio.to_thread(relay.valkey.launch)
        await relay.until_count("state = 'delivered'", meanwhile + 20)
    finally:
        ended.set()
        await publishing
    await relay.until_settled()

    # A sweep each second finds what no bell was rung for.
    assert meanwhile > 60 + away_seconds, "what was published while it was away was delivered while it was away"
    assert not publisher.refusals
    case.accepted |= publisher.accepted
    row = await case.reconcile(ear.heard)
    assert row["delivered"] == row["received"] == row["accepted"]
