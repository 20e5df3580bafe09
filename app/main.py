"""The API: one ASGI application, made from the operations table."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypedDict

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.discovery import routes as discovery
from app.kit import problems, telemetry
from app.kit.idempotency import KeptAnswers
from app.kit.ids import Ids
from app.kit.operations import Door, Gate, Operation
from app.kit.wake import Doorbell
from app.operations import FEATURES, priced
from app.payments.opening import open_gate, require_sellable
from app.services import Services, open_services
from app.settings import Settings, export_traces

log = telemetry.logger(__name__)


class State(TypedDict):
    """What every request can see."""

    services: Services


def create() -> Starlette:
    """The API with the settings of the environment: what `uvicorn --factory app.main:create` serves."""
    settings = Settings()
    telemetry.configure(settings.log.format, settings.log.level, settings.log.attempts)
    export_traces(settings.telemetry, "tocsin-api")
    # Said here, and not when the first agent asks: that these settings cannot be sold by.
    require_sellable(settings, _operations())
    return serve(settings)


def serve(settings: Settings) -> Starlette:
    """The API with these settings. Its routes come to life with its lifespan, when there is a database to speak to."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[State]:
        assert settings.valkey.url is not None, "TOCSIN_VALKEY_URL must be set; `tocsin up` sets it"
        doorbell = Doorbell(settings.valkey.url)
        async with open_services(settings, doorbell, name="api") as services, opened_gate(services) as gate:
            app.router.routes[:] = routes(services, gate)
            log.info("the API listens", host=settings.api.host, port=settings.api.port)
            yield {"services": services}
            await doorbell.close()

    return assemble([], lifespan)


def assemble(table: list[BaseRoute], lifespan: Any = None) -> Starlette:
    """An application around these routes, with an id for every request and a document for every refusal."""
    app = Starlette(
        routes=table, lifespan=lifespan, middleware=[Middleware(Identified)], exception_handlers=problems.handlers
    )
    # A redirect would be followed with a signature that covers another path.
    app.router.redirect_slashes = False
    return app


def opened_gate(services: Services) -> AbstractAsyncContextManager[Gate | None]:
    """The gate before operations that these settings put a price on."""
    return open_gate(services.settings, _operations(), services.database.transaction, services.clock, Ids())


def routes(services: Services, gate: Gate | None = None) -> list[BaseRoute]:
    """Every route: the features' from their tables, then what strangers may read."""
    door = Door(
        transaction=services.database.transaction,
        authenticator=services.identity,
        gate=gate,
        clock=services.clock,
        wake=services.wake,
        answers=KeptAnswers(services.keyring),
    )
    table: list[BaseRoute] = []
    for feature, operations in FEATURES.items():
        table += door.routes(getattr(services, feature), operations)
    return [*table, *discovery.routes(services.settings, services.database, priced(services.settings.prices))]


def _operations() -> list[Operation]:
    return [operation for feature in FEATURES.values() for operation in feature]


class Identified:
    """Gives each request an id, which its answer and its log lines carry, and each answer its standing headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._ids = Ids()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._ids.new("req")
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["x-content-type-options"] = "nosniff"
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, send_identified)
