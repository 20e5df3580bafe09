"""Whoever listens is told once what became of each message that has a subject, with the conclusion or not at all."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pytest
from aiohttp import web
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.attempts import LADDER
from app.deliveries.conclusions import Concluded
from app.deliveries.service import Outgoing, Sent
from app.kit.database import Database
from app.kit.due import drain
from app.services import Services, open_services
from app.settings import Settings
from tests.receivers import Receiver, receiving
from tests.world import OwnClock, TestAgent

SUBJECT = "fir_00000000000000000000000001"


@dataclass
class Ear:
    """Hears what concludes, and writes it down in the transaction that it is told in; or stumbles, when told to."""

    heard: list[Concluded] = field(default_factory=list[Concluded])
    stumbles: int = 0
    has_work: bool = False

    async def concluded(self, db: AsyncSession, conclusions: Sequence[Concluded], now: datetime) -> bool:
        for each in conclusions:
            values = {"id": f"agt_{each.delivery_id}_{each.state}", "at": now}
            await db.execute(text("insert into agents (id, created_at) values (:id, :at)"), values)
        if self.stumbles:
            self.stumbles -= 1
            raise ConnectionError("the database went away")
        self.heard += conclusions
        return self.has_work

    async def endpoint_leaves(self, db: AsyncSession, endpoint_id: str, subjects: Sequence[str]) -> None:
        """Has nothing to lock."""


class Rung:
    """A bell that notes what is rung."""

    def __init__(self) -> None:
        self.features: list[str] = []

    def ring(self, feature: str) -> None:
        self.features.append(feature)

    def ring_in(self, seconds: float, feature: str) -> None:
        self.features.append(feature)


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def bell() -> Rung:
    return Rung()


@pytest.fixture
async def services(
    settings: Settings, database: Database, clock: OwnClock, ear: Ear, bell: Rung
) -> AsyncIterator[Services]:
    """Services whose deliveries tell the ear, in the place of schedules."""
    async with open_services(settings, bell, name="tests", clock=clock) as opened:
        opened.deliveries.listen(ear)
        yield opened


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


async def active(services: Services, agent: TestAgent, receiver: Receiver) -> str:
    endpoint = (await agent.post("/v1/endpoints", {"url": receiver.url})).json()
    await drain(services.deliveries.verify_next)
    return endpoint["id"]


async def send(services: Services, endpoint_id: str, subject: str | None = SUBJECT) -> Sent:
    async with services.database.transaction() as db:
        ring = Outgoing("test.said", b'{"type":"test.said","data":{}}', [endpoint_id], subject=subject)
        [sent] = await services.deliveries.send(db, [ring], await services.clock.now(db))
    return sent


async def deliver(services: Services) -> None:
    await drain(services.deliveries.deliver_next)


async def test_a_success_is_told_with_the_beginning_of_the_answer(services, agent, receiver, ear) -> None:
    receiver.answers = lambda post: web.Response(text="x" * 2000)
    sent = await send(services, await active(services, agent, receiver))

    await deliver(services)

    assert ear.heard == [Concluded(SUBJECT, sent.delivery_ids[0], "delivered", b"x" * 1024)]


async def test_a_failure_is_told_when_it_is_final_and_without_the_answer(services, agent, receiver, ear, clock) -> None:
    receiver.answers = lambda post: web.Response(status=500, text='{"completed":true}')
    sent = await send(services, await active(services, agent, receiver))
    for step in LADDER[:-1]:
        clock.advance(seconds=step.total_seconds() * 1.1 + 1)
        await deliver(services)
    before = list(ear.heard)

    clock.advance(days=2)
    await deliver(services)

    assert before == []
    assert ear.heard == [Concluded(SUBJECT, sent.delivery_ids[0], "failed")]


async def test_a_message_about_nothing_is_told_to_nobody(services, agent, receiver, ear) -> None:
    await send(services, await active(services, agent, receiver), subject=None)

    await deliver(services)

    assert (len(receiver.rings), ear.heard) == (1, [])


async def test_a_delivery_that_is_sent_again_concludes_again(services, agent, receiver, ear) -> None:
    receiver.answers = lambda post: web.Response(status=410)
    sent = await send(services, await active(services, agent, receiver))
    [delivery_id] = sent.delivery_ids
    await deliver(services)
    receiver.answers = Receiver().answers
    [endpoint] = (await agent.get("/v1/endpoints")).json()["items"]
    await agent.post(f"/v1/endpoints/{endpoint['id']}/enable")
    await drain(services.deliveries.verify_next)

    await agent.post(f"/v1/deliveries/{delivery_id}/redeliver")
    await deliver(services)

    assert ear.heard == [Concluded(SUBJECT, delivery_id, "failed"), Concluded(SUBJECT, delivery_id, "delivered")]


async def test_what_is_cancelled_with_its_endpoint_is_told_and_its_late_answer_is_not(
    services, agent, receiver, ear, bell
) -> None:
    endpoint_id = await active(services, agent, receiver)

    async def answer(post: object) -> web.Response:
        (await agent.call("DELETE", f"/v1/endpoints/{endpoint_id}")).raise_for_status()
        return web.Response(status=204)

    receiver.answers = answer
    sent = await send(services, endpoint_id)

    await deliver(services)

    assert ear.heard == [Concluded(SUBJECT, sent.delivery_ids[0], "cancelled")]
    assert "schedules" in bell.features


async def test_what_is_claimed_after_its_endpoint_has_gone_is_told_as_cancelled(services, agent, receiver, ear) -> None:
    sent = await send(services, await active(services, agent, receiver))
    async with services.database.transaction() as db:
        await db.execute(text("delete from endpoints"))

    await deliver(services)

    assert ear.heard == [Concluded(SUBJECT, sent.delivery_ids[0], "cancelled")]
    assert receiver.rings == []


async def test_when_the_listener_fails_nothing_is_concluded_and_the_answer_is_told_again(
    services, agent, receiver, ear
) -> None:
    sent = await send(services, await active(services, agent, receiver))
    [delivery_id] = sent.delivery_ids
    await services.deliveries.deliver_next()
    ear.stumbles = 1

    with pytest.raises(ConnectionError):
        await drain(services.deliveries.deliver_next)
    undone = (await agent.get(f"/v1/deliveries/{delivery_id}")).json()
    await deliver(services)

    assert (undone["state"], undone["history"]) == ("pending", [])
    assert ear.heard == [Concluded(SUBJECT, delivery_id, "delivered")]
    assert len(receiver.rings) == 1
    async with services.database.transaction() as db:
        written = (await db.execute(text("select id from agents where id like 'agt_dlv%'"))).scalars().all()
    assert written == [f"agt_{delivery_id}_delivered"]


@pytest.mark.parametrize("has_work", [True, False])
async def test_the_listener_says_whether_schedules_are_to_be_rung(
    services, agent, receiver, ear, bell, has_work
) -> None:
    ear.has_work = has_work
    await send(services, await active(services, agent, receiver))
    bell.features.clear()

    await deliver(services)

    assert bell.features == (["schedules"] if has_work else [])


async def test_a_delivery_shows_what_it_is_about(services, agent, receiver) -> None:
    sent = await send(services, await active(services, agent, receiver))

    [listed] = (await agent.get("/v1/deliveries")).json()["items"]
    shown = (await agent.get(f"/v1/deliveries/{sent.delivery_ids[0]}")).json()

    assert listed["subject"] == shown["subject"] == SUBJECT


async def test_progress_is_asked_for_many_at_once(services, agent, receiver) -> None:
    endpoint_id = await active(services, agent, receiver)
    first = await send(services, endpoint_id)
    await deliver(services)
    second = await send(services, endpoint_id)
    asked = [*first.delivery_ids, *second.delivery_ids, "dlv_unknown"]

    async with services.database.transaction() as db:
        progress = await services.deliveries.progress(db, asked)

    told = {id: (each.state, each.attempts) for id, each in progress.items()}
    assert told == {first.delivery_ids[0]: ("delivered", 1), second.delivery_ids[0]: ("pending", 0)}
