"""The only way out of the house for requests to addresses that others chose.

Each request looks its host up once, judges every address that came back, and dials exactly what it judged, with the
Host header and the TLS name of the URL. So a name that answers differently a moment later changes nothing, and a
pooled connection is only reused for the same address, port and TLS name. No redirect is followed, no proxy variable is
read, no body is decompressed, and one deadline covers look-up, connection, TLS, headers and body.

Failures are values, judged by the caller. Their category is fit to be shown to the owner of the URL: a name that does
not resolve and a name that resolves to an address of ours look the same, as the difference would map our network for
them.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from app.kit.addresses import Network, is_public, within
from app.kit.urls import BadUrl, Url, parse_url

__all__ = ["Answer", "Category", "Fault", "Outbound", "Resolver", "SystemResolver"]

response_bytes_max = 16 * 1024
response_header_bytes_max = 8 * 1024
response_headers_max = 100
connect_timeout_seconds = 5.0
vet_timeout_seconds = 3.0
# Shorter than what common servers keep idle connections for (5 s), so that we seldom post into one being closed.
idle_connection_seconds = 4.0
lookups_at_once_max = 32

Category = Literal[
    "bad_url",  # not a URL that we would call
    "https_required",  # plain http is for networks that the operator listed
    "no_public_address",  # does not resolve, or resolves to an address that we do not call
    "connection_failed",  # nobody accepted the connection
    "connection_lost",  # closed or reset before the answer was complete; a 2xx counts only when its body ended
    "tls_error",  # no common TLS version, or a certificate that does not prove the name
    "bad_response",  # not HTTP, or headers beyond our limits
    "timeout",  # the deadline passed before the answer was complete
]


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer: status, headers (names in any case) and the body, cut where it exceeded the limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """No complete answer, and why. `detail` is for the operator's log, never for the owner of the URL."""

    category: Category
    detail: str = ""


class Resolver(Protocol):
    """Look-up of host names."""

    async def addresses(self, host: str) -> Sequence[str]:
        """All addresses of `host`, best first; none when it does not resolve. Never raises for a host's sake."""
        ...


class SystemResolver:
    """The operating system's look-up, on threads of its own, so that slow name servers hold up nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(lookups_at_once_max, thread_name_prefix="lookup")

    async def addresses(self, host: str) -> Sequence[str]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str) -> Sequence[str]:
    # The closing dot keeps search domains out. The hosts file knows localhost only without it.
    name = host if host == "localhost" else f"{host}."
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(address[4][0]) for address in found))


class Outbound:
    """Guarded HTTP over one session. Made once a process, closed at its end; not bound to a loop before first use."""

    def __init__(
        self,
        *,
        allow: Iterable[Network] = (),
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
        user_agent: str = "Tocsin",
    ) -> None:
        self._allow = tuple(allow)
        self._resolver: Resolver = resolver or SystemResolver()
        self._tls = tls
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None
        # A literal address is judged once: nothing that it depends on changes while we run.
        self._judged_literal = lru_cache(maxsize=1024)(self._judge_literal)

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, timeout_seconds: float
    ) -> Answer | Fault:
        """Post `body` and read the answer."""
        return await self._call("POST", url, body, headers, timeout_seconds, response_bytes_max)

    async def get(
        self, url: str, headers: Mapping[str, str], *, timeout_seconds: float, body_bytes_max: int = response_bytes_max
    ) -> Answer | Fault:
        """Get a document of at most `body_bytes_max` bytes; a longer one comes back truncated, and says so."""
        return await self._call("GET", url, None, headers, timeout_seconds, body_bytes_max)

    async def vet(self, url: str) -> Fault | None:
        """Why this URL would not be called as things stand, or None. Looks its host up, connects to nothing."""
        try:
            async with asyncio.timeout(vet_timeout_seconds):
                addresses = await self._vetted(parse_url(url))
        except BadUrl as bad:
            return Fault("bad_url", str(bad))
        except TimeoutError:
            return Fault("no_public_address", "the look-up took too long")
        return addresses if isinstance(addresses, Fault) else None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        if isinstance(self._resolver, SystemResolver):
            self._resolver.close()

    async def _call(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], timeout_seconds: float, limit: int
    ) -> Answer | Fault:
        try:
            async with asyncio.timeout(timeout_seconds):
                parsed = _parsed(url)
                addresses = await self._vetted(parsed)
                if isinstance(addresses, Fault):
                    return addresses
                return await self._dial(method, parsed, addresses, body, headers, limit)
        except (BadUrl, TimeoutError, aiohttp.ClientError, OSError) as failure:
            return _fault(failure)

    async def _vetted(self, url: Url) -> Sequence[str] | Fault:
        """The addresses of `url`, all of which we may call."""
        if _is_literal(url.host):
            return self._judged_literal(url)
        return self._judged(url, await self._resolver.addresses(url.host))

    def _judge_literal(self, url: Url) -> Sequence[str] | Fault:
        return self._judged(url, (url.host,))

    def _judged(self, url: Url, addresses: Sequence[str]) -> Sequence[str] | Fault:
        if not addresses or not all(is_public(address) or self._is_listed(address) for address in addresses):
            return Fault("no_public_address", f"{url.host} is at {', '.join(addresses) or 'no address'}")
        if url.scheme == "http" and not all(self._is_listed(address) for address in addresses):
            return Fault("https_required")
        return addresses

    def _is_listed(self, address: str) -> bool:
        return within(address, self._allow)

    async def _dial(
        self,
        method: str,
        url: Url,
        addresses: Sequence[str],
        body: bytes | None,
        headers: Mapping[str, str],
        limit: int,
    ) -> Answer:
        """Ask the first address that accepts a connection. Beyond that nothing is repeated: it may have been heard."""
        *firsts, last = addresses
        for address in firsts:
            try:
                return await self._ask(method, url, address, body, headers, limit)
            except (aiohttp.ClientConnectorDNSError, aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                continue
        return await self._ask(method, url, last, body, headers, limit)

    async def _ask(
        self, method: str, url: Url, address: str, body: bytes | None, headers: Mapping[str, str], limit: int
    ) -> Answer:
        response = await self._opened().request(
            method,
            _dialled(url, address),
            data=body,
            headers={**headers, "Host": url.authority},
            server_hostname=None if _is_literal(url.host) else url.host,
            allow_redirects=False,
        )
        try:
            content, truncated = await _read(response, limit)
            return Answer(response.status, response.headers, content, truncated)
        finally:
            # Closes the connection unless the body was read to its end.
            response.release()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    resolver=_NoResolver(),
                    use_dns_cache=False,
                    keepalive_timeout=idle_connection_seconds,
                    ssl=self._tls or True,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self._user_agent},
                skip_auto_headers=("Accept-Encoding",),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_seconds),
                trust_env=False,
                auto_decompress=False,
                max_line_size=response_header_bytes_max,
                max_field_size=response_header_bytes_max,
                max_headers=response_headers_max,
            )
        return self._session


class _NoResolver(AbstractResolver):
    """The session is only given addresses. Were it ever given a name, it would look it up unjudged."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        raise AssertionError("the session was asked to look a name up")

    async def close(self) -> None:
        pass


# Retries and fan-out ask for the same few URLs again and again.
@lru_cache(maxsize=1024)
def _parsed(url: str) -> Url:
    return parse_url(url)


@lru_cache(maxsize=1024)
def _dialled(url: Url, address: str) -> URL:
    host = f"[{address}]" if ":" in address else address
    return URL(f"{url.scheme}://{host}:{url.port}{url.target}", encoded=True)


def _is_literal(host: str) -> bool:
    # The parser lets a host end in a digit-only label when it is an IPv4 address, and contain a colon when IPv6.
    return ":" in host or host.rpartition(".")[2].isdigit()


async def _read(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """The body, cut at `limit`, and whether it was cut."""
    chunks: list[bytes] = []
    size = 0
    while size <= limit and (chunk := await response.content.read(limit + 1 - size)):
        chunks.append(chunk)
        size += len(chunk)
    if size > limit:
        response.close()
    return b"".join(chunks)[:limit], size > limit


def _fault(failure: Exception) -> Fault:
    return Fault(_category(failure), f"{type(failure).__name__}: {failure}")


def _category(failure: Exception) -> Category:
    match failure:
        case BadUrl():
            return "bad_url"
        case TimeoutError():
            return "timeout"
        case aiohttp.ClientSSLError() | aiohttp.ClientConnectorCertificateError() | ssl.SSLError():
            return "tls_error"
        case aiohttp.ClientConnectorError():
            return "connection_failed"
        case aiohttp.ClientResponseError():
            return "bad_response"
        case _:
            return "connection_lost"
