"""Connections to vetted places: opened, kept while they are of use, and ended when their time is up."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from app.kit.outbound.answers import Category, Fault, Timings, milliseconds
from app.kit.outbound.connection import Connection, Place

__all__ = ["Dialer", "Pool", "SocketDialer"]

connect_timeout_seconds = 5.0
addresses_dialled_max = 4
idle_connections_max = 1_000
# Deadlines are looked at together. A timer for each request would cost as much as writing the request.
sweep_seconds = 0.05
close_timeout_seconds = 1.0


class Dialer(Protocol):
    """Opening of connections."""

    async def connect(self, address: str, port: int) -> socket.socket:
        """A non-blocking socket that is connected to this address; OSError when nobody accepts."""
        ...


class SocketDialer:
    """Real sockets. The address is one, never a name, so that nothing is looked up here."""

    async def connect(self, address: str, port: int) -> socket.socket:
        connecting = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        connecting.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connecting, (address, port))
        except BaseException:
            connecting.close()
            raise
        return connecting


class Pool:
    """All connections of one process, on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dialer: Dialer, tls: ssl.SSLContext | None) -> None:
        self._loop = loop
        self._dialer = dialer
        self._tls = tls
        self._open: set[Connection] = set()
        self._idle: defaultdict[Place, list[Connection]] = defaultdict(list)
        self._idle_count = 0
        self._sweeping: asyncio.TimerHandle | None = None
        self._all_lost: asyncio.Future[None] | None = None
        self._is_closed = False

    def now(self) -> float:
        """The clock of deadlines."""
        return self._loop.time()

    def idle(self, places: Sequence[Place]) -> Connection | None:
        """An open connection to one of these that nobody uses; the one used latest."""
        for place in places:
            waiting = self._idle.get(place)
            while waiting:
                connection = self._take(place, waiting)
                if connection.is_open:
                    return connection
        return None

    def _take(self, place: Place, waiting: list[Connection]) -> Connection:
        connection = waiting.pop()
        self._idle_count -= 1
        if not waiting:
            del self._idle[place]
        return connection

    async def dial(self, places: Sequence[Place], ends_at: float, spent: Timings) -> tuple[Connection, Timings] | Fault:
        """A new connection to the first of these that accepts one, and what it took."""
        began = self._loop.time()
        failure: Exception | None = None
        for place in places[:addresses_dialled_max]:
            by = min(ends_at, self._loop.time() + connect_timeout_seconds)
            try:
                async with asyncio.timeout_at(by):
                    connected = await self._dialer.connect(place.address, place.port)
            except OSError as error:  # a TimeoutError is one, too
                failure = error
                continue
            spent = spent._replace(connect_ms=milliseconds(self._loop.time() - began))
            return await self._made(connected, place, ends_at, spent)
        assert failure is not None, "vetted places are at least one"
        spent = spent._replace(connect_ms=milliseconds(self._loop.time() - began))
        category: Category = "timeout" if isinstance(failure, TimeoutError) else "connection_failed"
        return Fault(category, _said(failure), spent)

    async def _made(
        self, connected: socket.socket, place: Place, ends_at: float, spent: Timings
    ) -> tuple[Connection, Timings] | Fault:
        began = self._loop.time()
        try:
            async with asyncio.timeout_at(ends_at):
                connection = await self._spoken_over(connected, place)
        except OSError as error:  # ssl.SSLError and TimeoutError are such; the socket was closed with its transport
            spent = spent._replace(tls_ms=milliseconds(self._loop.time() - began))
            return Fault(_handshake_category(error, place), _said(error), spent)
        if place.server_name is not None:
            spent = spent._replace(tls_ms=milliseconds(self._loop.time() - began))
        if self._is_closed:
            connection.abort()
        if not connection.is_open:
            return Fault("connection_lost", "closed at once", spent)
        self._open.add(connection)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(sweep_seconds, self._sweep)
        return connection, spent

    async def _spoken_over(self, connected: socket.socket, place: Place) -> Connection:
        _, connection = await self._loop.create_connection(
            lambda: Connection(place, self._loop, self._keep, self._forget),
            sock=connected,
            ssl=None if place.server_name is None else self._trust(),
            server_hostname=place.server_name,
        )
        return connection

    def _trust(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
            # A name is proven by the names that a certificate lists, and not by what its subject is called (RFC 9525).
            self._tls.hostname_checks_common_name = False
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _keep(self, connection: Connection) -> None:
        """It can be asked again."""
        if self._idle_count >= idle_connections_max or connection.idle_seconds_max <= 0:
            connection.abort()
            return
        connection.ends_at = self._loop.time() + connection.idle_seconds_max
        self._idle[connection.place].append(connection)
        self._idle_count += 1

    def _forget(self, connection: Connection) -> None:
        """It is gone."""
        self._open.discard(connection)
        waiting = self._idle.get(connection.place)
        if waiting and connection in waiting:
            waiting.remove(connection)
            self._idle_count -= 1
            if not waiting:
                del self._idle[connection.place]
        if self._all_lost is not None and not self._open and not self._all_lost.done():
            self._all_lost.set_result(None)

    def _sweep(self) -> None:
        """End what is past its time: requests at their deadline, and connections that nobody uses."""
        now = self._loop.time()
        for connection in [each for each in self._open if each.ends_at <= now]:
            connection.end()
        self._sweeping = self._loop.call_later(sweep_seconds, self._sweep) if self._open else None

    async def close(self) -> None:
        """Abort all that is open, and wait until it is closed. What is still being dialled is not kept."""
        self._is_closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        if self._open:
            self._all_lost = self._loop.create_future()
            for connection in tuple(self._open):
                connection.abort()
            await asyncio.wait((self._all_lost,), timeout=close_timeout_seconds)


def _handshake_category(error: OSError, place: Place) -> Category:
    if isinstance(error, TimeoutError):
        return "timeout"
    # Who finds no common version often just hangs up.
    return "connection_lost" if place.server_name is None else "tls_error"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
