"""The other way out: to the addresses that the operator's own settings name, such as a chain's node or a facilitator.

They are commonly private, so they are not vetted as strangers' URLs are (`kit/outbound`). What holds for both is that
no redirect is followed and no proxy variable is read: a request goes where the settings say, or nowhere.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Protocol

import httpx

_PIECE_BYTES = 256 * 1024


def operator_client(*, timeout_seconds: float) -> httpx.AsyncClient:
    """A client for addresses from settings, never for one that came in with a request."""
    return httpx.AsyncClient(
        verify=_trust(), timeout=timeout_seconds, follow_redirects=False, trust_env=False, cookies=_no_cookies()
    )


def blocking_operator_client(*, timeout_seconds: float) -> httpx.Client:
    """The same for a thread: for libraries that block."""
    return httpx.Client(
        verify=_trust(), timeout=timeout_seconds, follow_redirects=False, trust_env=False, cookies=_no_cookies()
    )


def _no_cookies() -> CookieJar:
    """Keeps none: they would pile up while the process lives, and two accounts at one host would share them."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


@cache
def _trust() -> ssl.SSLContext:
    """The authorities that vouch for an address: read once a process, which takes longer than all else of a client."""
    return httpx.create_ssl_context(trust_env=False)


@dataclass(frozen=True, slots=True)
class Read:
    """An answer, whole and unpacked."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class TooLarge(Exception):
    """There is more than was allowed for."""


class Unreadable(Exception):
    """What came is not packed as it says."""


class Room:
    """What answers that are read at the same time may take of memory: any number of small ones, and one large one."""

    def __init__(self, small_bytes: int) -> None:
        self._small_bytes = small_bytes
        self._large = asyncio.Lock()

    @asynccontextmanager
    async def answer(self) -> AsyncGenerator[Growing]:
        """Room for one answer, until it has been read and taken apart."""
        growing = Growing(self._small_bytes, self._large)
        try:
            yield growing
        finally:
            growing.gone()


class Growing:
    """An answer that is being read."""

    def __init__(self, small_bytes: int, large: asyncio.Lock) -> None:
        self._small_bytes = small_bytes
        self._large = large
        self._is_large = False

    async def to(self, size: int) -> None:
        """It has come to so many bytes. Where that makes it a large one, it waits until no other is."""
        if size > self._small_bytes and not self._is_large:
            await self._large.acquire()
            self._is_large = True

    def gone(self) -> None:
        """It takes no room any more."""
        if self._is_large:
            self._is_large = False
            self._large.release()


async def post_bounded(
    client: httpx.AsyncClient, url: str, body: bytes, *, bytes_max: int, growing: Growing | None = None
) -> Read:
    """Post JSON and read the answer, which is asked for packed. Raises as soon as there is more than `bytes_max` of it.

    The bound is on what is unpacked, and holds while it is unpacked: a body that unpacks to gigabytes ends there.
    """
    growing = growing or Growing(bytes_max, asyncio.Lock())
    headers = {"content-type": "application/json", "accept-encoding": "gzip"}
    async with client.stream("POST", url, content=body, headers=headers) as response:
        content = bytearray()
        unpacking = _unpacking(response.headers.get("content-encoding", "identity"))
        async for chunk in response.aiter_raw():
            for piece in (chunk,) if unpacking is None else _unpacked(unpacking, chunk):
                content += piece
                if len(content) > bytes_max:
                    raise TooLarge
                await growing.to(len(content))
        if unpacking is not None and not unpacking.eof and content:
            raise Unreadable("the answer ends in the middle")
    return Read(response.status_code, response.headers, bytes(content))


def _unpacked(unpacking: _Unpacking, chunk: bytes) -> Iterator[bytes]:
    """What a chunk unpacks to, a piece at a time."""
    piece = bytes(_PIECE_BYTES)
    while len(piece) == _PIECE_BYTES:
        try:
            piece = unpacking.decompress(chunk, _PIECE_BYTES)
        except zlib.error as error:
            raise Unreadable("the answer is no gzip") from error
        yield piece
        chunk = unpacking.unconsumed_tail


class _Unpacking(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unconsumed_tail(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _unpacking(encoding: str) -> _Unpacking | None:
    match encoding.strip().lower():
        case "identity" | "":
            return None
        case "gzip" | "x-gzip":
            return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        case other:
            raise Unreadable(f"the answer is encoded as {other[:20]!r}")
