"""The other way out: to the addresses that the operator's own settings name, such as a chain's node or a facilitator.

They are commonly private, so they are not vetted as strangers' URLs are (`kit/outbound`). What holds for both is that
no redirect is followed and no proxy variable is read: a request goes where the settings say, or nowhere.
"""

import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Protocol

import httpx


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


async def post_bounded(client: httpx.AsyncClient, url: str, body: bytes, *, bytes_max: int) -> Read:
    """Post JSON and read the answer, which is asked for packed. Raises as soon as there is more than `bytes_max` of it.

    The bound is on what is unpacked, and holds while it is unpacked: a body that unpacks to gigabytes ends there.
    """
    headers = {"content-type": "application/json", "accept-encoding": "gzip"}
    async with client.stream("POST", url, content=body, headers=headers) as response:
        content = bytearray()
        unpacking = _unpacking(response.headers.get("content-encoding", "identity"))
        async for chunk in response.aiter_raw():
            left = bytes_max + 1 - len(content)
            try:
                content += unpacking.decompress(chunk, left) if unpacking else chunk
            except zlib.error as error:
                raise Unreadable("the answer is no gzip") from error
            if len(content) > bytes_max:
                raise TooLarge
        if unpacking is not None and not unpacking.eof and content:
            raise Unreadable("the answer ends in the middle")
    return Read(response.status_code, response.headers, bytes(content))


class _Unpacking(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _unpacking(encoding: str) -> _Unpacking | None:
    match encoding.strip().lower():
        case "identity" | "":
            return None
        case "gzip" | "x-gzip":
            return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        case other:
            raise Unreadable(f"the answer is encoded as {other[:20]!r}")
