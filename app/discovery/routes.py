"""Public pages. They are no operations: they answer anyone, and some of them not in JSON."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app.discovery import llms, problem_pages
from app.kit import openapi, problems
from app.kit.database import Database
from app.kit.operations import Operation
from app.settings import Settings
from tocsin.schemas.webhooks import WEBHOOKS

Page = Callable[[Request], Awaitable[Response]]


def describe(features: Mapping[str, Sequence[Operation]], origin: str) -> dict[str, Any]:
    """The OpenAPI document of this relay."""
    return openapi.document(features, WEBHOOKS, version("tocsin-relay"), origin)


def routes(settings: Settings, database: Database, features: Mapping[str, Sequence[Operation]]) -> list[Route]:
    """Every public page."""
    origin = settings.api.origin
    return [
        _fixed("/", lambda: json.dumps(_index(origin), indent=2), "application/json"),
        _fixed("/openapi.json", lambda: json.dumps(describe(features, origin), indent=2), "application/json"),
        _fixed("/llms.txt", lambda: llms.text(features, origin), "text/plain"),
        Route("/problems/{slug}", problem_pages.show, methods=["GET"]),
        Route("/healthz", healthy, methods=["GET"]),
        Route("/readyz", _ready(database), methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]


async def healthy(request: Request) -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


async def metrics(request: Request) -> Response:
    """This process's metrics, for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _ready(database: Database) -> Page:
    async def ready(request: Request) -> Response:
        try:
            async with database.transaction() as db:
                await db.execute(text("select 1"))
        except Exception as error:
            # Answered here: what reaches the server above us is logged with a traceback, each time somebody asks.
            return problems.answer(error, request)
        return PlainTextResponse("ready\n")

    return ready


def _fixed(path: str, write: Callable[[], str], media_type: str) -> Route:
    """A page that stays as it is. Written for its first reader: a start should not wait for what may go unread."""
    written = cache(write)

    async def show(request: Request) -> Response:
        return Response(written(), media_type=media_type, headers={"cache-control": "public, max-age=60"})

    return Route(path, show, methods=["GET"])


def _index(origin: str) -> dict[str, str]:
    return {
        "name": "Tocsin",
        "version": version("tocsin-relay"),
        "openapi": f"{origin}/openapi.json",
        "llms": f"{origin}/llms.txt",
        "webhook_keys": f"{origin}/.well-known/jwks.json",
        "register": f"{origin}/v1/agents",
    }
