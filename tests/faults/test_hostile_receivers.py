"""Receivers that mean harm, beside one that means well."""

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Mapping

import psutil
import pytest

from app.services import Services
from tests.faults.ear import Ear
from tests.faults.hostile import KINDS, Hostile, besieged, lease_and_more_seconds
from tests.faults.reconciliation import Case
from tests.faults.relay import Part, Relay, clean_environment, lease_seconds, until

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("faults")]

messages_each = 2
good_batches, good_batch, good_apart_seconds = 20, 10, 0.25
# How long the good one waits at most for what was committed; a hostile one may take 3 s each time.
good_seconds_max = 20.0
# What a worker may have in memory, whoever answers.
memory_bytes_max = 150 * 1024 * 1024


@pytest.mark.case("hostile receivers beside a good one")
async def test_hostile_receivers_cost_their_own_deliveries_and_no_memory(relay: Relay, case: Case, ear: Ear) -> None:
    # An interpreter of its own, and no fork: then all that it has in memory is its own.
    worker = relay.program([sys.executable, "-m", "workers.main"], clean_environment(), DELIVERY_CONNECTIONS=64)
    await worker.ready()
    async with relay.services() as services, besieged() as hostile:
        kinds = await endpoints(relay, services, hostile)
        good_id = await relay.endpoint(services, ear.url)
        weighing = Weighing(worker)
        for endpoint_id in kinds:
            case.accepted |= await relay.publish(services, endpoint_id, messages_each)
        published = await publish_steadily(relay, services, good_id)
        case.accepted |= published.keys()
        await relay.until_settled(but=[*kinds])
        # The retries come after 5 s, the next after minutes.
        await until(lambda: have_been_tried_again(relay, kinds), lambda: f"{relay.states()}\n{relay.logs()}")
        bytes_max = weighing.result()
        row = await case.reconcile([*ear.heard, *hostile.heard])

    assert row["delivered"] >= len(published), "the good one has everything"
    assert max(heard.at - published[heard.id] for heard in ear.heard) < good_seconds_max
    assert bytes_max < memory_bytes_max, f"{bytes_max / 1024 / 1024:.0f} MiB"
    harmless = {kind for kind, (_, may_count) in KINDS.items() if may_count}
    assert {kinds[id] for id, states in states_by_endpoint(relay).items() if id in kinds and "delivered" in states} <= (
        harmless
    )
    assert row["repeated"] == 0


def test_one_of_them_answers_after_the_lease() -> None:
    assert lease_and_more_seconds > lease_seconds


async def endpoints(relay: Relay, services: Services, hostile: Hostile) -> Mapping[str, str]:
    """An endpoint of each kind: the kind by its id."""
    ids = await asyncio.gather(*(relay.endpoint(services, hostile.url(kind)) for kind in KINDS))
    return dict(zip(ids, KINDS, strict=True))


async def publish_steadily(relay: Relay, services: Services, endpoint_id: str) -> Mapping[str, float]:
    """When each of these was committed."""
    published: dict[str, float] = {}
    for _ in range(good_batches):
        ids = await relay.publish(services, endpoint_id, good_batch)
        published |= dict.fromkeys(ids, time.monotonic())
        await asyncio.sleep(good_apart_seconds)
    return published


async def have_been_tried_again(relay: Relay, endpoint_ids: Mapping[str, str]) -> bool:
    """Each delivery to these has a second attempt on record, or wants none: nothing is in flight."""
    rows = await asyncio.to_thread(
        relay.ask,
        "select d.endpoint_id, bool_and(d.state <> 'pending' or exists "
        "(select from attempts a where a.delivery_id = d.id and a.number > 1)) from deliveries d group by 1",
    )
    return all(dict(rows).get(id) for id in endpoint_ids)


def states_by_endpoint(relay: Relay) -> Mapping[str, set[str]]:
    states: dict[str, set[str]] = defaultdict(set)
    for endpoint_id, state in relay.ask("select distinct endpoint_id, state from deliveries"):
        states[endpoint_id].add(state)
    return states


class Weighing:
    """Looks ten times a second at how much memory a process has."""

    def __init__(self, part: Part) -> None:
        self._process = psutil.Process(part.pid)
        self._most = 0
        self._task = asyncio.create_task(self._look())

    def result(self) -> int:
        self._task.cancel()
        return self._most

    async def _look(self) -> None:
        while True:
            self._most = max(self._most, self._process.memory_info().rss)
            await asyncio.sleep(0.1)
