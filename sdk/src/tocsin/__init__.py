"""Tocsin: wakes sleeping agents with signed webhooks.

This package is what an agent needs to use a relay, and to check it: signed requests (`Client`, `AsyncClient`), verified
webhooks (`tocsin.webhooks`), and the pure protocol under both, which the relay itself is built on.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tocsin.client import AsyncClient, Client
    from tocsin.keys import PrivateKey, PublicKey
    from tocsin.problems import Problem
    from tocsin.webhooks import Ring, WebhookError

__all__ = ["AsyncClient", "Client", "PrivateKey", "Problem", "PublicKey", "Ring", "WebhookError"]


_MODULES = {
    "AsyncClient": "client",
    "Client": "client",
    "PrivateKey": "keys",
    "Problem": "problems",
    "PublicKey": "keys",
    "Ring": "webhooks",
    "WebhookError": "webhooks",
}


def __getattr__(name: str) -> Any:
    # Read when it is asked for: a function that only verifies webhooks starts cold, and shall not load an HTTP client
    # for it; and a command that is interrupted while it starts ends quietly, see `__main__`.
    if name in _MODULES:
        return getattr(import_module(f"tocsin.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
