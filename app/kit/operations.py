"""The API is a table of values. This turns the table into routes, and is the one door through which a call enters.

A handler is `async def create_schedule(call: Call[Schedules], body: NewSchedule) -> Schedule`. Its parameters say what
it needs, by name: `call`, then `body`, `query` (wire models), `conditions` (the request's `If-Match` and
`If-None-Match`) and one `str` per placeholder of the path. What has versions is answered as `Reply`.

One request is one transaction: the caller's nonce, the effect, its events and the answer kept for its idempotency key
commit together, before the answer is sent. A refusal changes nothing, except that its nonce stays used.
"""

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any, Generic, Protocol, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from app.kit import foreign_json, limits, preconditions, problems, telemetry, tracing
from app.kit.clock import Clock
from app.kit.idempotency import KeptAnswers
from app.kit.wake import Wake
from tocsin.problems import (
    ContentTooLarge,
    InvalidBody,
    InvalidQuery,
    NotFound,
    Problem,
    RequestTimeout,
    UnsupportedMediaType,
)

log = telemetry.logger(__name__)

S = TypeVar("S")
A = TypeVar("A", bound=BaseModel, covariant=True)


@dataclass(frozen=True)
class Reply(Generic[A]):
    """An answer that says which version it shows, as its ETag."""

    shown: A
    version: int
    # 201 instead of 200, where the operation `creates`.
    created: bool = False


@dataclass(frozen=True)
class Stream:
    """An answer that goes on: server-sent events, in pieces as they are to be sent. Its operation `waits`."""

    pieces: AsyncIterator[bytes]


Handler = Callable[..., Awaitable[BaseModel | Reply[BaseModel] | Stream | None]]


@dataclass(frozen=True)
class Caller:
    """Who asks: the agent's id, and the key that signed this request."""

    id: str
    keyid: str


@dataclass(frozen=True)
class Operation:
    """One row of the table: what is called, what it answers, what it costs and how it refuses."""

    method: str
    path: str
    handler: Handler
    status: int = 200
    # True: creates what is not there yet, and then answers 201 instead.
    creates: bool = False
    signed: bool = True
    price: str | None = None
    problems: tuple[type[Problem], ...] = ()
    body_bytes_max: int = limits.body_bytes_max
    # What a body is where the handler reads it as it came, from `call.incoming`: any media type, not only JSON.
    takes: str | None = None
    # How long anybody on the way may keep the answer; None: not at all.
    cached_seconds: int | None = None
    # True: the handler waits for something. It is called after the transaction that authenticated has ended, and opens
    # short ones of its own by `call.transaction`: no connection is held while it waits.
    waits: bool = False
    # What has to be asked of the outside before the handler runs: awaited with the service and the body, once the
    # caller is known and while no transaction is open, as an answer may take seconds. Raises the refusal.
    ask: Callable[[Any, Any], Awaitable[None]] | None = None

    @property
    def name(self) -> str:
        """`POST /v1/schedules`: how logs, metrics and the price list call it."""
        return f"{self.method} {self.path}"

    @property
    def writes(self) -> bool:
        return self.method not in {"GET", "HEAD"}


@dataclass(frozen=True)
class Shape:
    """What a handler's signature asks for and answers with."""

    body: type[BaseModel] | None
    query: type[BaseModel] | None
    placeholders: tuple[str, ...]
    answer: type[BaseModel] | None
    conditional: bool = False
    versioned: bool = False
    streams: bool = False


@dataclass(frozen=True)
class Incoming:
    """A request as it came in, with its body read whole and bounded."""

    method: str
    authority: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    path_params: Mapping[str, str]
    query_params: Mapping[str, str]
    request_id: str


@dataclass(frozen=True)
class Answer:
    """An answer before it is sent: plain bytes, so that it can be kept and given again."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    pieces: AsyncIterator[bytes] | None = None  # instead of a body: of an answer that goes on

    def response(self) -> Response:
        if self.pieces is not None:
            return StreamingResponse(self.pieces, self.status, dict(self.headers), "text/event-stream")
        media_type = "application/json" if self.body else None
        return Response(self.body, self.status, dict(self.headers), media_type)


OpenTransaction = Callable[[], AbstractAsyncContextManager[AsyncSession]]


@dataclass(frozen=True)
class Call(Generic[S]):
    """One call of an operation, as its handler sees it. `agent` is empty strings where the operation is not signed."""

    service: S
    db: AsyncSession
    agent: Caller
    now: datetime
    incoming: Incoming
    transaction: OpenTransaction
    rings: list[str] = field(default_factory=list[str])

    @property
    def request_id(self) -> str:
        return self.incoming.request_id

    def ring(self, feature: str) -> None:
        """Wake the workers of a feature once this call has committed."""
        self.rings.append(feature)


class Authenticator(Protocol):
    """Knows who signed a request."""

    async def authenticate(self, db: AsyncSession, incoming: Incoming, now: datetime) -> Caller:
        """The agent whose live key signed this request. Remembers the nonce of a write. Raises `Unauthorized`."""
        ...

    async def remember(self, db: AsyncSession, incoming: Incoming, caller: Caller) -> None:
        """Remember the nonce of a request that was refused after its signature had been found good."""
        ...


@dataclass(frozen=True)
class Sale:
    """A call of a priced operation: authenticated and valid, not yet paid."""

    operation: Operation
    incoming: Incoming
    caller: Caller
    # Runs the handler in the transaction that also books the payment, and adds these headers to its answer, so that the
    # receipt is kept with it. Workers are rung only once `sell` has returned. May be run and rolled back before.
    perform: Callable[[AsyncSession, Mapping[str, str]], Awaitable[Answer]]


class Gate(Protocol):
    """Stands before operations that have a price."""

    def price(self, operation: Operation) -> str | None:
        """What this call costs, as a USD string such as `$0.001`; None when it is free."""
        ...

    async def sell(self, sale: Sale) -> Answer:
        """Take the payment, then perform. Raises `PaymentRequired` and its kin, and 503 while an outcome is unknown."""
        ...


_no_caller = Caller(id="", keyid="")


@cache
def shape(operation: Operation) -> Shape:
    """Read a handler's signature. Raises AssertionError where table and handler disagree: a bug, found at start."""
    signature = inspect.signature(operation.handler, eval_str=True)
    placeholders = tuple(re.findall(r"{(\w+)}", operation.path))
    wanted = set(signature.parameters) - {"call", "body", "query", "conditions"}
    assert wanted == set(placeholders), f"{operation.name}: path has {placeholders}, handler takes {sorted(wanted)}"

    def model(annotation: Any) -> type[BaseModel] | None:
        kinds = [kind for kind in (annotation, *get_args(annotation)) if inspect.isclass(kind)]
        return next((kind for kind in kinds if issubclass(kind, BaseModel)), None)

    def parameter(name: str) -> type[BaseModel] | None:
        return model(signature.parameters[name].annotation) if name in signature.parameters else None

    return Shape(
        parameter("body"),
        parameter("query"),
        placeholders,
        model(signature.return_annotation),
        conditional="conditions" in signature.parameters,
        versioned=get_origin(signature.return_annotation) is Reply,
        streams=signature.return_annotation is Stream,
    )


@dataclass(frozen=True)
class Door:
    """Turns operations into routes: reads, authenticates, checks, performs, keeps, answers."""

    transaction: OpenTransaction
    authenticator: Authenticator
    gate: Gate | None
    clock: Clock
    wake: Wake
    answers: KeptAnswers

    def routes(self, service: object, operations: Sequence[Operation]) -> list[Route]:
        """The routes of one feature."""
        return [
            Route(o.path, _Entrance(self, service, o, shape(o)), methods=[o.method], name=o.handler.__name__)
            for o in operations
        ]


@dataclass(frozen=True)
class _Entrance:
    """One operation behind the door: an ASGI app that answers its calls."""

    door: Door
    service: object
    operation: Operation
    shape: Shape

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request, started = Request(scope, receive), self.door.clock.monotonic()
        with tracing.request(self.operation.method, self.operation.path, request.headers) as span:
            response = await self._respond(request)
            tracing.record(span, response.status_code)
        telemetry.requests.labels(self.operation.name, str(response.status_code)).inc()
        telemetry.request_seconds.labels(self.operation.name).observe(self.door.clock.monotonic() - started)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        try:
            incoming = await _read(request, self.operation.body_bytes_max)
            return (await self._answer(incoming)).response()
        except Exception as error:
            # The edge of the house: whatever went wrong inside becomes a document here, and is logged if it is ours.
            return problems.answer(error, request)

    async def _answer(self, incoming: Incoming) -> Answer:
        if self.door.gate is not None and self.door.gate.price(self.operation) is not None:
            return await self._sold(incoming)
        caller, rings = _no_caller, list[str]()
        answer: Answer | None = None
        try:
            async with self.door.transaction() as db:
                now = await self.door.clock.now(db)
                if self.operation.signed:
                    caller = await self.door.authenticator.authenticate(db, incoming, now)
                if self.operation.ask is not None:
                    # What was answered before is not asked about again: the outside may say something else today.
                    kept = await self.door.answers.find(db, caller.id, incoming)
                    answer = Answer(*kept) if kept is not None else None
                elif not self.operation.waits:
                    answer = await self._perform_once(db, incoming, caller, now, rings)
            if answer is None:
                answer = await self._perform_apart(db, incoming, caller, now, rings)
        except Problem:
            await self._remember_refused(incoming, caller)
            raise
        self._ring(rings)
        return answer

    async def _perform_apart(
        self, ended: AsyncSession, incoming: Incoming, caller: Caller, now: datetime, rings: list[str]
    ) -> Answer:
        """Run a handler that has to do with the outside: the transaction that authenticated has ended."""
        if self.operation.waits:
            return await self._perform(ended, incoming, caller, now, rings)
        await self._ask(incoming)
        async with self.door.transaction() as db:
            return await self._perform_once(db, incoming, caller, await self.door.clock.now(db), rings)

    async def _ask(self, incoming: Incoming) -> None:
        """Refuse what can be refused without the database."""
        arguments = self._arguments(incoming)
        if self.operation.ask is not None:
            await self.operation.ask(self.service, arguments["body"])

    async def _sold(self, incoming: Incoming) -> Answer:
        """A priced call: everything that can be refused is refused before money moves."""
        assert self.operation.signed, f"{self.operation.name}: only signed operations can have a price"
        rings = list[str]()
        async with self.door.transaction() as db:
            now = await self.door.clock.now(db)
            caller = await self.door.authenticator.authenticate(db, incoming, now)
            kept = await self.door.answers.find(db, caller.id, incoming)
        if kept is not None:
            return Answer(*kept)
        await self._ask(incoming)

        async def perform(db: AsyncSession, headers: Mapping[str, str]) -> Answer:
            return await self._perform_once(db, incoming, caller, await self.door.clock.now(db), rings, headers)

        assert self.door.gate is not None
        answer = await self.door.gate.sell(Sale(self.operation, incoming, caller, perform))
        self._ring(rings)
        return answer

    async def _perform_once(
        self,
        db: AsyncSession,
        incoming: Incoming,
        caller: Caller,
        now: datetime,
        rings: list[str],
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Run the handler, unless this idempotency key has been answered before."""
        keyed = self.operation.signed and self.operation.writes
        kept = await self.door.answers.begin(db, caller.id, incoming) if keyed else None
        if kept is not None:
            return Answer(*kept)
        answer = await self._perform(db, incoming, caller, now, rings)
        answer = replace(answer, headers={**answer.headers, **(headers or {})})
        if keyed:
            await self.door.answers.keep(db, caller.id, incoming, (answer.status, answer.body, answer.headers), now)
        return answer

    async def _perform(
        self, db: AsyncSession, incoming: Incoming, caller: Caller, now: datetime, rings: list[str]
    ) -> Answer:
        call = Call[Any](self.service, db, caller, now, incoming, self.door.transaction, rings)
        answer = _answer_of(self.operation.status, await self.operation.handler(call, **self._arguments(incoming)))
        if self.operation.cached_seconds is None:
            return answer
        kept = {"Cache-Control": f"public, max-age={self.operation.cached_seconds}"}
        return replace(answer, headers={**answer.headers, **kept})

    def _arguments(self, incoming: Incoming) -> dict[str, Any]:
        arguments: dict[str, Any] = dict(incoming.path_params)
        if any("\0" in value for value in incoming.path_params.values()):
            raise NotFound("no id holds the character U+0000")  # and Postgres takes it in no text
        if self.shape.body is not None:
            arguments["body"] = _body(self.shape.body, incoming)
        if self.shape.query is not None:
            arguments["query"] = _query(self.shape.query, incoming)
        if self.shape.conditional:
            arguments["conditions"] = preconditions.read(incoming.headers)
        return arguments

    async def _remember_refused(self, incoming: Incoming, caller: Caller) -> None:
        # The refusal rolled its nonce back. Dying here is harmless: what was refused has changed nothing.
        if self.operation.writes and caller is not _no_caller:
            async with self.door.transaction() as db:
                await self.door.authenticator.remember(db, incoming, caller)

    def _ring(self, rings: Sequence[str]) -> None:
        for feature in dict.fromkeys(rings):
            self.door.wake.ring(feature)


async def _read(request: Request, body_bytes_max: int) -> Incoming:
    """The request with its body, refused before it is read whole when it is too large or too slow."""
    try:
        async with asyncio.timeout(limits.body_read_seconds):
            body = await _bounded_body(request, body_bytes_max)
    except (TimeoutError, ClientDisconnect) as error:
        raise RequestTimeout(f"the body did not arrive within {limits.body_read_seconds} s") from error
    return Incoming(
        method=request.method,
        authority=request.headers.get("host", ""),
        path=request.scope["raw_path"].decode("latin-1").partition("?")[0],
        query=request.scope["query_string"].decode("latin-1"),
        headers=_joined(request),
        body=body,
        path_params={name: str(value) for name, value in request.path_params.items()},
        query_params=_single(request),
        request_id=request.state.request_id,
    )


async def _bounded_body(request: Request, body_bytes_max: int) -> bytes:
    too_large = ContentTooLarge(f"the body may have at most {body_bytes_max} bytes", bytes_max=body_bytes_max)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > body_bytes_max:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > body_bytes_max:
            raise too_large
    return bytes(body)


def _joined(request: Request) -> dict[str, str]:
    """Header fields by lower-case name; a repeated field is joined by a comma, as RFC 9421 §2.1 reads it."""
    fields: dict[str, str] = {}
    for name, value in request.headers.items():
        fields[name] = f"{fields[name]}, {value.strip()}" if name in fields else value.strip()
    return fields


def _single(request: Request) -> dict[str, str]:
    repeated = [name for name in request.query_params if len(request.query_params.getlist(name)) > 1]
    if repeated:
        raise InvalidQuery(errors=[{"parameter": name, "detail": "may be given once"} for name in repeated])
    return dict(request.query_params)


def _body(model: type[BaseModel], incoming: Incoming) -> BaseModel:
    media_type = incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
    if incoming.body and media_type != "application/json":
        raise UnsupportedMediaType("send the body as application/json")
    # No body at all reads as an empty object: operations whose fields are all optional need none.
    body = incoming.body or b"{}"
    try:
        read = model.model_validate_json(body)
    except ValidationError as error:
        raise InvalidBody(errors=problems.pointers(error, body)) from error
    # The model has taken the last of two without a word, and whoever signed them may have meant the first.
    if (steps := foreign_json.repeated(body)) is not None:
        raise InvalidBody.at(problems.pointer(steps), "the object has more than one member of this name; send one")
    return read


def _query(model: type[BaseModel], incoming: Incoming) -> BaseModel:
    try:
        return model.model_validate_strings(incoming.query_params)
    except ValidationError as error:
        raise InvalidQuery(errors=problems.parameters(error)) from error


def _answer_of(status: int, result: BaseModel | Reply[BaseModel] | Stream | None) -> Answer:
    if result is None:
        return Answer(status=204, body=b"")
    if isinstance(result, Stream):
        # Nobody on the way may keep it, or hold it back until there is more.
        return Answer(status, b"", {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, result.pieces)
    if isinstance(result, Reply):
        answer = _answer_of(201 if result.created else status, result.shown)
        return replace(answer, headers={"ETag": preconditions.etag(result.version)})
    return Answer(status, result.model_dump_json(by_alias=True).encode())


def require(found: S | None, what: str) -> S:
    """The thing, or 404. What belongs to another agent is answered the same way: not found."""
    if found is None:
        raise NotFound(f"there is no such {what}")
    return found
