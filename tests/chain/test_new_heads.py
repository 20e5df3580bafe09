"""What providers announce over WebSocket makes the watcher look at once, and is used for nothing else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest
from aiohttp import web
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from app.kit import limits
from app.kit.clock import SystemClock
from app.kit.database import Transaction
from app.kit.wake import Silence
from app.services import Services, open_services
from app.settings import ChainSettings, ProviderSettings, Settings
from app.watchers.heads import NewHeads
from examples.devchain import DevChain, Token
from tests.chain.conftest import NETWORK, subscribe, transfers
from tests.chain.proxy import Proxy
from tests.world import TestAgent


class Bell:
    """Says when it was rung."""

    def __init__(self) -> None:
        self.rung = asyncio.Event()

    def ring(self, feature: str) -> None:
        assert feature == "watchers"
        self.rung.set()

    def ring_in(self, seconds: float, feature: str) -> None:
        raise AssertionError("an announcement does not wait")


@asynccontextmanager
async def listening(services: Services, ws_url: str, transaction: Transaction | None = None) -> AsyncIterator[Bell]:
    bell = Bell()
    provider = ProviderSettings(url="http://127.0.0.1:1", ws_url=ws_url)
    chains = {NETWORK: ChainSettings(rpc_url=(provider,), poll_seconds=600)}
    heads = NewHeads(
        transaction or services.database.transaction,
        SystemClock(),
        bell,
        services.subscriptions,
        chains,
        random.Random(0),
    )
    heads.start()
    yield bell
    await heads.close()


@pytest.fixture
def settings(settings: Settings, proxy: Proxy) -> Settings:
    return settings.model_copy(update={"chains": {NETWORK: ChainSettings.model_validate({"rpc_url": proxy.url})}})


@pytest.fixture
async def waiting(agent: TestAgent, settings: Settings, token: Token) -> AsyncIterator[Services]:
    """A relay whose watcher has looked, and waits for long."""
    async with open_services(settings, Silence(), name="tests", clock=SystemClock()) as services:
        await subscribe(agent, transfers(token))
        while await services.watchers.look_next():
            pass
        await put_off(services)
        yield services


async def put_off(services: Services) -> None:
    async with services.database.transaction() as db:
        await db.execute(text("update sources set due_at = clock_timestamp() + interval '500 seconds'"))


async def is_due(services: Services) -> bool:
    async with services.database.transaction() as db:
        return (await db.execute(text("select due_at <= clock_timestamp() from sources"))).scalar_one()


async def test_a_new_head_makes_the_chain_due(waiting: Services, chain: DevChain) -> None:
    async with listening(waiting, chain.url.replace("http", "ws")) as bell:
        while not bell.rung.is_set():
            # Until the subscription stands, nobody hears of a block.
            await chain.mine()
            with suppress(TimeoutError):
                await asyncio.wait_for(bell.rung.wait(), 0.2)
    assert await is_due(waiting)


async def test_a_database_that_was_away_is_not_the_end_of_listening(
    waiting: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "sweep_seconds", 0.01)
    tries = 0

    def away_at_first() -> AbstractAsyncContextManager[AsyncSession]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OperationalError("select", {}, OSError("the server is gone"))
        return waiting.database.transaction()

    async def announce(socket: web.WebSocketResponse) -> None:
        await socket.send_str('{"method":"eth_subscription","params":{}}')
        await asyncio.Event().wait()

    async with serving(announce) as (url, _), listening(waiting, url, away_at_first) as bell, asyncio.timeout(20):
        await bell.rung.wait()
    assert tries == 2
    assert await is_due(waiting)


async def test_whoever_looks_is_not_disturbed(waiting: Services) -> None:
    now = SystemClock().wall()
    hurry = waiting.subscriptions.hurry
    async with waiting.database.transaction() as db:
        await db.execute(text("update sources set due_at = clock_timestamp() + interval '29 seconds'"))
        assert not await hurry(db, NETWORK, now, poll_seconds=1)
        await db.execute(text("update sources set due_at = clock_timestamp() + interval '900 milliseconds'"))
        assert await hurry(db, NETWORK, now, poll_seconds=1)
        # What nobody watches is nothing to hurry for.
        await db.execute(text("update sources set state = 'halted', due_at = clock_timestamp() + interval '9 seconds'"))
        assert await hurry(db, NETWORK, now, poll_seconds=1)
        assert (await db.execute(text("select due_at > clock_timestamp() from sources"))).scalar_one()


@asynccontextmanager
async def serving(
    speak: Callable[[web.WebSocketResponse], Awaitable[None]],
) -> AsyncIterator[tuple[str, asyncio.Queue[object]]]:
    """A server of web sockets, and what those who came asked for."""
    came: asyncio.Queue[object] = asyncio.Queue()

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        came.put_nowait(await socket.receive_json())
        await speak(socket)
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"ws://127.0.0.1:{runner.addresses[0][1]}/", came
    await runner.cleanup()


async def test_a_silent_socket_is_left_for_another(waiting: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "heads_silent_seconds_max", 0.1)
    monkeypatch.setattr(limits, "heads_again_seconds_max", 0.1)

    async def silent(socket: web.WebSocketResponse) -> None:
        await asyncio.Event().wait()

    async with serving(silent) as (url, came), listening(waiting, url), asyncio.timeout(30):
        asked = [await came.get() for _ in range(3)]
    assert asked == [{"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}] * 3


async def test_a_lost_socket_is_opened_again(waiting: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "heads_again_seconds_max", 0.1)

    async def hang_up(socket: web.WebSocketResponse) -> None:
        await socket.close()

    async with serving(hang_up) as (url, came), listening(waiting, url), asyncio.timeout(30):
        assert len([await came.get() for _ in range(3)]) == 3


async def test_what_is_said_is_not_believed(waiting: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "heads_again_seconds_max", 0.1)
    said = ["no JSON", "[]", '{"id":1,"result":"0x1"}', '{"method":"eth_subscription","params":"a head, 0xffff high"}']

    async def speak(socket: web.WebSocketResponse) -> None:
        for each in said:
            await socket.send_str(each)
        await asyncio.Event().wait()

    async with serving(speak) as (url, _), listening(waiting, url) as bell:
        async with asyncio.timeout(20):
            await bell.rung.wait()
    assert await is_due(waiting)
    async with waiting.database.transaction() as db:
        assert (await db.execute(text("select seq from sources"))).scalar_one() == 0


async def test_a_redirect_is_not_followed(waiting: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "heads_again_seconds_max", 0.1)
    asked: asyncio.Queue[None] = asyncio.Queue()

    async def elsewhere(request: web.Request) -> web.Response:
        asked.put_nowait(None)
        raise web.HTTPFound(other)

    async def hang_up(socket: web.WebSocketResponse) -> None:
        await socket.close()

    async with serving(hang_up) as (other, came):
        app = web.Application()
        app.router.add_get("/", elsewhere)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with listening(waiting, f"ws://127.0.0.1:{runner.addresses[0][1]}/"), asyncio.timeout(20):
            await asked.get()
            await asked.get()
        await runner.cleanup()
    assert came.empty()
