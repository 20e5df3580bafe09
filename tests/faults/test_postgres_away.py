"""Postgres restarts, is away, and stands still."""

import asyncio
import signal

import psutil
import pytest

from tests.faults.ear import Ear
from tests.faults.publisher import Publisher
from tests.faults.reconciliation import Case
from tests.faults.relay import Relay, long

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("faults")]

away_seconds = 10.0
still_seconds = 10.0 if long else 5.0
# A conclusion that cannot be written is written once it can; a second attempt is made only after the lease.
lease_seconds = 60


@pytest.mark.case("Postgres: restart, kill -9, 10 s away")
async def test_while_postgres_is_away_the_api_says_so_and_what_was_accepted_is_kept(
    relay: Relay, case: Case, ear: Ear, publisher: Publisher
) -> None:
    api, _ = relay.api(), relay.worker(DELIVERY_LEASE_SECONDS=lease_seconds)
    await publisher.introduce(relay, [await api.ready()], ear.url)
    ended = asyncio.Event()
    publishing = asyncio.create_task(publisher.publish_until(ended, apart_seconds=0.05))
    try:
        await relay.until_count("state = 'delivered'", 20)
        await asyncio.to_thread(relay.postgres.restart)
        await relay.until_count("state = 'delivered'", 40)
        for process in family(relay.postgres.pid):
            process.kill()
        await asyncio.to_thread(relay.postgres.restart)
        await relay.until_count("state = 'delivered'", 60)
        await asyncio.to_thread(relay.postgres.stop)
        refused = len(publisher.refusals)
        await asyncio.sleep(away_seconds)
        refusals = publisher.refusals[refused:]
        await asyncio.to_thread(relay.postgres.launch)
        await relay.until_count("state = 'delivered'", 80)
    finally:
        ended.set()
        await publishing
    await relay.until_settled()

    assert refusals
    assert {answer.json()["type"] for answer in refusals} == {"/problems/database-unavailable"}
    case.accepted |= publisher.accepted
    row = await case.reconcile(ear.heard)
    assert row["delivered"] == row["received"] == row["accepted"]


@pytest.mark.case("Postgres: stands still")
async def test_a_postgres_that_stands_still_and_goes_on_loses_and_repeats_nothing(
    relay: Relay, case: Case, ear: Ear, publisher: Publisher
) -> None:
    api, _ = relay.api(), relay.worker(DELIVERY_LEASE_SECONDS=lease_seconds)
    await publisher.introduce(relay, [await api.ready()], ear.url)
    publishing = asyncio.create_task(publisher.publish(100, apart_seconds=0.05))
    await relay.until_count("state = 'delivered'", 20)
    frozen = family(relay.postgres.pid)
    for process in frozen:
        process.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(still_seconds)
    finally:
        for process in frozen:
            process.send_signal(signal.SIGCONT)
    await publishing
    await relay.until_settled()

    case.accepted |= publisher.accepted
    row = await case.reconcile(ear.heard)
    assert row["delivered"] == row["received"] == row["accepted"] == 100


def family(pid: int) -> list[psutil.Process]:
    """The postmaster and its children; the postmaster first, so that it starts no others."""
    postmaster = psutil.Process(pid)
    return [postmaster, *postmaster.children(recursive=True)]
