"""Paths that no client means are refused like any other that does not exist."""

import re

import httpx
import pytest

from app.kit.operations import Operation, shape
from app.operations import FEATURES
from tests.world import TestAgent


def needs_a_body(operation: Operation) -> bool:
    """What lacks one is refused for that, whatever the path names."""
    body = shape(operation).body
    return body is not None and any(member.is_required() for member in body.model_fields.values())


TABLE = [o for table in FEATURES.values() for o in table if "{id}" in o.path and not needs_a_body(o)]


@pytest.mark.parametrize("id", ["%00", "a%00b", "%FF", "%F0%9F%94%94", "x" * 3000])
async def test_an_odd_id_is_not_found(agent: TestAgent, id: str) -> None:
    answers = [await agent.call(o.method, re.sub(r"{\w+}", id, o.path)) for o in TABLE]
    assert {(answer.status_code, answer.headers["content-type"]) for answer in answers} == {
        (404, "application/problem+json")
    }


@pytest.mark.parametrize("path", ["/v1/events/", "/v1/schedules/%2F", "/v1//events", "/healthz/"])
async def test_no_path_is_redirected_to_another(http: httpx.AsyncClient, path: str) -> None:
    # It would be followed with a signature that covers the first path.
    answer = await http.get(path)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
