"""The OpenAPI 3.1 document: a view of the operations table, so that it cannot disagree with the routes."""

import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.kit.operations import Operation, Shape, shape
from tocsin.problems import (
    ContentTooLarge,
    DatabaseFull,
    DatabaseUnavailable,
    FacilitatorUnavailable,
    IdempotencyConflict,
    IdempotencyKeyReused,
    InvalidBody,
    InvalidCursor,
    InvalidIdempotencyKey,
    InvalidPrecondition,
    InvalidQuery,
    InvalidSignature,
    MalformedPayment,
    MalformedSignature,
    MissingSignature,
    NotFound,
    PaymentPending,
    PaymentRequired,
    PaymentReused,
    PreconditionFailed,
    Problem,
    ReplayedNonce,
    RequestTimeout,
    RevokedKey,
    SignatureExpired,
    UnknownKey,
    UnsupportedMediaType,
)

_SIGNED = (MissingSignature, MalformedSignature, InvalidSignature, SignatureExpired, UnknownKey, RevokedKey)
_WRITTEN = (ReplayedNonce, InvalidIdempotencyKey, IdempotencyConflict, IdempotencyKeyReused)
_PAID = (PaymentRequired, MalformedPayment, PaymentReused, PaymentPending, FacilitatorUnavailable)
_SENT = (InvalidBody, ContentTooLarge, UnsupportedMediaType)
_CONDITIONAL = (InvalidPrecondition, PreconditionFailed)

_PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457. `type` names the kind of problem; GET it for what to do next.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["/problems/not-found"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The id of the request, as in `x-request-id` and in the log."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string", "description": "RFC 6901 pointer into the body that was sent."},
                    "parameter": {"type": "string", "description": "Name of the query parameter."},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}

_SIGNATURE_SCHEME = {
    "type": "apiKey",
    "in": "header",
    "name": "Signature",
    "description": "RFC 9421 HTTP Message Signature by the agent's Ed25519 key, with the tag tocsin-v1.",
}


_PAYMENT_PARAMETER: dict[str, Any] = {
    "name": "PAYMENT-SIGNATURE",
    "in": "header",
    "required": False,
    "description": "An x402 payment to the terms in the `PAYMENT-REQUIRED` header of a 402.",
    "schema": {"type": "string"},
}

_TAGS = r'(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)'
_CONDITION_PARAMETERS: tuple[dict[str, Any], ...] = tuple(
    {
        "name": name,
        "in": "header",
        "required": False,
        "description": f"{text} Covered by the signature.",
        "schema": {"type": "string", "pattern": f"^{_TAGS}$", "maxLength": 255, "examples": [example]},
    }
    for name, text, example in (
        ("If-Match", "Only if the version is one of these ETags; `*`: only if there is one.", '"3"'),
        ("If-None-Match", "Only if the version is none of these ETags; `*`: only if there is none.", "*"),
    )
)
_VERSION_HEADER: dict[str, Any] = {
    "ETag": {
        "description": "The version that the body shows, for `If-Match`.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9]+"$'},
    }
}


def document(
    features: Mapping[str, Sequence[Operation]], webhooks: Mapping[str, type[BaseModel]], version: str, origin: str
) -> dict[str, Any]:
    """The whole document: every operation, every webhook, every shape."""
    table = [(area, operation, shape(operation)) for area, operations in features.items() for operation in operations]
    schemas, references = _schemas(table, webhooks)
    paths: dict[str, dict[str, Any]] = {}
    for area, operation, form in table:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(area, operation, form, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tocsin",
            "version": version,
            "summary": "A relay that wakes sleeping agents: schedules, watchers and signed webhooks.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": origin}],
        "tags": [{"name": area} for area in features],
        "paths": paths,
        "webhooks": {name: _webhook(name, references[model]) for name, model in webhooks.items()},
        "components": {
            "schemas": {**schemas, "Problem": _PROBLEM_SCHEMA},
            "securitySchemes": {"signature": _SIGNATURE_SCHEME},
        },
    }


def refusals(operation: Operation, form: Shape) -> tuple[type[Problem], ...]:
    """Every problem that this operation can answer with, its own and those of the door."""
    found: list[type[Problem]] = [*operation.problems, DatabaseUnavailable, RequestTimeout]
    found += _SIGNED if operation.signed else ()
    found += _WRITTEN if operation.signed and operation.writes else ()
    found += (DatabaseFull,) if operation.writes else ()
    found += _SENT if form.body else (ContentTooLarge,)
    found += (InvalidQuery,)
    found += (InvalidCursor,) if form.query and "cursor" in form.query.model_fields else ()
    found += (NotFound,) if form.placeholders else ()
    found += _CONDITIONAL if form.conditional else ()
    found += _PAID if operation.price else ()
    return tuple(dict.fromkeys(found))


def summary(operation: Operation) -> str:
    """The first line of the handler's docstring, without its full stop."""
    return _text(operation).partition("\n")[0].rstrip(".")


def _text(operation: Operation) -> str:
    return inspect.getdoc(operation.handler) or operation.handler.__name__


def _operation(
    area: str, operation: Operation, form: Shape, references: Mapping[type[BaseModel], Any]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.handler.__name__,
        "tags": [area],
        "summary": summary(operation),
        "description": _text(operation).partition("\n")[2].strip(),
        "parameters": [*_path_parameters(form), *_query_parameters(form), *_header_parameters(operation, form)],
        "responses": {
            **{str(status): _success(form, references) for status in _statuses(operation, form)},
            **_refusals(refusals(operation, form)),
        },
        "security": [{"signature": []}] if operation.signed else [],
    }
    if form.body is not None:
        content = {"application/json": {"schema": references[form.body]}}
        required = any(member.is_required() for member in form.body.model_fields.values())
        described["requestBody"] = {"required": required, "content": content}
    if operation.takes is not None:
        anything: dict[str, Any] = {"application/json": {"schema": {}}, "text/plain": {"schema": {"type": "string"}}}
        described["requestBody"] = {"description": operation.takes, "required": False, "content": anything}
    if operation.price is not None:
        described["x-price"] = operation.price
    return {name: value for name, value in described.items() if value not in ("", [])} | {
        "security": described["security"]
    }


def _statuses(operation: Operation, form: Shape) -> tuple[int, ...]:
    """The statuses of success."""
    if form.answer is None and not form.streams:
        return (204,)
    return (operation.status, 201) if operation.creates else (operation.status,)


def _success(form: Shape, references: Mapping[type[BaseModel], Any]) -> dict[str, Any]:
    if form.streams:
        schema = {"type": "string", "description": "Server-sent events."}
        return {"description": "Goes on.", "content": {"text/event-stream": {"schema": schema}}}
    if form.answer is None:
        return {"description": "Done."}
    headers = {"headers": _VERSION_HEADER} if form.versioned else {}
    return {"description": "Done.", **headers, "content": {"application/json": {"schema": references[form.answer]}}}


def _refusals(kinds: Iterable[type[Problem]]) -> dict[str, Any]:
    by_status: dict[int, list[type[Problem]]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        str(status): {
            "description": "\n".join(f"- `/problems/{kind.slug}`: {kind.advice()}" for kind in found),
            "content": content,
        }
        for status, found in sorted(by_status.items())
    }


def _path_parameters(form: Shape) -> list[dict[str, Any]]:
    identifier = {"type": "string", "pattern": "^[A-Za-z0-9_.:-]+$", "maxLength": 200}
    return [{"name": name, "in": "path", "required": True, "schema": identifier} for name in form.placeholders]


def _query_parameters(form: Shape) -> list[dict[str, Any]]:
    if form.query is None:
        return []
    described = form.query.model_json_schema()
    required = described.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in described.get("properties", {}).items()
    ]


def _header_parameters(operation: Operation, form: Shape) -> list[dict[str, Any]]:
    conditions = list(_CONDITION_PARAMETERS) if form.conditional else []
    if not (operation.signed and operation.writes):
        return conditions
    text = "The same key and the same request get the same answer for 24 hours. Covered by the signature."
    schema = {"type": "string", "pattern": '^("[ !#-\\[\\]-~]+"|[A-Za-z0-9._:~/+=-]+)$', "maxLength": 255}
    keyed = {"name": "Idempotency-Key", "in": "header", "required": False, "description": text, "schema": schema}
    return [keyed, *conditions, _PAYMENT_PARAMETER] if operation.price else [keyed, *conditions]


def _webhook(name: str, reference: Any) -> dict[str, Any]:
    return {
        "post": {
            "summary": f"A ring of type {name}",
            "description": "Signed as Standard Webhooks say: `webhook-id`, `webhook-timestamp`, `webhook-signature`.",
            "requestBody": {"required": True, "content": {"application/json": {"schema": reference}}},
            "responses": {
                "2XX": {"description": "Taken. Anything else is tried again."},
                "410": {"description": "Gone for good: the relay disables the endpoint."},
            },
        }
    }


def _schemas(
    table: Iterable[tuple[str, Operation, Shape]], webhooks: Mapping[str, type[BaseModel]]
) -> tuple[dict[str, Any], dict[type[BaseModel], Any]]:
    bodies = [form.body for _, _, form in table if form.body]
    sent = [*(form.answer for _, _, form in table if form.answer), *webhooks.values()]
    wanted = [(model, "validation") for model in dict.fromkeys(bodies)]
    wanted += [(model, "serialization") for model in dict.fromkeys(sent) if model not in bodies]
    references, defined = models_json_schema(wanted, ref_template="#/components/schemas/{model}")  # pyright: ignore[reportArgumentType]
    named = {cast(type[BaseModel], model): reference for (model, _), reference in references.items()}
    schemas = defined.get("$defs", {})
    return _as_sent(schemas, _reached(schemas, [named[body] for body in bodies])), named


def _as_sent(schemas: dict[str, Any], received: set[str]) -> dict[str, Any]:
    """The schemas of what the relay sends say that every member is there, and that there may be more one day."""
    for name in schemas.keys() - received:
        if "properties" in schemas[name]:
            schemas[name]["required"] = list(schemas[name]["properties"])
            schemas[name].pop("additionalProperties", None)
    return schemas


def _reached(schemas: Mapping[str, Any], part: Any) -> set[str]:
    """The names of all schemas that this part of the document refers to, and that those refer to."""
    found, waiting = set[str](), [part]
    while waiting:
        names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(waiting.pop()))) - found
        found |= names
        waiting += [schemas[name] for name in names]
    return found
