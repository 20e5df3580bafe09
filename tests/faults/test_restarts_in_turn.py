"""A new release is rolled out: two APIs and two workers are restarted in turn, under load."""

import asyncio
import signal

import pytest

from tests.faults.ear import Ear
from tests.faults.publisher import Publisher
from tests.faults.reconciliation import Case
from tests.faults.relay import Relay

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("faults")]


@pytest.mark.case("two APIs and two workers restarted in turn")
async def test_restarts_in_turn_lose_nothing_and_repeat_nothing(
    relay: Relay, case: Case, ear: Ear, publisher: Publisher
) -> None:
    apis, workers = [relay.api(), relay.api()], [relay.worker(), relay.worker()]
    for part in (*apis, *workers):
        await part.ready()
    await publisher.introduce(relay, apis, ear.url)
    ended = asyncio.Event()
    publishing = asyncio.create_task(publisher.publish_until(ended, apart_seconds=0.04))
    codes: list[int | None] = []
    try:
        for number in range(2):
            await relay.until_count("state = 'delivered'", 20 * (2 * number + 1))
            codes.append(await apis[number].stop())
            await relay.api(apis[number].port).ready()
            await relay.until_count("state = 'delivered'", 20 * (2 * number + 2))
            codes.append(await workers[number].stop())
            await relay.worker().ready()
    finally:
        ended.set()
        await publishing
    await relay.until_settled()

    # uvicorn ends by the signal that it was asked by, once it has answered everything.
    assert codes == [-signal.SIGTERM, 0] * 2
    case.accepted |= publisher.accepted
    row = await case.reconcile(ear.heard)
    assert row["delivered"] == row["received"] == row["accepted"]
