"""Wall clocks step by an hour, in either direction, while deliveries are under way."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.local.watchdog import Watchdog
from app.services import Services
from tests.faults.clocks import COMPILER, Clocks, preloaded, told
from tests.faults.ear import Ear, hearing
from tests.faults.reconciliation import Case
from tests.faults.relay import Relay, long

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("faults")]

HOUR = 3600
messages = 24
# So long that some are in flight at each step.
hold_seconds = 0.3


@pytest.fixture(params=["told", "preloaded"] if long else ["told"])
def clocks(request: pytest.FixtureRequest, tmp_path: Path, watchdog: Watchdog) -> Iterator[Clocks]:
    if request.param == "told":
        yield told(request.getfixturevalue("relay_here"))
    elif COMPILER is None:
        pytest.skip("there is no C compiler to make the library of clocks that step; the other way is tested")
    else:
        with preloaded(tmp_path, watchdog) as clocks:
            yield clocks


@pytest.fixture
def relay(clocks: Clocks) -> Relay:
    return clocks.relay


@pytest.mark.case("clocks step by an hour")
async def test_steps_of_the_clocks_lose_nothing_and_hold_nothing_up(clocks: Clocks, case: Case) -> None:
    relay = clocks.relay
    clocks.worker()
    async with relay.services() as services, hearing(Ear(hold_seconds)) as ear:
        endpoint_id = await relay.endpoint(services, ear.url)
        for off in (HOUR, -HOUR, 0):
            await under_way(relay, case, services, endpoint_id)
            clocks.set_workers(off)
            await delivers(relay, case, services, endpoint_id)
        for off in (HOUR, 0, -HOUR, 0):
            await under_way(relay, case, services, endpoint_id)
            # Forward, all leases end at once; the worker knows what it carries itself.
            clocks.set_postgres(off)
            await delivers(relay, case, services, endpoint_id)
        row = await case.reconcile(ear.heard)
    assert row["delivered"] == row["accepted"] == 14 * messages


async def under_way(relay: Relay, case: Case, services: Services, endpoint_id: str) -> None:
    """Some messages have been claimed, and are not all delivered yet."""
    case.accepted |= await relay.publish(services, endpoint_id, messages)
    while await relay.count("state = 'pending' and attempts = 0"):
        await asyncio.sleep(0.02)


async def delivers(relay: Relay, case: Case, services: Services, endpoint_id: str) -> None:
    """What is published now arrives, and so does what was under way."""
    case.accepted |= await relay.publish(services, endpoint_id, messages)
    await relay.until_settled()
