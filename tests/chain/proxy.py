"""A node that fails and lies on demand, and counts what it is asked: a real HTTP server before a real node."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
from aiohttp import web

# Given the method and the node's answer: another answer, or bytes to be sent as they are with a status.
Tamper = Callable[[str, Any], "Any | Raw | Silence"]


class Raw:
    """An answer that is not JSON-RPC; of a batch, instead of all of it."""

    def __init__(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.status, self.body, self.headers = status, body, headers


class Silence:
    """No answer at all, for as long as anybody waits."""


def honest(method: str, answer: Any) -> Any:
    return answer


class Proxy:
    """Passes calls on to a node. `tamper` may be exchanged while it runs."""

    def __init__(self, upstream: str, client: httpx.AsyncClient) -> None:
        self.upstream = upstream
        self._client = client
        self.url = ""
        self.calls: Counter[str] = Counter()
        self.requests = 0
        self.tamper: Tamper = honest
        self.node: Callable[[Any], Awaitable[Any]] = self.ask
        self.tamper_batch: Callable[[list[Any]], Any] = list
        self.packed = False

    @classmethod
    @asynccontextmanager
    async def before(cls, upstream: str, tamper: Tamper = honest) -> AsyncIterator[Proxy]:
        async with httpx.AsyncClient(verify=False, trust_env=False, timeout=20) as client:
            proxy = cls(upstream, client)
            proxy.tamper = tamper
            app = web.Application(client_max_size=2**24)
            app.router.add_post("/", proxy._pass_on)
            # Those who hang are not waited for at the end.
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0, handler_cancellation=True)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            yield proxy
            await runner.cleanup()

    async def ask(self, call: Any, upstream: str | None = None) -> Any:
        """What the node answers to one call; another node, where one is named."""
        return (await self._client.post(upstream or self.upstream, json=call)).json()

    async def _pass_on(self, request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())
        self.requests += 1
        calls = asked if isinstance(asked, list) else [asked]
        given: list[Any] = []
        for call in calls:
            self.calls[call["method"]] += 1
            answer = await self.node(call)
            given.append(answer if isinstance(answer, Raw | Silence) else self.tamper(call["method"], answer))
        if any(isinstance(each, Silence) for each in given):
            await asyncio.Event().wait()
        raw = next((each for each in given if isinstance(each, Raw)), None)
        if raw is None:
            whole = self.tamper_batch(given) if isinstance(asked, list) else given[0]
            raw = (
                whole if isinstance(whole, Raw) else Raw(200, orjson.dumps(whole), {"content-type": "application/json"})
            )
        response = web.Response(status=raw.status, body=raw.body, headers=raw.headers)
        if self.packed:
            response.enable_compression(web.ContentCoding.gzip)
        return response
