"""A node that fails and lies on demand, and counts what it is asked: a real HTTP server before a real node."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
from aiohttp import web

# Given the method and the node's answer: another answer, or bytes to be sent as they are with a status.
Tamper = Callable[[str, Any], "Any | Raw"]


class Raw:
    """An answer that is not JSON-RPC."""

    def __init__(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.status, self.body, self.headers = status, body, headers


def honest(method: str, answer: Any) -> Any:
    return answer


class Proxy:
    """Passes calls on to a node. `tamper` may be exchanged while it runs."""

    def __init__(self, upstream: str, client: httpx.AsyncClient) -> None:
        self.upstream = upstream
        self._client = client
        self.url = ""
        self.calls: Counter[str] = Counter()
        self.tamper: Tamper = honest

    @classmethod
    @asynccontextmanager
    async def before(cls, upstream: str, tamper: Tamper = honest) -> AsyncIterator[Proxy]:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            proxy = cls(upstream, client)
            proxy.tamper = tamper
            app = web.Application(client_max_size=2**24)
            app.router.add_post("/", proxy._pass_on)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            yield proxy
            await runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.Response:
        asked = await request.read()
        method = orjson.loads(asked)["method"]
        self.calls[method] += 1
        answer = await self._client.post(self.upstream, content=asked, headers={"content-type": "application/json"})
        given = self.tamper(method, answer.json())
        if isinstance(given, Raw):
            return web.Response(status=given.status, body=given.body, headers=given.headers)
        return web.Response(body=orjson.dumps(given), content_type="application/json")
