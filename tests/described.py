"""Holds every answer that a test gets against the OpenAPI document: a document that nobody checks is a wish."""

import re
from functools import lru_cache
from typing import Any

import httpx
import jsonschema_rs

from app.discovery.routes import describe
from app.operations import FEATURES

DOCUMENT: dict[str, Any] = describe(FEATURES, "http://relay.test")


async def as_described(answer: httpx.Response) -> None:
    """Fail unless the document says that this operation answers so. For `event_hooks` of an httpx client."""
    operation = _operation(answer.request.method.lower(), answer.request.url.path)
    if operation is None or answer.status_code == 405:
        return
    name = f"{operation['operationId']} {answer.status_code}"
    described = operation["responses"].get(str(answer.status_code))
    assert described is not None, f"{name} is not in the document: {(await answer.aread()).decode()}"
    for media_type, content in described.get("content", {}).items():
        assert answer.headers["content-type"] == media_type, name
        await answer.aread()
        _validator(content["schema"]["$ref"]).validate(answer.json())


def _operation(method: str, path: str) -> dict[str, Any] | None:
    """The most literal path that fits, as routes are matched."""
    found = [each for each in DOCUMENT["paths"] if re.fullmatch(re.sub(r"{\w+}", "[^/]+", each), path)]
    return DOCUMENT["paths"][min(found, key=lambda each: each.count("{"))].get(method) if found else None


@lru_cache
def _validator(reference: str) -> jsonschema_rs.Validator:
    schema = {"$ref": reference, "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
