"""More is due than there are places to fly from."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from aiohttp import web
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.attempts import LADDER
from app.deliveries.conclusions import Concluded
from app.deliveries.courier import lease_margin_seconds
from app.deliveries.service import Outgoing
from app.kit.due import drain
from app.kit.wake import Silence
from app.services import Services, open_services
from app.settings import DeliverySettings, Settings
from tests.receivers import Post, Receiver, receiving
from tests.world import OwnClock, TestAgent

LEASE = timedelta(seconds=60)


async def ring_twice(services: Services, endpoint_id: str) -> None:
    async with services.database.transaction() as db:
        messages = [Outgoing("test.said", b'{"type":"test.said","data":{}}', [endpoint_id])] * 2
        await services.deliveries.send(db, messages, await services.clock.now(db))


async def test_waiting_in_vain_for_a_place_costs_no_attempt(
    settings: Settings, agent: TestAgent, clock: OwnClock
) -> None:
    def fails_and_takes_a_whole_lease_at_first(post: Post) -> web.Response:
        if len(receiver.rings) == 1:
            clock.at += LEASE
        return web.Response(status=500)

    async with (
        receiving(Receiver(answers=fails_and_takes_a_whole_lease_at_first)) as receiver,
        open_services(
            _with(settings, DeliverySettings(connections=1)), Silence(), name="tests", clock=clock
        ) as services,
    ):
        endpoint = (await agent.post("/v1/endpoints", {"url": receiver.url})).json()
        await drain(services.deliveries.verify_next)
        await ring_twice(services, endpoint["id"])
        await drain(services.deliveries.deliver_next)

    listed = (await agent.get("/v1/deliveries")).json()["items"]
    failed = [(await agent.get(f"/v1/deliveries/{item['id']}")).json() for item in listed]
    # Both stand on the ladder's first step, and not one of them further up for having waited.
    assert [len(each["history"]) for each in failed] == [1, 1]
    soonest = clock.at + LADDER[1]
    assert all(datetime.fromisoformat(each["next_attempt_at"]) < soonest + LADDER[1] for each in failed)


@pytest.mark.parametrize("waits_seconds", [0, 30, 42.5, 43, 45])
async def test_what_takes_off_late_and_lands_at_its_deadline_is_still_leased_for_its_conclusion(
    settings: Settings, agent: TestAgent, clock: OwnClock, waits_seconds: float
) -> None:
    left_seconds = list[float]()

    async def looks_at_the_lease(post: Post) -> web.Response:
        async with services.database.transaction() as db:
            question = text("select due_at from deliveries where :webhook_id like '%' || message_id")
            lease_end: datetime = (await db.execute(question, {"webhook_id": post.id})).scalar_one()
        left_seconds.append((lease_end - clock.at).total_seconds())
        clock.advance(seconds=waits_seconds)
        return web.Response(status=204)

    one_place = DeliverySettings(connections=1)
    async with (
        receiving(Receiver(answers=looks_at_the_lease)) as receiver,
        open_services(_with(settings, one_place), Silence(), name="tests", clock=clock) as services,
    ):
        endpoint = (await agent.post("/v1/endpoints", {"url": receiver.url})).json()
        await drain(services.deliveries.verify_next)
        await ring_twice(services, endpoint["id"])
        await drain(services.deliveries.deliver_next)

    assert len(left_seconds) == 2
    assert min(left_seconds) >= one_place.timeout_seconds + lease_margin_seconds / 2


@pytest.mark.parametrize(("waits_seconds", "is_given_back"), [(2, False), (3, True)])
async def test_the_least_lease_leaves_time_to_wait_for_a_place(
    settings: Settings, agent: TestAgent, clock: OwnClock, waits_seconds: float, is_given_back: bool
) -> None:
    def takes_a_while(post: Post) -> web.Response:
        clock.advance(seconds=waits_seconds)
        return web.Response(status=204)

    least = DeliverySettings(connections=1, timeout_seconds=15, lease_seconds=20)
    async with (
        receiving(Receiver(answers=takes_a_while)) as receiver,
        open_services(_with(settings, least), Silence(), name="tests", clock=clock) as services,
    ):
        endpoint = (await agent.post("/v1/endpoints", {"url": receiver.url})).json()
        await drain(services.deliveries.verify_next)
        await ring_twice(services, endpoint["id"])
        await drain(services.deliveries.deliver_next)
        given_back = await _given_back(services)

    assert len(receiver.rings) == 2
    assert given_back == is_given_back


async def test_what_a_long_round_has_claimed_takes_off_by_the_time_of_its_claim(
    settings: Settings, agent: TestAgent, clock: OwnClock
) -> None:
    class Slow:
        """Takes most of a lease to hear of a conclusion, in the round that has just claimed another delivery."""

        async def concluded(self, db: AsyncSession, conclusions: Sequence[Concluded], now: datetime) -> bool:
            clock.advance(seconds=50)
            return False

        async def endpoint_leaves(self, db: AsyncSession, endpoint_id: str, subjects: Sequence[str]) -> None:
            """Has nothing to lock."""

    async with (
        receiving() as receiver,
        open_services(settings, Silence(), name="tests", clock=clock) as services,
    ):
        endpoint = (await agent.post("/v1/endpoints", {"url": receiver.url})).json()
        await drain(services.deliveries.verify_next)
        await _ring(services, endpoint["id"], subject="fir_1")
        await services.deliveries.deliver_next()
        await _ring(services, endpoint["id"], subject=None)
        services.deliveries.listen(Slow())
        await drain(services.deliveries.deliver_next)
        given_back = await _given_back(services)

    assert len(receiver.rings) == 2
    assert given_back


def _with(settings: Settings, delivery: DeliverySettings) -> Settings:
    return settings.model_copy(update={"delivery": delivery})


async def _ring(services: Services, endpoint_id: str, subject: str | None) -> None:
    async with services.database.transaction() as db:
        message = Outgoing("test.said", b'{"type":"test.said","data":{}}', [endpoint_id], subject=subject)
        await services.deliveries.send(db, [message], await services.clock.now(db))


async def _given_back(services: Services) -> bool:
    """Whether anything that was claimed was not sent, and is due again."""
    async with services.database.transaction() as db:
        return bool(await db.scalar(text("select max(unsent) from deliveries")))
