"""`kill -9` of the API in the middle of requests."""

import asyncio

import pytest

from tests.faults.ear import Ear
from tests.faults.publisher import Publisher
from tests.faults.reconciliation import Case
from tests.faults.relay import Relay

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("faults")]

messages = 120
kills = 2


@pytest.mark.case("kill -9 of the API while it is published to")
async def test_a_request_that_is_repeated_with_its_key_happens_once_however_it_was_cut_off(
    relay: Relay, case: Case, ear: Ear, publisher: Publisher
) -> None:
    api, _ = relay.api(), relay.worker()
    await publisher.introduce(relay, [await api.ready()], ear.url)
    publishing = asyncio.create_task(publisher.publish(messages))
    for kill in range(1, kills + 1):
        await relay.until_count("true", kill * messages // 4)
        await api.kill()
        api = relay.api(api.port)
    await publishing
    first = dict(publisher.answers)

    # Everything once more, with the same keys: what was answered is answered so again, and nothing is sent.
    await asyncio.gather(*(publisher.send(key) for key in first))
    await relay.until_settled()

    assert publisher.broken, "nothing was cut off"
    assert publisher.answers == first
    assert len(publisher.accepted) == messages
    case.accepted |= publisher.accepted
    row = await case.reconcile(ear.heard)
    assert row["delivered"] == row["received"] == messages
