"""The verbs: post, get, and vet."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from app.kit.addresses import Network
from app.kit.headers import header_lines
from app.kit.outbound.answers import Answer, Fault, Timings, milliseconds, no_time
from app.kit.outbound.connection import Connection, Place
from app.kit.outbound.guard import Guard
from app.kit.outbound.names import Resolver, SystemResolver
from app.kit.outbound.pool import Dialer, Pool, SocketDialer
from app.kit.urls import BadUrl, Url, parse_url

__all__ = ["Outbound", "response_bytes_max"]

response_bytes_max = 16 * 1024
vet_timeout_seconds = 3.0
routes_remembered_max = 4096


class Route(NamedTuple):
    """What is known of a URL before it is called, and the same each time."""

    url: Url
    # The judgement of a literal address, which nothing changes while we run. None: its host has to be looked up.
    judgement: tuple[Place, ...] | Fault | None
    head: bytes  # of a request, after its method


class Outbound:
    """Guarded HTTP over one pool. Made once a process, closed at its end; not bound to a loop before first use."""

    def __init__(
        self,
        *,
        allow: Iterable[Network] = (),
        own: Collection[tuple[str, int]] = (),
        resolver: Resolver | None = None,
        dialer: Dialer | None = None,
        tls: ssl.SSLContext | None = None,
        user_agent: str = "Tocsin",
    ) -> None:
        self._guard = Guard(allow, own)
        self._resolver: Resolver = resolver or SystemResolver()
        self._dialer: Dialer = dialer or SocketDialer()
        self._tls = tls
        self._user_agent = user_agent
        self._pool: Pool | None = None
        # Retries and fan-out ask for the same few URLs again and again.
        self._route = lru_cache(routes_remembered_max)(self._find_route)

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, timeout_seconds: float
    ) -> Answer | Fault:
        """Post `body` and read the answer. Nothing is repeated: it may have been heard."""
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        return await self._call(
            b"POST", url, (header_lines(headers), length, body), timeout_seconds, response_bytes_max
        )

    async def get(
        self, url: str, headers: Mapping[str, str], *, timeout_seconds: float, body_bytes_max: int = response_bytes_max
    ) -> Answer | Fault:
        """Get a document of at most `body_bytes_max` bytes; a longer one comes back truncated, and says so.

        Asked a second time only where an open connection turns out to have been closed meanwhile.
        """
        return await self._call(b"GET", url, (header_lines(headers), b"\r\n"), timeout_seconds, body_bytes_max)

    async def vet(self, url: str) -> Fault | None:
        """Why this URL would not be called as things stand, or None. Looks its host up, connects to nothing."""
        try:
            async with asyncio.timeout(vet_timeout_seconds):
                judgement = await self._judged(self._route(url).url)
        except BadUrl as bad:
            return Fault("bad_url", str(bad))
        except TimeoutError:
            return Fault("no_public_address", "the look-up took too long")
        return judgement if isinstance(judgement, Fault) else None

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
        if isinstance(self._resolver, SystemResolver):
            self._resolver.close()

    async def _call(
        self, method: bytes, url: str, rest: tuple[bytes, ...], timeout_seconds: float, limit: int
    ) -> Answer | Fault:
        try:
            route = self._route(url)
        except BadUrl as bad:
            return Fault("bad_url", str(bad))
        pool = self._opened()
        ends_at = pool.now() + timeout_seconds
        judgement, spent = route.judgement, no_time
        if judgement is None:
            judgement, spent = await self._looked_up(route.url, ends_at)
        if isinstance(judgement, Fault):
            return replace(judgement, timings=spent)
        request = b"".join((method, route.head, *rest))
        connection = pool.idle(judgement)
        if connection is not None:
            try:
                result = await connection.ask(request, limit, ends_at, spent)
            except asyncio.CancelledError:
                connection.abort()
                raise
            if method != b"GET" or not _was_closed_before(connection, result):
                return result
        dialled = await pool.dial(judgement, ends_at, spent)
        if isinstance(dialled, Fault):
            return dialled
        connection, spent = dialled
        return await _asked(connection, request, limit, ends_at, spent)

    async def _looked_up(self, url: Url, ends_at: float) -> tuple[tuple[Place, ...] | Fault, Timings]:
        pool = self._opened()
        began = pool.now()
        try:
            async with asyncio.timeout_at(ends_at):
                judgement = await self._judged(url)
        except TimeoutError:
            judgement = Fault("timeout", "the look-up took too long")
        return judgement, Timings(milliseconds(pool.now() - began))

    async def _judged(self, url: Url) -> tuple[Place, ...] | Fault:
        """What to dial for `url` as things stand. Looks its host up once, unless that is an address."""
        addresses = (url.host,) if _is_literal(url.host) else await self._resolver.addresses(url.host)
        own = [address for name in self._guard.own_names(url) for address in await self._resolver.addresses(name)]
        return self._guard.judged(url, addresses, own)

    def _find_route(self, text: str) -> Route:
        url = parse_url(text)
        head = f" {url.target} HTTP/1.1\r\nHost: {url.authority}\r\nUser-Agent: {self._user_agent}\r\n"
        is_settled = _is_literal(url.host) and not self._guard.own_names(url)
        return Route(url, self._guard.judged(url, (url.host,), ()) if is_settled else None, head.encode("ascii"))

    def _opened(self) -> Pool:
        if self._pool is None:
            self._pool = Pool(asyncio.get_running_loop(), self._dialer, self._tls)
        return self._pool


async def _asked(connection: Connection, request: bytes, limit: int, ends_at: float, spent: Timings) -> Answer | Fault:
    try:
        return await connection.ask(request, limit, ends_at, spent)
    except asyncio.CancelledError:
        connection.abort()
        raise


def _was_closed_before(connection: Connection, result: Answer | Fault) -> bool:
    """Whether the connection was closed when we used it again, and the request most likely not heard."""
    return isinstance(result, Fault) and result.category == "connection_lost" and connection.heard_nothing


def _is_literal(host: str) -> bool:
    # The parser lets a host end in a digit-only label when it is an IPv4 address, and contain a colon when IPv6.
    return ":" in host or host.rpartition(".")[2].isdigit()
