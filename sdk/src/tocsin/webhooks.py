"""Webhooks: Standard Webhooks signatures, made by the relay and verified by the agent.

>>> from datetime import UTC, datetime
>>> from tocsin.keys import PrivateKey
>>> now, body = datetime(2026, 11, 22, 9, tzinfo=UTC), b'{"type":"schedule.fired","data":{"run":1}}'
>>> secret, key = new_secret(), PrivateKey.from_seed(bytes(32))
>>> headers = sign("ep_1_msg_2", now, body, secrets=[secret], keys=[key])
>>> ring = verify(body, headers, secret=secret, public_key=public_key_text(key.public), endpoint_id="ep_1", now=now)
>>> ring.type, ring.data, ring.verified
('schedule.fired', {'run': 1}, ('v1', 'v1a'))

`v1` is an HMAC by a secret that only you and the relay have. `v1a` is an Ed25519 signature by the relay's public key:
it lets you show others that the relay sent this. As that one key signs for every agent, it counts only together with
your own endpoint's id, which the signed `webhook-id` starts with.

Pass the body exactly as it arrived and verify before you parse: a framework that parses and writes JSON again breaks
the signature. Deliveries are at least once; drop those whose `ring.id` you have seen.
"""

import hashlib
import hmac
import json
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol, cast

from pydantic_core import from_json

from tocsin.keys import PrivateKey, PublicKey
from tocsin.problems import InvalidKey

__all__ = [
    "BadBody",
    "BadTimestamp",
    "MissingHeader",
    "Ring",
    "SignatureMismatch",
    "WebhookError",
    "WrongEndpoint",
    "challenge_answer",
    "new_secret",
    "parse_private_key",
    "parse_public_key",
    "parse_secret",
    "private_key_text",
    "public_key_text",
    "sign",
    "verify",
]

tolerance_seconds_default = 300
secret_bytes_min, secret_bytes_max = 24, 64
header_chars_max = 8192

AnyKey = str | PublicKey | Mapping[str, Any]
"""A public key: `whpk_…`, a JWK, a whole JWKS, or a key already parsed."""


class WebhookError(Exception):
    """Answer 400 and act on nothing in this request: it is not proven to come from your relay."""


class MissingHeader(WebhookError):
    """Pass the request's own headers: webhook-id, webhook-timestamp and webhook-signature."""


class BadTimestamp(WebhookError):
    """Check your clock. If it is right, this is an old request that somebody repeats."""


class SignatureMismatch(WebhookError):
    """Check that the body is the raw bytes that arrived, and that secret and public key are this endpoint's."""


class WrongEndpoint(WebhookError):
    """This was sent to another endpoint and repeated here, or `endpoint_id` is not this endpoint's."""


class BadBody(WebhookError):
    """The signature is good, but the body is no webhook of a relay: check what signs with this secret."""


class Headers(Protocol):
    """What carries header fields: a dict, or the headers object of any framework."""

    def items(self) -> Iterable[tuple[str, str]]: ...


@dataclass(frozen=True)
class Ring:
    """A webhook that is proven to come from the relay."""

    id: str
    """The same over retries: remember it to drop repetitions."""
    type: str
    """For example `schedule.fired`."""
    data: Any
    sent_at: datetime
    """When this attempt was signed."""
    happened_at: str | None
    """The body's own timestamp, as the relay wrote it."""
    verified: tuple[str, ...]
    """By which signatures: `v1`, `v1a`."""
    body: bytes

    @property
    def endpoint_id(self) -> str | None:
        """Whom it was sent to; None where another sender's ids look different."""
        endpoint_id, found, _ = self.id.rpartition("_msg_")
        return endpoint_id if found else None

    @property
    def message_id(self) -> str:
        """The message, which may have gone to other endpoints too."""
        _, found, rest = self.id.rpartition("_msg_")
        return f"msg_{rest}" if found else self.id

    @property
    def challenge(self) -> str | None:
        """What to echo, if this asks whether the endpoint wants to be rung; see `challenge_answer`."""
        data: Any = self.data
        if self.type != "endpoint.verification" or not isinstance(data, dict):
            return None
        challenge = cast(dict[str, Any], data).get("challenge")
        return challenge if isinstance(challenge, str) else None


def sign(
    webhook_id: str,
    timestamp: datetime,
    body: bytes,
    *,
    secrets: Iterable[str | bytes] = (),
    keys: Iterable[PrivateKey] = (),
) -> dict[str, str]:
    """The header fields that make these bytes a webhook: a signature by every secret, then one by every key."""
    seconds = str(int(timestamp.timestamp()))
    content = _signed_content(webhook_id, seconds, body)
    signatures = [f"v1,{_base64(_hmac(secret, content))}" for secret in secrets]
    signatures += [f"v1a,{_base64(key.sign(content))}" for key in keys]
    return {"webhook-id": webhook_id, "webhook-timestamp": seconds, "webhook-signature": " ".join(signatures)}


def verify(
    body: bytes,
    headers: Headers,
    *,
    now: datetime,
    secret: str | Sequence[str] | None = None,
    public_key: AnyKey | Sequence[AnyKey] | None = None,
    endpoint_id: str | None = None,
    tolerance_seconds: int = tolerance_seconds_default,
) -> Ring:
    """The ring that these bytes are, once proven; else a `WebhookError` that says what to do.

    Give `secret`, or `public_key` with `endpoint_id`, or all three: what is given must verify. Several secrets or
    keys are alternatives, as while one replaces another.
    """
    if secret is None and public_key is None:
        raise TypeError("verify() needs a secret or a public_key")
    if public_key is not None and endpoint_id is None:
        raise TypeError("verify() needs your endpoint_id with a public_key: that key signs for every agent")
    webhook_id, seconds, signatures = (_header(headers, f"webhook-{name}") for name in ("id", "timestamp", "signature"))
    sent_at = _timestamp(seconds, now, tolerance_seconds)
    content = _signed_content(webhook_id, seconds, body)
    verified: list[str] = []
    if secret is not None:
        _check_hmac(content, signatures, [secret] if isinstance(secret, str) else secret)
        verified.append("v1")
    if public_key is not None:
        _check_ed25519(content, signatures, list(_public_keys(public_key)))
        verified.append("v1a")
    if endpoint_id is not None and not webhook_id.startswith(f"{endpoint_id}_msg_"):
        raise WrongEndpoint(f"{webhook_id} was not sent to {endpoint_id}. {WrongEndpoint.__doc__}")
    return _ring(webhook_id, body, sent_at, tuple(verified))


def challenge_answer(ring: Ring) -> bytes | None:
    """The body to answer with (200, application/json) if the ring asks whether you want it; None for others."""
    return None if ring.challenge is None else json.dumps({"challenge": ring.challenge}).encode()


def new_secret() -> str:
    """A fresh `whsec_` secret of 32 random bytes."""
    return "whsec_" + _base64(os.urandom(32))


def parse_secret(text: str) -> bytes:
    """The bytes of a `whsec_` secret; ValueError if it is none."""
    secret = _unbase64(text, "whsec_")
    if not secret_bytes_min <= len(secret) <= secret_bytes_max:
        raise ValueError(f"a webhook secret has {secret_bytes_min} to {secret_bytes_max} bytes, this one {len(secret)}")
    return secret


def public_key_text(key: PublicKey) -> str:
    """The key as `whpk_` and base64."""
    return "whpk_" + _base64(key.raw)


def parse_public_key(text: str) -> PublicKey:
    """The key that `public_key_text` wrote; ValueError if it is none."""
    try:
        return PublicKey(_unbase64(text, "whpk_"))
    except InvalidKey as refusal:
        raise ValueError(refusal.detail) from None


def private_key_text(key: PrivateKey) -> str:
    """The key as `whsk_` and base64 of its seed and public half."""
    return "whsk_" + _base64(key.seed + key.public.raw)


def parse_private_key(text: str) -> PrivateKey:
    """The key that `private_key_text` wrote; ValueError if it is none, or its halves do not belong together."""
    raw = _unbase64(text, "whsk_")
    if len(raw) != 64 or (key := PrivateKey.from_seed(raw[:32])).public.raw != raw[32:]:
        raise ValueError("a whsk_ key is an Ed25519 seed followed by its public key, 64 bytes")
    return key


def _signed_content(webhook_id: str, seconds: str, body: bytes) -> bytes:
    # Servers that read headers as UTF-8 hand on what is none as halves of surrogate pairs.
    return f"{webhook_id}.{seconds}.".encode(errors="surrogatepass") + body


def _hmac(secret: str | bytes, content: bytes) -> bytes:
    keyed = _keyed(secret).copy()
    keyed.update(content)
    return keyed.digest()


# To take in a key costs more than to sign with it, and few keys sign many webhooks.
@lru_cache(maxsize=4096)
def _keyed(secret: str | bytes) -> hmac.HMAC:
    return hmac.new(secret if isinstance(secret, bytes) else parse_secret(secret), digestmod=hashlib.sha256)


def _header(headers: Headers, name: str) -> str:
    values = [value for key, value in headers.items() if key.lower() == name]
    if len(values) != 1 or not values[0] or len(values[0]) > header_chars_max:
        raise MissingHeader(f"The request has no single {name} header. {MissingHeader.__doc__}")
    return values[0]


def _timestamp(seconds: str, now: datetime, tolerance_seconds: int) -> datetime:
    if not re.fullmatch(r"[0-9]{1,11}", seconds):
        raise BadTimestamp("webhook-timestamp must be an integer: seconds since 1970.")
    sent_at = datetime.fromtimestamp(int(seconds), UTC)
    late = (now - sent_at).total_seconds()
    if abs(late) > tolerance_seconds:
        when = "ago" if late > 0 else "from now"
        raise BadTimestamp(f"The webhook was signed {abs(late):.0f} seconds {when}. {BadTimestamp.__doc__}")
    return sent_at


def _signatures(header: str, version: str) -> list[bytes]:
    """The signatures of one version; tokens of others, known or not, are skipped."""
    tokens = (token.partition(",") for token in header.split(" "))
    found: list[bytes] = []
    for token_version, _, encoded in tokens:
        if token_version == version:
            try:
                found.append(b64decode(encoded, validate=True))
            except ValueError:
                continue
    if not found:
        raise SignatureMismatch(f"webhook-signature has no {version} signature. {SignatureMismatch.__doc__}")
    return found


def _check_hmac(content: bytes, header: str, secrets: Sequence[str]) -> None:
    expected = [_hmac(secret, content) for secret in secrets]
    given = _signatures(header, "v1")
    # A list, not a generator: every pair is compared, whichever matches first.
    if not any([hmac.compare_digest(one, other) for one in expected for other in given]):
        raise SignatureMismatch(f"No v1 signature is by this secret over this body. {SignatureMismatch.__doc__}")


def _check_ed25519(content: bytes, header: str, keys: Sequence[PublicKey]) -> None:
    given = _signatures(header, "v1a")
    if not any(key.verify(content, signature) for key in keys for signature in given):
        raise SignatureMismatch(f"No v1a signature is by this key over this body. {SignatureMismatch.__doc__}")


def _public_keys(given: AnyKey | Sequence[AnyKey]) -> Iterator[PublicKey]:
    """The Ed25519 keys in whatever was given; a JWKS may hold keys of other kinds, which are passed over."""
    if isinstance(given, PublicKey):
        yield given
    elif isinstance(given, str):
        yield parse_public_key(given)
    elif not isinstance(given, Mapping):
        for one in given:
            yield from _public_keys(one)
    elif "keys" in given:
        for jwk in cast(list[dict[str, Any]], given["keys"]):
            if jwk.get("crv") == "Ed25519":
                yield PublicKey.parse(jwk)
    else:
        yield PublicKey.parse(given)


def _ring(webhook_id: str, body: bytes, sent_at: datetime, verified: tuple[str, ...]) -> Ring:
    try:
        # Bounds the nesting by itself: the interpreter's limit may have been raised, and then json overflows the stack.
        document: Any = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise BadBody(f"The body is not JSON. {BadBody.__doc__}") from None
    members = cast(dict[str, Any], document) if isinstance(document, dict) else {}
    kind, happened_at = members.get("type"), members.get("timestamp")
    if not isinstance(kind, str):
        raise BadBody(f"The body has no type. {BadBody.__doc__}")
    return Ring(
        id=webhook_id,
        type=kind,
        data=members.get("data"),
        sent_at=sent_at,
        happened_at=happened_at if isinstance(happened_at, str) else None,
        verified=verified,
        body=body,
    )


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _unbase64(text: str, prefix: str) -> bytes:
    if text.startswith(prefix):
        with suppress(ValueError):
            return b64decode(text[len(prefix) :], validate=True)
    raise ValueError(f"this is not written as {prefix} and standard base64")
