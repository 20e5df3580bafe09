"""Receivers of webhooks for tests: real HTTP servers on loopback that note what they are rung."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Behaviour = Callable[["Post"], web.StreamResponse | Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Post:
    """One request that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def type(self) -> str:
        return self.json["type"]


def thank(post: Post) -> web.Response:
    """Takes every ring."""
    return web.Response(status=204)


def echo(post: Post) -> web.Response:
    """Answers a challenge as it should be answered."""
    return web.json_response({"challenge": post.json["data"]["challenge"]})


@dataclass
class Receiver:
    """What arrived, and how to answer: challenges by `verifies`, everything else by `answers`."""

    answers: Behaviour = thank
    verifies: Behaviour = echo
    posts: list[Post] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def rings(self) -> list[Post]:
        """What arrived and was no challenge."""
        return [post for post in self.posts if post.type != "endpoint.verification"]

    @property
    def challenges(self) -> list[Post]:
        return [post for post in self.posts if post.type == "endpoint.verification"]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        post = Post(request.path, {k.lower(): v for k, v in request.headers.items()}, await request.read())
        self.posts.append(post)
        behaviour = self.verifies if post.type == "endpoint.verification" else self.answers
        answer = behaviour(post)
        return answer if isinstance(answer, web.StreamResponse) else await answer


@asynccontextmanager
async def receiving(receiver: Receiver | None = None) -> AsyncIterator[Receiver]:
    """A receiver that listens until the block ends."""
    receiver = receiver or Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", receiver.port).start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()
