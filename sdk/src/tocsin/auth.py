"""Who you are, when you send requests with httpx: a key, and where it is found.

>>> import httpx
>>> from tocsin.keys import PrivateKey
>>> http = httpx.Client(base_url="https://relay.example", auth=RequestSigner(PrivateKey.generate()))

Every request is signed anew when it is sent, so that a retry never repeats a nonce.
"""

import os
import secrets
import ssl
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import httpx

from tocsin.keys import PrivateKey
from tocsin.signatures import Request, authority_of, joined, sign

__all__ = [
    "NoKey",
    "NoRelay",
    "RequestSigner",
    "authorities",
    "default_key_path",
    "find_key",
    "find_url",
    "is_here",
    "wall_clock",
]

URL_DEFAULT = "http://127.0.0.1:8585"
lifetime_seconds_default = 60


def wall_clock() -> datetime:
    """The time by this machine."""
    return datetime.now(UTC)


class NoKey(Exception):
    """Make a key with `tocsin keygen`, or name one with `TOCSIN_KEY` or `--key`."""


class NoRelay(Exception):
    """Name the relay with its scheme, such as https://relay.example, by `TOCSIN_URL` or `--url`."""


class RequestSigner(httpx.Auth):
    """Signs every request by the profile of `tocsin.signatures`."""

    requires_request_body = True

    def __init__(
        self,
        key: PrivateKey,
        *,
        clock: Callable[[], datetime] = wall_clock,
        lifetime_seconds: int = lifetime_seconds_default,
    ) -> None:
        self.key = key
        self._clock = clock
        self._lifetime = timedelta(seconds=lifetime_seconds)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the signature's header fields, then send."""
        now = self._clock()
        nonce = secrets.token_urlsafe(16)
        request.headers.update(sign(_parts(request), self.key, created=now, expires=now + self._lifetime, nonce=nonce))
        yield request


def find_key(named: str | None = None, environment: Mapping[str, str] = os.environ) -> PrivateKey:
    """The key that was named, else that of `TOCSIN_KEY`, else the one in its usual file. NoKey if there is none.

    A name is a key file's path, or the key itself as its file would hold it.
    """
    named = named or environment.get("TOCSIN_KEY")
    path = Path(named).expanduser() if named else default_key_path(environment)
    try:
        return PrivateKey.load(path)
    except (OSError, ValueError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else str(error)
    if named and len(named) == 43:
        try:
            return PrivateKey.from_text(named)
        except ValueError as error:
            raise NoKey(str(error)) from None
    advice = f"Make a key there with `tocsin keygen --out {path}`, or name another." if named else NoKey.__doc__
    raise NoKey(f"Key file {path}: {reason}. {advice}")


def find_url(named: str | None = None, environment: Mapping[str, str] = os.environ) -> str:
    """The relay that was named, else that of `TOCSIN_URL`, else one on this machine. NoRelay if that is no URL."""
    url = (named or environment.get("TOCSIN_URL") or URL_DEFAULT).rstrip("/")
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise NoRelay(f"{url!r} is no URL: {error}. {NoRelay.__doc__}") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host or not 0 < (parsed.port or 1) < 65536:
        raise NoRelay(f"{url!r} is no http URL. {NoRelay.__doc__}")
    return url


def is_here(url: str) -> bool:
    """Whether a relay is on this machine: then it is behind no proxy, whatever the environment says."""
    return httpx.URL(url).host in {"localhost", "127.0.0.1", "::1"}


@cache
def authorities(*, trust_env: bool) -> ssl.SSLContext:
    """Those who vouch for a relay's name: read once a process, which takes longer than all else of a client."""
    return httpx.create_ssl_context(trust_env=trust_env)


def default_key_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the key is kept unless it is named: `~/.config/tocsin/key`."""
    configuration = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(configuration).expanduser() / "tocsin" / "key"


def _parts(request: httpx.Request) -> Request:
    path, _, query = request.url.raw_path.decode("ascii").partition("?")
    return Request(
        method=request.method,
        authority=authority_of(request.headers["host"], request.url.scheme),
        path=path,
        query=query,
        fields=joined(request.headers.multi_items()),
        body=request.content,
        scheme=request.url.scheme,
    )
