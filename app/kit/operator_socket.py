"""WebSockets to addresses that the operator's own settings name: by the rules of `kit/operator_http`.

No redirect is followed and no proxy variable is read. A message has a bound, and a peer that falls silent is noticed by
pings, so that whoever reads ends with an error and not never.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

__all__ = ["SocketLost", "operator_socket"]


class SocketLost(Exception):
    """There is no connection, or none any more."""


class _Straight(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Socket:
    """An open connection on which text comes and goes."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, text: str) -> None:
        """Send one message."""
        await self._connection.send(text)

    async def receive(self) -> str | bytes:
        """The next message, whenever it comes."""
        return await self._connection.recv()


@asynccontextmanager
async def operator_socket(url: str, *, timeout_seconds: float, message_bytes_max: int) -> AsyncGenerator[Socket]:
    """A connection to an address from settings. Raises SocketLost, also out of the block, when it cannot go on."""
    opening = _Straight(
        url,
        proxy=None,
        compression=None,
        max_size=message_bytes_max,
        open_timeout=timeout_seconds,
        ping_interval=timeout_seconds,
        ping_timeout=timeout_seconds,
        close_timeout=1,
    )
    try:
        async with opening as connection:
            yield Socket(connection)
    except (WebSocketException, TimeoutError, OSError) as error:
        raise SocketLost(type(error).__name__) from error
