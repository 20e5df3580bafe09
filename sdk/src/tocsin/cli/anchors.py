"""Which block is on the chain, asked of a node of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
from pydantic_core import from_json

from tocsin.auth import authorities, is_here

__all__ = ["Canonical", "NoAnswer", "ask", "height"]

timeout_seconds = 15.0


@dataclass(frozen=True)
class Canonical:
    """What the node says of a height: the hash of its block there, None where it has none; and how far the chain is."""

    said_by: str
    block_hash: str | None
    head: int | None = None
    finalized: int | None = None


class NoAnswer(Exception):
    """The node does not say. The text names its host, and nothing else of its URL, which may hold a key."""


def ask(url: str, chain: str, number: int) -> Canonical:
    """The block that the node holds to be the chain's at this height."""
    host = _host(url)
    with _client(url) as http:
        found = _result(http, url, host, "eth_chainId")
        if not isinstance(found, str) or f"eip155:{_number(found)}" != chain:
            raise NoAnswer(f"{host} is a node of another chain than {chain}")
        block = _block(_result(http, url, host, "eth_getBlockByNumber", hex(number), False))
        if block and _number(block.get("number")) != number:
            raise NoAnswer(f"{host} answers with another block than number {number}")
        head = _number(_result(http, url, host, "eth_blockNumber"))
        try:
            final = _block(_result(http, url, host, "eth_getBlockByNumber", "finalized", False))
        except NoAnswer:
            # Older nodes know no such word.
            final = _block(None)
    hashed = block.get("hash")
    return Canonical(host, hashed.lower() if isinstance(hashed, str) else None, head, _number(final.get("number")))


def height(url: str, block_hash: str) -> int | None:
    """The number of the block of this hash, on the chain or not; None where the node does not have it."""
    host = _host(url)
    with _client(url) as http:
        return _number(_block(_result(http, url, host, "eth_getBlockByHash", block_hash, False)).get("number"))


def _client(url: str) -> httpx.Client:
    trust_env = not is_here(url)
    return httpx.Client(timeout=timeout_seconds, verify=authorities(trust_env=trust_env), trust_env=trust_env)


def _host(url: str) -> str:
    try:
        # Neither refuses all that the other does.
        parts, asked = urlsplit(url), httpx.URL(url)
        if parts.hostname and asked.scheme in ("http", "https"):
            return parts.hostname
    except (ValueError, httpx.InvalidURL):
        pass
    raise NoAnswer("--rpc is not the http or https URL of a node")


def _result(http: httpx.Client, url: str, host: str, method: str, *params: object) -> object:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    try:
        answer = http.post(url, json=body)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise NoAnswer(f"{host} does not answer ({type(error).__name__})") from None
    try:
        said = from_json(answer.content)
    except ValueError:
        raise NoAnswer(f"{host} answers {method} with something else than JSON (status {answer.status_code})") from None
    if not isinstance(said, dict) or "result" not in said:
        raise NoAnswer(f"{host} refuses {method} (status {answer.status_code})")
    return cast(Mapping[str, object], said)["result"]


def _block(value: object) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, dict) else {}


def _number(value: object) -> int | None:
    try:
        return int(value, 16) if isinstance(value, str) else None
    except ValueError:
        return None
