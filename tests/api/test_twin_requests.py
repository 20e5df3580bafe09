"""Two requests with one idempotency key in the same instant: the second has the answer of the first, and is never
refused by what the first has done."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from app.kit.database import Database
from app.kit.wake import Silence
from app.main import assemble, routes
from app.services import open_services
from app.settings import Settings
from tests.world import ORIGIN, OwnClock, TestAgent

ENDPOINT = {"url": "http://127.0.0.1:9001/rings"}
_GATE = 20_261_123
# For whoever looks here before pg_catalog, the lock of an idempotency key is a moment later than the snapshot of the
# statement that takes it: as long as somebody holds the gate.
_LATE = f"""
    create schema late;
    create function late.pg_try_advisory_xact_lock(key bigint) returns boolean language plpgsql as $$
    begin
        perform pg_advisory_xact_lock_shared({_GATE});
        return pg_catalog.pg_try_advisory_xact_lock(key);
    end $$;
"""


@pytest.fixture
async def late(
    settings: Settings, database: Database, migrated: str, clock: OwnClock
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of another process of the relay, which takes idempotency keys late."""
    for statement in ("drop schema if exists late cascade", _LATE):
        async with database.transaction() as db:
            await (await db.connection()).exec_driver_sql(statement)
    url = make_url(migrated).update_query_dict({"options": "-csearch_path=late,pg_catalog,public"})
    behind = Database(url.render_as_string(hide_password=False), connections=2, name="late")
    async with open_services(settings, Silence(), name="late", clock=clock, database=behind) as services:
        transport = httpx.ASGITransport(assemble(routes(services)), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            yield client
    await behind.close()
    async with database.transaction() as db:
        await db.execute(text("drop schema late cascade"))


async def at_once(
    database: Database, agent: TestAgent, late: httpx.AsyncClient, method: str, path: str, *bodies: Any
) -> tuple[httpx.Response, httpx.Response]:
    """The answers to a request and to its twin, which begins while the first runs and has the key when it is done."""
    first_body, second_body = bodies if len(bodies) == 2 else (*bodies, *bodies)
    twin = TestAgent(late, agent.clock, agent.key, agent.id)
    async with database.transaction() as db:
        await db.execute(text(f"select pg_advisory_xact_lock({_GATE})"))
        second = asyncio.create_task(twin.call(method, path, second_body, {"idempotency_key": '"k"'}))
        await _somebody_waits(database)
        first = await agent.call(method, path, first_body, {"idempotency_key": '"k"'})
    return first, await second


async def _somebody_waits(database: Database) -> None:
    waiting = text("select 1 from pg_locks where locktype = 'advisory' and objid = :gate and not granted")
    async with asyncio.timeout(10):
        while True:
            async with database.transaction() as db:
                if (await db.execute(waiting, {"gate": _GATE})).first() is not None:
                    return


async def test_what_the_first_deleted_is_deleted_for_the_second_too(
    agent: TestAgent, database: Database, late: httpx.AsyncClient
) -> None:
    endpoint = (await agent.post("/v1/endpoints", ENDPOINT)).json()["id"]

    first, second = await at_once(database, agent, late, "DELETE", f"/v1/endpoints/{endpoint}", None)

    assert (first.status_code, second.status_code) == (204, 204)
    assert second.headers["idempotent-replayed"] == "true"


async def test_what_the_first_made_is_what_the_second_made(
    agent: TestAgent, database: Database, late: httpx.AsyncClient
) -> None:
    first, second = await at_once(database, agent, late, "POST", "/v1/endpoints", ENDPOINT)

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert len((await agent.get("/v1/endpoints")).json()["items"]) == 1


async def test_another_request_with_the_key_of_the_first_is_told_so(
    agent: TestAgent, database: Database, late: httpx.AsyncClient
) -> None:
    other = {**ENDPOINT, "description": "another"}

    first, second = await at_once(database, agent, late, "POST", "/v1/endpoints", ENDPOINT, other)

    assert first.status_code == 201
    assert (second.status_code, second.json()["type"]) == (422, "/problems/idempotency-key-reused")


async def test_a_refusal_that_is_its_own_stays_a_refusal(
    agent: TestAgent, database: Database, late: httpx.AsyncClient
) -> None:
    first, second = await at_once(database, agent, late, "DELETE", "/v1/endpoints/ep_none", None)

    assert (first.status_code, second.status_code) == (404, 404)
