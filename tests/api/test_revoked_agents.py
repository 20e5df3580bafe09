"""A revoked agent is left alone: nobody could stop its rings, or what is watched for it, any more."""

import asyncio
from urllib.parse import urlsplit

import httpx
from aiohttp import web
from sqlalchemy import text

from app.kit.due import drain
from app.services import Services
from tests.conftest import NewAgent
from tests.receivers import Post, Receiver, echo, receiving
from tocsin.schemas.events import EventQuery
from workers.housekeeping import tidy


async def test_the_endpoints_of_a_revoked_agent_are_disabled(new_agent: NewAgent, services: Services) -> None:
    leaving, staying = await new_agent(), await new_agent()
    for agent in (leaving, staying):
        (await agent.post("/v1/endpoints", {"url": "http://127.0.0.1:9001/rings"})).raise_for_status()
    (await leaving.post("/v1/agents/me/revoke", {})).raise_for_status()

    await tidy(services)

    async with services.database.transaction() as db:
        assert await services.deliveries.endpoints.leave_revoked(db, services.clock.wall()) == 0
    [endpoint] = (await staying.get("/v1/endpoints")).json()["items"]
    assert endpoint["state"] == "pending"
    async with services.database.transaction() as db:
        told = await services.events.list(db, leaving.id, EventQuery(kind="endpoint.disabled"))
    assert [event.data for event in told.items] == [{"reason": "the agent was revoked"}]


async def test_an_answer_that_comes_after_the_agent_was_revoked_makes_no_endpoint_active(
    new_agent: NewAgent, services: Services
) -> None:
    leaving, asked, go = await new_agent(), asyncio.Event(), asyncio.Event()

    async def answer_late(post: Post) -> web.Response:
        asked.set()
        await go.wait()
        return echo(post)

    async with receiving(Receiver(verifies=answer_late)) as receiver:
        (await leaving.post("/v1/endpoints", {"url": receiver.url})).raise_for_status()
        await services.deliveries.verify_next()
        await asked.wait()
        (await leaving.post("/v1/agents/me/revoke", {})).raise_for_status()
        await tidy(services)
        go.set()
        await drain(services.deliveries.verify_next)

    async with services.database.transaction() as db:
        states = (await db.execute(text("select state from endpoints"))).scalars().all()
    assert states == ["disabled"]


async def test_the_subscriptions_of_a_revoked_agent_end(
    new_agent: NewAgent, http: httpx.AsyncClient, services: Services
) -> None:
    leaving, staying = await new_agent(), await new_agent()
    document = {"source": {"kind": "http.json", "url": "http://127.0.0.1:9001/price", "interval": "PT30S"}}
    inbox = {"source": {"kind": "inbox", "verify": {"scheme": "none"}}}
    for agent in (leaving, staying):
        (await agent.post("/v1/subscriptions", document)).raise_for_status()
    opened = (await leaving.post("/v1/subscriptions", inbox)).json()
    (await leaving.post("/v1/agents/me/revoke", {})).raise_for_status()

    await tidy(services)

    assert (await http.post(urlsplit(opened["source"]["url"]).path, content=b"1")).status_code == 404
    [kept] = (await staying.get("/v1/subscriptions")).json()["items"]
    async with services.database.transaction() as db:
        left = (await db.execute(text("select id from subscriptions"))).scalars().all()
        states = (await db.execute(text("select kind, state from sources order by kind"))).all()
    assert left == [kept["id"]]
    assert states == [("http.json", "starting"), ("inbox", "idle")]
