"""Tocsin: wakes sleeping agents with signed webhooks.

This package is what an agent needs to use a relay, and to check it: signed requests (`Client`, `AsyncClient`), verified
webhooks (`tocsin.webhooks`), and the pure protocol under both, which the relay itself is built on.
"""

from typing import TYPE_CHECKING, Any

from tocsin.keys import PrivateKey, PublicKey
from tocsin.problems import Problem
from tocsin.webhooks import Ring, WebhookError

if TYPE_CHECKING:
    from tocsin.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "PrivateKey", "Problem", "PublicKey", "Ring", "WebhookError"]


def __getattr__(name: str) -> Any:
    # A function that only verifies webhooks starts cold, and shall not load an HTTP client for it.
    if name in {"AsyncClient", "Client"}:
        from tocsin import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
