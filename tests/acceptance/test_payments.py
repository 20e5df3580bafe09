"""Payments across processes: an API that is killed at the worst moment has taken no money for nothing."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import httpx
import psycopg
import pytest
from aiohttp import web

from app.local import migrations
from app.local.postgres import Postgres
from app.local.valkey import Valkey
from examples.devchain import DevChain, payments_chain_id
from tests.acceptance.forks import become_api, forks
from tests.acceptance.relays import free_port
from tests.packages import ROOT
from tests.paying import PAY_TO, PAYER_KEY, Misbehaving, Till, decoded, facilitator_process, fill, sign_payment
from tests.sealed import SECRET_KEY
from tocsin.auth import RequestSigner
from tocsin.keys import PrivateKey

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]

PRICE = 1_000
seconds_max = 30.0


@dataclass
class Api:
    """An API process over servers of its own, which can be killed and started again."""

    told: dict[str, str]
    database_url: str
    log: Path
    port: int = field(default_factory=free_port)
    process: BaseProcess | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self.process = forks.Process(
            target=become_api, args=(self.told | {"TOCSIN_API_PORT": str(self.port)}, self.log)
        )
        self.process.start()
        async with httpx.AsyncClient(trust_env=False) as http:
            await until(lambda: _answers(http, self.url))

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()

    def states(self) -> list[str]:
        with psycopg.connect(self.database_url) as db:
            return [state for (state,) in db.execute("select state from payments")]

    def end_leases(self) -> None:
        """As if the time had passed that a payment is left to the process that settles it."""
        with psycopg.connect(self.database_url) as db:
            db.execute("update payments set due_at = due_at - interval '1 hour'")


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that another process does."""
    async with asyncio.timeout(seconds_max):
        while not await true():
            await asyncio.sleep(0.05)


@pytest.fixture
async def till() -> AsyncIterator[Till]:
    async with DevChain.start(chain_id=payments_chain_id) as chain:
        yield await fill(chain)


@pytest.fixture
async def facilitator(till: Till) -> AsyncIterator[Misbehaving]:
    with facilitator_process(till.chain.url) as behind:
        standing = Misbehaving(behind)
        await standing.start()
        yield standing
        await standing.stop()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, str]]:
    postgres, valkey = Postgres.start(tmp_path, durable=False), Valkey.start(tmp_path)
    migrations.migrate(postgres.url)
    yield {"TOCSIN_DATABASE_URL": postgres.url, "TOCSIN_VALKEY_URL": valkey.url, "TOCSIN_SECRET_KEY": SECRET_KEY.text}
    valkey.stop()
    postgres.stop()


@pytest.fixture
async def api(servers: dict[str, str], till: Till, facilitator: Misbehaving, tmp_path: Path) -> AsyncIterator[Api]:
    told = {
        "TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8",
        "TOCSIN_PRICES": json.dumps({"POST /v1/schedules": "$0.001"}),
        "TOCSIN_PAYMENTS_PAY_TO": PAY_TO,
        "TOCSIN_PAYMENTS_FACILITATOR": facilitator.url,
        "TOCSIN_PAYMENTS_RPC_URL": till.chain.url,
    }
    running = Api({**servers, **told}, servers["TOCSIN_DATABASE_URL"], tmp_path / "api.log")
    await running.start()
    yield running
    running.kill()


@dataclass
class Customer:
    """An agent that wants a schedule."""

    http: httpx.AsyncClient
    body: dict[str, object]

    async def ask(self, **headers: str) -> httpx.Response:
        return await self.http.post("/v1/schedules", json=self.body, headers=headers)

    async def schedules(self) -> int:
        return len((await self.http.get("/v1/schedules")).json()["items"])


@pytest.fixture
async def customer(api: Api) -> AsyncIterator[Customer]:
    key = PrivateKey.generate()
    async with httpx.AsyncClient(base_url=api.url, auth=RequestSigner(key), trust_env=False, timeout=40) as http:
        (await http.post("/v1/agents", json={"public_key": key.public.jwk})).raise_for_status()
        endpoint = (await http.post("/v1/endpoints", json={"url": "http://127.0.0.1:18999/"})).json()
        yield Customer(http, {"spec": {"cron": "0 9 * * *"}, "endpoint_id": endpoint["id"]})


async def die_before_the_money_moves(body: object, facilitator: Misbehaving, api: Api) -> None:
    api.kill()


async def die_after_the_money_has_moved(body: object, facilitator: Misbehaving, api: Api) -> None:
    await facilitator.forward(body)
    api.kill()


@pytest.mark.parametrize("die", [die_before_the_money_moves, die_after_the_money_has_moved])
async def test_an_api_that_dies_while_it_settles_serves_the_same_payment_later(
    api: Api, till: Till, facilitator: Misbehaving, customer: Customer, die: Callable[..., Awaitable[None]]
) -> None:
    async def kills(body: object) -> web.StreamResponse:
        facilitator.settle = None
        await die(body, facilitator, api)
        return web.Response(status=500)

    before = await till.balances()
    payment = await sign_payment(await customer.ask())
    facilitator.settle = kills
    with pytest.raises(httpx.TransportError):
        await customer.ask(**payment)
    assert api.states() == ["settling"]
    await api.start()
    api.end_leases()
    answer = await customer.ask(**payment)
    assert answer.status_code == 201
    assert decoded(answer.headers["payment-response"])["success"] is True
    assert await customer.schedules() == 1
    assert api.states() == ["done"]
    assert (await till.balances())[1] - before[1] == PRICE


async def test_an_api_that_dies_before_it_answers_gives_the_answer_later(
    api: Api, till: Till, facilitator: Misbehaving, customer: Customer
) -> None:
    async def done() -> bool:
        return api.states() == ["done"]

    before = await till.balances()
    payment = await sign_payment(await customer.ask())
    asking = asyncio.create_task(customer.ask(**payment))
    await until(done)
    api.kill()
    await asyncio.gather(asking, return_exceptions=True)
    await api.start()
    assert (await customer.ask(**payment)).status_code == 201
    assert await customer.schedules() == 1
    assert facilitator.asked == 1
    assert (await till.balances())[1] - before[1] == PRICE


async def test_the_example_pays_for_a_schedule(api: Api, till: Till, customer: Customer, tmp_path: Path) -> None:
    key = PrivateKey.generate()
    key.save(tmp_path / "agent.key")
    async with httpx.AsyncClient(base_url=api.url, auth=RequestSigner(key), trust_env=False) as http:
        (await http.post("/v1/agents", json={"public_key": key.public.jwk})).raise_for_status()
    before = await till.balances()
    example = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.paid_schedule", "http://127.0.0.1:18999/", "0 9 * * *"),
        env={**os.environ, "TOCSIN_URL": api.url, "TOCSIN_KEY": str(tmp_path / "agent.key"), "WALLET_KEY": PAYER_KEY},
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    shown, _ = await example.communicate()
    assert example.returncode == 0
    assert b"rings http://127.0.0.1:18999/ next at" in shown
    assert b"done: 0.001000 USD in 0x" in shown
    after = await till.balances()
    assert (after[0] - before[0], after[1] - before[1]) == (-PRICE, PRICE)
