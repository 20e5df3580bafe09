"""The other way out: to the addresses that the operator's own settings name, such as a chain's node or a facilitator.

They are commonly private, so they are not vetted as strangers' URLs are (`kit/outbound`). What holds for both is that
no redirect is followed and no proxy variable is read: a request goes where the settings say, or nowhere.
"""

import ssl
from functools import cache

import httpx


def operator_client(*, timeout_seconds: float) -> httpx.AsyncClient:
    """A client for addresses from settings, never for one that came in with a request."""
    return httpx.AsyncClient(verify=_trust(), timeout=timeout_seconds, follow_redirects=False, trust_env=False)


def blocking_operator_client(*, timeout_seconds: float) -> httpx.Client:
    """The same for a thread: for libraries that block."""
    return httpx.Client(verify=_trust(), timeout=timeout_seconds, follow_redirects=False, trust_env=False)


@cache
def _trust() -> ssl.SSLContext:
    """The authorities that vouch for an address: read once a process, which takes longer than all else of a client."""
    return httpx.create_ssl_context(trust_env=False)
