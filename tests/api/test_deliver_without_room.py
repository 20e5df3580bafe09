"""More is due than there are places to fly from."""

from datetime import datetime, timedelta

from aiohttp import web

from app.deliveries.attempts import LADDER
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

    one_place = settings.model_copy(update={"delivery": DeliverySettings(connections=1)})
    async with (
        receiving(Receiver(answers=fails_and_takes_a_whole_lease_at_first)) as receiver,
        open_services(one_place, Silence(), name="tests", clock=clock) as services,
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
