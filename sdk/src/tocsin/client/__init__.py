"""The relay as an agent sees it: `Client`, which blocks, and `AsyncClient`, which awaits.

>>> from tocsin import Client, PrivateKey
>>> client = Client("https://relay.example", PrivateKey.generate())

    me = client.agents.register(client.key, name="night watch")
    endpoint = client.endpoints.create("https://agent.example/rings")
    for event in client.events.list():
        print(event.kind, event.subject)

Each try is signed anew; each write carries an idempotency key through all its tries, so it happens once however often
it is sent. Connection errors, 429 and 503 are retried as long as the relay asks for at most 30 seconds; whatever it
refuses is raised as the class of `tocsin.problems` that it raised. What could not be sent at all is an
`InvalidArgument`, a ValueError, raised before the relay is asked:

>>> from tocsin.client import InvalidArgument
>>> try:
...     client.messages.publish("bad type", {"card": "4111"})
... except InvalidArgument as invalid:
...     print(invalid.errors[0]["pointer"], "4111" in str(invalid))
/type False
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import httpx

from tocsin.auth import RequestSigner, authorities, find_key, find_url, is_here, wall_clock
from tocsin.client.areas import (
    Agents,
    Deliveries,
    Endpoints,
    Events,
    Messages,
    Payments,
    Recoveries,
    Schedules,
    Subscriptions,
)
from tocsin.client.calls import Call, after
from tocsin.client.exchange import ClientError, Pause, Pay, Retries, Send, UnexpectedAnswer, Unreachable, exchange
from tocsin.client.following import BrokenSequence
from tocsin.keys import PrivateKey
from tocsin.problems import PaymentRequired
from tocsin.schemas.wire import InvalidArgument, Page

__all__ = [
    "AsyncClient",
    "BrokenSequence",
    "Call",
    "Client",
    "ClientError",
    "InvalidArgument",
    "Retries",
    "UnexpectedAnswer",
    "Unreachable",
]

T = TypeVar("T")

timeout_seconds_default = 30.0
connect_seconds_default = 5.0


class Client:
    """A relay, asked in a blocking way.

    Without `url` and `key` they are those of `TOCSIN_URL` and `TOCSIN_KEY`, or the usual ones. `pay` is called when an
    operation costs something: it is given the problem with its x402 challenge, and returns the header fields of the
    payment, or None to decline.

    Arguments that cannot be sent raise `InvalidArgument`: `errors` says where and why. What the relay refuses raises
    its `tocsin.problems.Problem`; a relay that does not answer, `ClientError`.
    """

    def __init__(
        self,
        url: str | None = None,
        key: PrivateKey | None = None,
        *,
        retries: Retries | None = None,
        pay: Callable[[PaymentRequired], Mapping[str, str] | None] | None = None,
        clock: Callable[[], datetime] = wall_clock,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url, self.key = find_url(url), key or find_key()
        self._retries, self._pay = retries or Retries(), pay
        trust_env = not is_here(self.url)
        self._http = httpx.Client(
            base_url=self.url,
            auth=RequestSigner(self.key, clock=clock),
            transport=transport,
            verify=authorities(trust_env=trust_env),
            trust_env=trust_env,
        )
        self.agents = Agents(self)
        self.endpoints = Endpoints(self)
        self.schedules = Schedules(self)
        self.subscriptions = Subscriptions(self)
        self.deliveries = Deliveries(self)
        self.messages = Messages(self)
        self.recoveries = Recoveries(self)
        self.payments = Payments(self)
        self.events = Events(self)

    def send(self, call: Call[T]) -> T:
        """Carry out a call, and return its answer."""
        flow = exchange(call, secrets.token_urlsafe(16), self._retries)
        step = next(flow)
        try:
            while True:
                step = flow.send(self._do(step))
        except StopIteration as end:
            return cast(T, end.value)

    def items(self, call: Call[Page[T]]) -> Iterator[T]:
        """The items of a list, page after page."""
        page = self.send(call)
        yield from page.items
        while page.next:
            page = self.send(after(call, page.next))
            yield from page.items

    def webhook_keys(self) -> dict[str, Any]:
        """The relay's public keys for `v1a` signatures, as the JWKS that `tocsin.webhooks.verify` takes."""
        return self.send(_WEBHOOK_KEYS)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _do(self, step: Send[Any] | Pause | Pay) -> Any:
        match step:
            case Send(call, headers):
                try:
                    return self._http.send(_request(self._http, call, headers))
                except httpx.TransportError as error:
                    return error
            case Pause(seconds):
                return time.sleep(seconds)
            case Pay(problem):
                return self._pay(problem) if self._pay else None


class AsyncClient:
    """A relay, asked without blocking. As `Client`, but calls are awaited and `pay` may be a coroutine function."""

    def __init__(
        self,
        url: str | None = None,
        key: PrivateKey | None = None,
        *,
        retries: Retries | None = None,
        pay: Callable[[PaymentRequired], Awaitable[Mapping[str, str] | None]] | None = None,
        clock: Callable[[], datetime] = wall_clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url, self.key = find_url(url), key or find_key()
        self._retries, self._pay = retries or Retries(), pay
        trust_env = not is_here(self.url)
        self._http = httpx.AsyncClient(
            base_url=self.url,
            auth=RequestSigner(self.key, clock=clock),
            transport=transport,
            verify=authorities(trust_env=trust_env),
            trust_env=trust_env,
        )
        self.agents = Agents(self)
        self.endpoints = Endpoints(self)
        self.schedules = Schedules(self)
        self.subscriptions = Subscriptions(self)
        self.deliveries = Deliveries(self)
        self.messages = Messages(self)
        self.recoveries = Recoveries(self)
        self.payments = Payments(self)
        self.events = Events(self)

    async def send(self, call: Call[T]) -> T:
        """Carry out a call, and return its answer."""
        flow = exchange(call, secrets.token_urlsafe(16), self._retries)
        step = next(flow)
        try:
            while True:
                step = flow.send(await self._do(step))
        except StopIteration as end:
            return cast(T, end.value)

    async def items(self, call: Call[Page[T]]) -> AsyncIterator[T]:
        """The items of a list, page after page."""
        page = await self.send(call)
        for item in page.items:
            yield item
        while page.next:
            page = await self.send(after(call, page.next))
            for item in page.items:
                yield item

    async def webhook_keys(self) -> dict[str, Any]:
        """The relay's public keys for `v1a` signatures, as the JWKS that `tocsin.webhooks.verify` takes."""
        return await self.send(_WEBHOOK_KEYS)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    async def _do(self, step: Send[Any] | Pause | Pay) -> Any:
        match step:
            case Send(call, headers):
                try:
                    return await self._http.send(_request(self._http, call, headers))
                except httpx.TransportError as error:
                    return error
            case Pause(seconds):
                return await asyncio.sleep(seconds)
            case Pay(problem):
                return await self._pay(problem) if self._pay else None


def _jwks(body: bytes) -> dict[str, Any]:
    document = httpx.Response(200, content=body).json()
    if not isinstance(document, dict) or "keys" not in document:
        raise ValueError("something else than a JWKS")
    return cast(dict[str, Any], document)


_WEBHOOK_KEYS = Call("GET", "/.well-known/jwks.json", _jwks)


def _request(http: httpx.Client | httpx.AsyncClient, call: Call[Any], headers: Mapping[str, str]) -> httpx.Request:
    content = {"Content-Type": "application/json"} if call.body else {}
    return http.build_request(
        call.method,
        call.path,
        params=dict(call.query) or None,
        headers={"Accept": "application/json"} | content | dict(headers),
        content=call.body or None,
        timeout=httpx.Timeout(timeout_seconds_default + call.wait_seconds, connect=connect_seconds_default),
    )
