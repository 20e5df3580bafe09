"""Whether a webhook comes from whoever has the secret, by the formats that senders use. Pure: `now` comes in.

| scheme              | headers                                                               | signed, by HMAC-SHA256 |
|---------------------|-----------------------------------------------------------------------|------------------------|
| `standard-webhooks` | `webhook-id`, `-timestamp` and `-signature`, or the same with `svix-` | `id.timestamp.body`    |
| `stripe`            | `Stripe-Signature: t=…,v1=…`                                          | `t.body`               |
| `github`            | `X-Hub-Signature-256: sha256=…`                                       | the body               |
| `hmac-sha256`       | one that is named                                                     | the body               |

Every comparison takes the same time, and there is one answer for whatever is wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from app.kit.foreign_json import Json, Unreadable, read
from tocsin.webhooks import parse_secret

__all__ = ["Terms", "Verified", "expected", "is_secret", "verify"]

tolerance_seconds = 300
sender_id_chars_max = 256
signatures_max = 16

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Terms:
    """How an inbox verifies. The last three are for `hmac-sha256`."""

    scheme: str
    header: str = "x-signature"
    encoding: str = "hex"
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """It comes from whoever has the secret, or nobody has to prove that. `sender_id` is the same over retries."""

    sender_id: str | None


def verify(terms: Terms, secret: str | None, headers: Headers, body: bytes, now: datetime) -> Verified | None:
    """What is proven of a request; None where nothing is. Header names are in lower case."""
    if terms.scheme == "none" or secret is None:
        return Verified(None) if terms.scheme == "none" else None
    match terms.scheme:
        case "standard-webhooks":
            return _standard(secret, headers, body, now)
        case "stripe":
            return _stripe(secret, headers, body, now)
        case "github":
            given = _unhexed(headers.get("x-hub-signature-256", ""), "sha256=")
            return _of_body(secret, given, body, headers.get("x-github-delivery"))
        case _:
            unwritten = _unhexed if terms.encoding == "hex" else _unbased
            return _of_body(secret, unwritten(headers.get(terms.header, ""), terms.prefix), body, None)


def is_secret(scheme: str, text: str) -> bool:
    """Whether this can be a secret of the scheme."""
    if scheme != "standard-webhooks":
        return 8 <= len(text) <= 500
    try:
        return bool(parse_secret(text))
    except ValueError:
        return False


def expected(terms: Terms) -> str:
    """What a request has to have: said to all who are refused, whatever was wrong with theirs."""
    fresh = f", at most {tolerance_seconds} seconds old or ahead"
    match terms.scheme:
        case "standard-webhooks":
            return f"webhook-id, webhook-timestamp and a v1 webhook-signature by this inbox's secret{fresh}"
        case "stripe":
            return f"Stripe-Signature: t=<seconds>,v1=<hex> by this inbox's secret{fresh}"
        case "github":
            return "X-Hub-Signature-256: sha256=<hex> by this inbox's secret over the body as it is sent"
        case _:
            form = f"{terms.prefix}<{terms.encoding}>"
            return f"{terms.header}: {form}, the HMAC-SHA256 by this inbox's secret over the body as it is sent"


def _standard(secret: str, headers: Headers, body: bytes, now: datetime) -> Verified | None:
    prefix = "webhook" if "webhook-id" in headers else "svix"
    names = (f"{prefix}-id", f"{prefix}-timestamp", f"{prefix}-signature")
    sender_id, seconds, signatures = (headers.get(name, "") for name in names)
    made = hmac.digest(parse_secret(secret), f"{sender_id}.{seconds}.".encode() + body, hashlib.sha256)
    tokens = (token.partition(",") for token in signatures.split(" ")[:signatures_max])
    given = [_unbased(encoded, "") for version, _, encoded in tokens if version == "v1"]
    proven = _is_any(made, given)
    return Verified(sender_id) if proven and _is_fresh(seconds, now) and _is_id(sender_id) else None


def _stripe(secret: str, headers: Headers, body: bytes, now: datetime) -> Verified | None:
    pairs = [part.strip().partition("=") for part in headers.get("stripe-signature", "").split(",")[:signatures_max]]
    seconds = next((value for name, _, value in pairs if name == "t"), "")
    made = hmac.digest(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256)
    proven = _is_any(made, [_unhexed(value, "") for name, _, value in pairs if name == "v1"])
    if not (proven and _is_fresh(seconds, now)):
        return None
    try:
        event = read(body)
    except Unreadable:
        return Verified(None)
    sender_id = cast(dict[str, Json], event).get("id") if isinstance(event, dict) else None
    return Verified(sender_id if isinstance(sender_id, str) and _is_id(sender_id) else None)


def _of_body(secret: str, given: bytes, body: bytes, sender_id: str | None) -> Verified | None:
    if not hmac.compare_digest(hmac.digest(secret.encode(), body, hashlib.sha256), given):
        return None
    return Verified(sender_id if sender_id is not None and _is_id(sender_id) else None)


def _is_any(made: bytes, given: list[bytes]) -> bool:
    # A list, not a generator: every one is compared, whichever is the right one.
    return any([hmac.compare_digest(made, each) for each in given])


def _is_fresh(seconds: str, now: datetime) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,11}", seconds)) and abs(now.timestamp() - int(seconds)) <= tolerance_seconds


def _is_id(text: str) -> bool:
    return 0 < len(text) <= sender_id_chars_max


def _unhexed(text: str, prefix: str) -> bytes:
    """The bytes that were written; none, which no signature is, for anything else."""
    try:
        return bytes.fromhex(text.removeprefix(prefix)) if text.startswith(prefix) and " " not in text else b""
    except ValueError:
        return b""


def _unbased(text: str, prefix: str) -> bytes:
    try:
        return b64decode(text.removeprefix(prefix), validate=True) if text.startswith(prefix) else b""
    except (BadBase64, ValueError):
        return b""
