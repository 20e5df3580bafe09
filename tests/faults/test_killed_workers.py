"""`kill -9` of workers in the middle of it."""

import pytest

from tests.faults.ear import Ear
from tests.faults.reconciliation import Case
from tests.faults.relay import Relay

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("faults")]

messages = 500


@pytest.mark.case("kill -9 of the worker")
async def test_what_a_killed_worker_had_in_flight_is_made_again_by_the_next(relay: Relay, case: Case, ear: Ear) -> None:
    worker = relay.worker()
    async with relay.services() as services:
        endpoint_id = await relay.endpoint(services, ear.url)
        case.accepted |= await relay.publish(services, endpoint_id, messages)

    await relay.until_count("state = 'delivered'", messages // 5)
    await worker.kill()
    await case.cut()
    relay.worker()
    await relay.until_settled()

    row = await case.reconcile(ear.heard)
    assert row["delivered"] == messages


@pytest.mark.case("kill -9 of one of two workers")
async def test_what_one_of_two_workers_had_in_flight_is_made_again_by_the_other(
    relay: Relay, case: Case, ear: Ear
) -> None:
    doomed, _ = relay.worker(), relay.worker()
    async with relay.services() as services:
        endpoint_id = await relay.endpoint(services, ear.url)
        case.accepted |= await relay.publish(services, endpoint_id, messages)

    await relay.until_count("state = 'delivered'", messages // 5)
    await doomed.kill()
    await case.cut()
    await relay.until_settled()

    row = await case.reconcile(ear.heard)
    assert row["delivered"] == messages
