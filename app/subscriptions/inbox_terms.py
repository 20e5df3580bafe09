"""What an inbox was wished as, by what a repetition is recognised, and what is told of a webhook. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from app.kit import limits
from app.kit.foreign_json import Json, Unreadable, is_exact, is_storable, read
from app.subscriptions.verifying import Verified
from tocsin.schemas.watchers import InboxReceived
from tocsin.schemas.web import SECRET_SHOWN_AS, Inbox, Verification

__all__ = ["params_of", "payload_of", "same_as", "sha256", "token_of", "watched"]

# What of a request's headers is passed on: what it is, and which. Never what proves or authorises.
_PASSED_ON = frozenset(
    {
        *("content-type", "user-agent", "webhook-id", "webhook-timestamp", "svix-id", "svix-timestamp"),
        *("x-github-event", "x-github-delivery", "x-github-hook-id", "x-gitlab-event", "x-gitlab-event-uuid"),
        *("x-event-key", "x-event-type", "x-event-id", "x-request-id", "x-shopify-topic", "x-shopify-webhook-id"),
        *("x-shopify-shop-domain", "linear-event", "linear-delivery", "ce-id", "ce-type", "ce-source", "ce-time"),
        *("ce-specversion", "ce-subject", "idempotency-key"),
    }
)


def params_of(wanted: Inbox) -> Mapping[str, Any]:
    """What makes the source of an inbox: no two have one token. Nothing in it is secret."""
    verification = wanted.verify
    terms: dict[str, Any] = {"scheme": verification.scheme}
    for name in ("header", "encoding", "prefix"):
        if (value := getattr(verification, name)) is not None:
            terms[name] = value.lower() if name == "header" else value
    return {"inbox": sha256(token_of(wanted).encode()), "verify": terms}


def watched(params: Mapping[str, Any], spec: Mapping[str, Any]) -> Inbox:
    """What was wished for, with what is not secret of it."""
    terms: Mapping[str, Any] = params["verify"]
    secret = None if terms["scheme"] == "none" else SECRET_SHOWN_AS
    verification = Verification.model_validate({**terms, "secret": secret})
    return Inbox(kind="inbox", verify=verification, where=spec.get("where"))


def payload_of(headers: Mapping[str, str], body: bytes, verified_by: str, now: datetime) -> Mapping[str, Any]:
    """What is told of a webhook."""
    content_type = headers.get("content-type")
    encoding, value = _read(body, content_type)
    received = InboxReceived(
        received_at=now,
        verified_by=cast(Any, verified_by),
        content_type=_plain(content_type) if content_type else None,
        headers={name: _plain(value) for name, value in headers.items() if name in _PASSED_ON},
        encoding=cast(Any, encoding),
        body=value,
        body_sha256=sha256(body),
    )
    return received.model_dump(mode="json")


def _read(body: bytes, content_type: str | None) -> tuple[str, Any]:
    """The body as JSON, where it is that and says so; as text, where it is that; else in base64."""
    media_type = (content_type or "application/json").partition(";")[0].strip().lower()
    says_json = media_type == "application/json" or media_type.endswith("+json")
    if says_json and (document := _json(body)) is not None:
        return "json", document.value
    text = _text(body)
    return ("base64", base64.b64encode(body).decode()) if text is None else ("text", text)


class _Document(NamedTuple):
    value: Json


def _json(body: bytes) -> _Document | None:
    """The JSON that this is; None where it is none, or none that can be stored as it is."""
    try:
        value = read(body)
    except Unreadable:
        return None
    return _Document(value) if is_exact(value) and is_storable(json.dumps(value)) else None


def _text(body: bytes) -> str | None:
    """The text that this is; None where it is none that can be read by people."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if all(character >= " " or character in "\t\r\n" for character in text) else None


def same_as(verified: Verified, body: bytes, now: datetime) -> tuple[str, datetime]:
    """By what a repetition is recognised, and until when: the sender's own id, else the body."""
    if verified.sender_id is not None:
        return sha256(b"id\0" + verified.sender_id.encode()), now + timedelta(days=limits.inbox_ids_days)
    return sha256(b"body\0" + body), now + timedelta(seconds=limits.inbox_bodies_seconds)


def _plain(value: str) -> str:
    """A header's value as it can be passed on."""
    return "".join(each if each.isprintable() else "?" for each in value)[: limits.inbox_header_chars_max]


def token_of(wanted: Inbox) -> str:
    assert wanted.url is not None
    return wanted.url.rpartition("/")[2]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
