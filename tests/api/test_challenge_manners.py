"""One host is challenged a few times a second, however many endpoints are registered there, and none is forgotten."""

from app.kit import limits
from app.kit.due import drain
from app.services import Services
from tests.receivers import receiving
from tests.world import OwnClock, TestAgent


async def test_more_challenges_than_a_host_is_asked_at_once_come_later(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    most = limits.challenges_per_host_max
    async with receiving() as receiver, receiving() as elsewhere:
        for _ in range(most + 2):
            (await agent.post("/v1/endpoints", {"url": receiver.url})).raise_for_status()
        (await agent.post("/v1/endpoints", {"url": elsewhere.url})).raise_for_status()
        await drain(services.deliveries.verify_next)
        at_once = (len(receiver.challenges), len(elsewhere.challenges))
        clock.advance(seconds=limits.challenge_deferred_seconds)
        await drain(services.deliveries.verify_next)

    assert at_once == (most, 1)
    assert len({post.json["data"]["endpoint_id"] for post in receiver.challenges}) == most + 2
    assert {endpoint["state"] for endpoint in (await agent.get("/v1/endpoints")).json()["items"]} == {"active"}
