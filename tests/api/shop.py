"""A relay that sells one thing: `POST /v1/things` makes a thing, and `made` counts them in the journal."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import text

from app.events import Happened, record
from app.kit.idempotency import KeptAnswers
from app.kit.ids import Ids
from app.kit.operations import Call, Door, Operation
from app.kit.wake import Silence
from app.main import assemble, routes
from app.payments.opening import open_gate
from app.services import Services, open_services
from app.settings import PaymentsSettings, Settings
from tests.paying import PAY_TO, RunningClock, sign_payment
from tests.world import ORIGIN, TestAgent
from tocsin.problems import Conflict
from tocsin.schemas.wire import Wire

PRICE = 1_000
DAY = {"days": 1}


class NewThing(Wire):
    name: str = "thing"


class Thing(Wire):
    id: str
    name: str


@dataclass
class Workshop:
    """Makes things, after doing what the test wants done just before."""

    before: Callable[[], Awaitable[None]] | None = None
    calls: int = 0

    async def make(self, call: Call["Workshop"], body: NewThing) -> Thing:
        self.calls += 1
        if body.name == "impossible":
            raise Conflict("this thing cannot be made")
        if self.before is not None:
            await self.before()
        thing = Thing(id=Ids().new("thg"), name=body.name)
        await record(call.db, Happened("thing.made", thing.id, call.agent.id, call.now))
        return thing


async def make_thing(call: Call[Workshop], body: NewThing) -> Thing:
    """Make a thing."""
    return await call.service.make(call, body)


MAKE = Operation("POST", "/v1/things", make_thing, status=201)


@dataclass
class Shop:
    """The relay, its first customer, and what happens inside."""

    services: Services
    clock: RunningClock
    http: httpx.AsyncClient
    agent: TestAgent
    workshop: Workshop
    transport: httpx.ASGITransport

    async def ask(self, name: str = "thing", **headers: str) -> httpx.Response:
        """Ask for a thing, with these headers."""
        return await self.agent.post("/v1/things", {"name": name}, **headers)

    async def pay(self, name: str = "thing") -> dict[str, str]:
        """A signed payment for a thing, as the header to send."""
        return await sign_payment(await self.ask(name))

    async def made(self) -> int:
        """How many things have been made for good."""
        return await self.count("select count(*) from events where kind = 'thing.made'")

    async def count(self, question: str) -> int:
        async with self.services.database.transaction() as db:
            return (await db.execute(text(question))).scalar_one()

    async def payments(self) -> list[dict[str, Any]]:
        """The customer's payments, as the API shows them."""
        return (await self.agent.get("/v1/payments")).json()["items"]

    async def kinds(self) -> list[str]:
        """What happened, as the customer reads it."""
        return [event["kind"] for event in (await self.agent.get("/v1/events")).json()["items"]]


@asynccontextmanager
async def open_shop(settings: Settings, facilitator: str, rpc: str | None = None) -> AsyncGenerator[Shop]:
    """A shop on an empty database."""
    terms = PaymentsSettings(pay_to=PAY_TO, facilitator=facilitator, rpc_url=rpc)
    settings = settings.model_copy(update={"prices": {MAKE.name: "$0.001"}, "payments": terms})
    clock, workshop = RunningClock(), Workshop()
    async with open_services(settings, Silence(), name="tests", clock=clock) as services:
        transaction = services.database.transaction
        async with open_gate(settings, [MAKE], transaction, clock, Ids()) as gate:
            door = Door(transaction, services.identity, gate, clock, Silence(), KeptAnswers(services.keyring))
            app = assemble([*routes(services), *door.routes(workshop, [MAKE])])
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
                agent = TestAgent(http, clock)
                (await agent.register()).raise_for_status()
                yield Shop(services, clock, http, agent, workshop, transport)


async def die() -> None:
    """The process ends here: nothing after this line is run, not even what tidies up after errors."""
    raise asyncio.CancelledError
