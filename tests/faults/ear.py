"""A receiver that remembers when it was rung, and whether its answer went out."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
from aiohttp import web

__all__ = ["Ear", "Heard", "hearing"]


@dataclass
class Heard:
    """One ring that arrived whole.

    `answered`: with 2xx, and all of the answer was sent; None: so that it may be taken for that.
    """

    id: str
    at: float
    answered: bool | None = False


@dataclass
class Ear:
    """Holds each ring for a moment, so that some are always in flight, and takes it."""

    hold_seconds: float = 0.1
    heard: list[Heard] = field(default_factory=list[Heard])
    challenges: int = 0
    host: str = "127.0.0.1"
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/hook"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        ring = orjson.loads(await request.read())
        if ring["type"] == "endpoint.verification":
            self.challenges += 1
            return web.json_response({"challenge": ring["data"]["challenge"]})
        heard = Heard(request.headers["webhook-id"], time.monotonic())
        self.heard.append(heard)
        await asyncio.sleep(self.hold_seconds)
        answer = web.Response(status=204)
        try:
            await answer.prepare(request)
            await answer.write_eof()
        except ConnectionError:
            return answer  # whoever rang is no more
        heard.answered = True
        return answer


@asynccontextmanager
async def hearing(ear: Ear | None = None) -> AsyncIterator[Ear]:
    """An ear that listens until the block ends."""
    ear = ear or Ear()
    app = web.Application()
    app.router.add_post("/{path:.*}", ear.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, ear.host, ear.port).start()
    ear.port = runner.addresses[0][1]
    try:
        yield ear
    finally:
        await runner.cleanup()
