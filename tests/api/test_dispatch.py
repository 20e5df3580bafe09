"""What is dispatched takes off from this process without being claimed, and is lost by nothing that can go wrong."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.conclusions import Concluded
from app.deliveries.service import Dispatched, Outgoing
from app.kit import limits
from app.kit.database import AWAY, Database
from app.kit.due import drain
from app.kit.wake import Silence
from app.services import Services, open_services
from app.settings import DeliverySettings, Settings
from tests.receivers import Post, Receiver, receiving
from tests.world import OwnClock, TestAgent
from workers.deliveries import land

LEASE_SECONDS = 60


@dataclass
class Ear:
    """Hears what concludes."""

    heard: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    async def concluded(self, db: AsyncSession, conclusions: Sequence[Concluded], now: datetime) -> bool:
        self.heard += [(each.subject, each.state) for each in conclusions]
        return False

    async def endpoint_leaves(self, db: AsyncSession, endpoint_id: str, subjects: Sequence[str]) -> None:
        """Has nothing to lock."""


@pytest.fixture
async def services(services: Services) -> Services:
    """The services of a worker that carries deliveries."""
    services.deliveries.start()
    return services


@pytest.fixture
async def other(settings: Settings, database: Database, clock: OwnClock) -> AsyncIterator[Services]:
    """Another worker."""
    async with open_services(settings, Silence(), name="tests", clock=clock) as opened:
        yield opened


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


@pytest.fixture
async def endpoint_id(services: Services, agent: TestAgent, receiver: Receiver) -> str:
    """An active endpoint."""
    endpoint = (await agent.post("/v1/endpoints", {"url": receiver.url})).json()
    await drain(services.deliveries.verify_next)
    return endpoint["id"]


async def dispatch(services: Services, *endpoint_ids: str) -> Dispatched:
    """One message to each, committed and not yet taken off."""
    async with services.database.transaction() as db:
        rings = [
            Outgoing("test.said", b'{"type":"test.said","data":{}}', [id], subject=f"fir_{id}") for id in endpoint_ids
        ]
        return await services.deliveries.dispatch(db, rings, await services.clock.now(db))


async def landed(services: Services) -> None:
    """Return once nothing is in flight any more, without claiming anything."""
    services.deliveries.stop()
    while services.deliveries.in_flight:
        await services.deliveries.deliver_next()


async def shown(agent: TestAgent, dispatched: Dispatched) -> list[dict[str, Any]]:
    ids = [id for sent in dispatched.sent for id in sent.delivery_ids]
    return [(await agent.get(f"/v1/deliveries/{id}")).json() for id in ids]


async def test_what_is_dispatched_flies_without_a_claim(services, agent, receiver, endpoint_id) -> None:
    dispatched = await dispatch(services, endpoint_id, endpoint_id)
    before = [(each["state"], each["attempts"]) for each in await shown(agent, dispatched)]

    dispatched.take_off()
    await landed(services)

    assert before == [("pending", 1)] * 2
    assert len(receiver.rings) == 2
    after = await shown(agent, dispatched)
    assert [(each["state"], [attempt["number"] for attempt in each["history"]]) for each in after] == [
        ("delivered", [1])
    ] * 2


async def test_nobody_else_claims_what_was_dispatched_while_its_lease_lasts(
    services, other, receiver, endpoint_id, clock
) -> None:
    await dispatch(services, endpoint_id)
    clock.advance(seconds=LEASE_SECONDS - 1)

    await drain(other.deliveries.deliver_next)

    assert receiver.rings == []


async def test_a_worker_that_dies_before_the_take_off_leaves_it_to_another_when_the_lease_ends(
    services, other, agent, receiver, endpoint_id, clock
) -> None:
    dispatched = await dispatch(services, endpoint_id)
    clock.advance(seconds=LEASE_SECONDS)

    await drain(other.deliveries.deliver_next)

    [delivery] = await shown(agent, dispatched)
    assert (delivery["state"], [attempt["number"] for attempt in delivery["history"]]) == ("delivered", [2])
    assert len(receiver.rings) == 1


async def test_what_was_dispatched_long_after_its_moment_is_not_sent_while_another_may_claim_it(
    services, agent, receiver, endpoint_id, clock
) -> None:
    async with services.database.transaction() as db:
        began = await services.clock.now(db)
        clock.advance(seconds=50)
        ring = Outgoing("test.said", b'{"type":"test.said","data":{}}', [endpoint_id])
        dispatched = await services.deliveries.dispatch(db, [ring], began)

    dispatched.take_off()
    await landed(services)
    before = len(receiver.rings)

    assert before == 0
    [delivery] = await shown(agent, dispatched)
    assert (delivery["state"], delivery["attempts"]) == ("pending", 0)


async def test_without_a_commit_there_is_no_delivery(services, agent, receiver, endpoint_id) -> None:
    async def dispatch_in_vain() -> None:
        async with services.database.transaction() as db:
            ring = Outgoing("test.said", b"{}", [endpoint_id])
            await services.deliveries.dispatch(db, [ring], await services.clock.now(db))
            raise ConnectionError("the database went away")

    with pytest.raises(ConnectionError):
        await dispatch_in_vain()

    await drain(services.deliveries.deliver_next)

    assert (await agent.get("/v1/deliveries")).json()["items"] == []
    assert receiver.rings == []


async def test_a_flight_that_outlives_its_lease_is_made_again_and_concluded_once(
    services, other, agent, receiver, endpoint_id, clock
) -> None:
    released, ears = asyncio.Event(), [Ear(), Ear()]
    services.deliveries.listen(ears[0])
    other.deliveries.listen(ears[1])

    async def slowly_at_first(post: Post) -> web.Response:
        if len(receiver.rings) == 1:
            await released.wait()
        return web.Response(status=204)

    receiver.answers = slowly_at_first
    dispatched = await dispatch(services, endpoint_id)
    dispatched.take_off()
    while not receiver.rings:
        await asyncio.sleep(0.01)
    clock.advance(seconds=LEASE_SECONDS)

    await drain(other.deliveries.deliver_next)
    released.set()
    await landed(services)

    [delivery] = await shown(agent, dispatched)
    assert (delivery["state"], [attempt["number"] for attempt in delivery["history"]]) == ("delivered", [1, 2])
    assert [ear.heard for ear in ears] == [[], [(f"fir_{endpoint_id}", "delivered")]]
    assert len({ring.id for ring in receiver.rings}) == 1


async def test_a_worker_that_ends_concludes_what_was_answered_after_postgres_has_broken_off(
    services, other, agent, receiver, endpoint_id
) -> None:
    dispatched = await dispatch(services, endpoint_id)
    dispatched.take_off()
    services.deliveries.stop()
    async with other.database.transaction() as db:
        own = "select pg_backend_pid()"
        await db.execute(
            text(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
                f"where datname = current_database() and pid <> ({own}) and backend_type = 'client backend'"
            )
        )

    await land(services)

    [delivery] = await shown(agent, dispatched)
    assert (delivery["state"], delivery["attempts"], len(receiver.rings)) == ("delivered", 1, 1)


async def test_a_worker_that_ends_does_not_wait_for_a_postgres_that_stays_away(
    settings: Settings, endpoint_id: str, clock: OwnClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "database_wait_seconds", 0.01)
    one = settings.model_copy(update={"database": settings.database.model_copy(update={"connections": 1})})
    async with open_services(one, Silence(), name="tests", clock=clock) as services:
        services.deliveries.start()
        dispatched = await dispatch(services, endpoint_id)
        dispatched.take_off()
        services.deliveries.stop()
        began = clock.monotonic()
        async with services.database.transaction():
            with pytest.raises(AWAY):
                await land(services)

    assert clock.monotonic() - began == limits.last_conclusions_seconds


async def test_what_waits_for_its_take_off_when_its_endpoint_is_deleted_is_cancelled_for_good(
    services, agent, endpoint_id
) -> None:
    ear = Ear()
    services.deliveries.listen(ear)
    dispatched = await dispatch(services, endpoint_id)
    (await agent.call("DELETE", f"/v1/endpoints/{endpoint_id}")).raise_for_status()

    dispatched.take_off()
    await landed(services)

    [delivery] = await shown(agent, dispatched)
    assert delivery["state"] == "cancelled"
    assert ear.heard == [(f"fir_{endpoint_id}", "cancelled")]


async def test_what_is_for_a_disabled_endpoint_waits_until_that_is_active(
    services, agent, receiver, endpoint_id
) -> None:
    async with services.database.transaction() as db:
        await db.execute(text("update endpoints set state = 'disabled', state_reason = 'a test'"))
    dispatched = await dispatch(services, endpoint_id)
    dispatched.take_off()
    await drain(services.deliveries.deliver_next)
    [waiting] = await shown(agent, dispatched)

    await agent.post(f"/v1/endpoints/{endpoint_id}/enable")
    await drain(services.deliveries.verify_next)
    await drain(services.deliveries.deliver_next)

    assert (waiting["state"], waiting["next_attempt_at"]) == ("pending", None)
    assert [each["state"] for each in await shown(agent, dispatched)] == ["delivered"]


async def test_what_is_for_an_endpoint_that_is_no_more_is_left_out(services, endpoint_id) -> None:
    dispatched = await dispatch(services, "ep_00000000000000000000000404", endpoint_id)

    assert [len(sent.delivery_ids) for sent in dispatched.sent] == [0, 1]


@pytest.mark.parametrize("carries", [False, True])
async def test_a_process_that_carries_nothing_leaves_it_to_those_that_do(
    settings: Settings, other, agent, receiver, endpoint_id, clock, carries
) -> None:
    async with open_services(settings, Silence(), name="tests", clock=clock) as api:
        if carries:
            api.deliveries.start()
            api.deliveries.stop()
        dispatched = await dispatch(api, endpoint_id)
        dispatched.take_off()
        in_flight = api.deliveries.in_flight

    await drain(other.deliveries.deliver_next)

    assert in_flight == 0
    [delivery] = await shown(agent, dispatched)
    assert (delivery["state"], delivery["attempts"]) == ("delivered", 1)


async def test_what_there_is_no_room_for_is_anybodys_at_once(
    settings: Settings, other, agent, receiver, endpoint_id, clock
) -> None:
    released = asyncio.Event()

    async def slowly(post: Post) -> web.Response:
        await released.wait()
        return web.Response(status=204)

    receiver.answers = slowly
    small = settings.model_copy(update={"delivery": DeliverySettings(connections=1)})
    async with open_services(small, Silence(), name="tests", clock=clock) as services:
        services.deliveries.start()
        dispatched = await dispatch(services, *[endpoint_id] * 200)
        dispatched.take_off()
        taken = services.deliveries.in_flight
        released.set()
        await drain(other.deliveries.deliver_next)
        elsewhere = len(receiver.rings)
        await landed(services)

    assert 0 < taken < 200
    assert elsewhere >= 200 - taken
    assert len(receiver.rings) == len({ring.id for ring in receiver.rings}) == 200
    assert {each["attempts"] for each in await shown(agent, dispatched)} == {1}
