"""The OpenAPI document that is checked in is the one that is served, and its examples are valid."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from app.discovery.routes import describe
from app.operations import FEATURES
from app.settings import Settings
from docs.generate import example as problem_example
from tests.packages import ROOT
from tocsin.problems import ALL, Problem
from tocsin.schemas.webhooks import WEBHOOKS

FOLDER = ROOT / "openapi"
DOCUMENT: dict[str, Any] = describe(FEATURES, Settings.model_fields["api"].get_default().origin)
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
EXAMPLES = sorted((FOLDER / "examples").glob("*.json"))


def test_the_snapshot_is_current() -> None:
    snapshot = json.loads((FOLDER / "openapi.json").read_text(encoding="utf-8"))
    assert snapshot == json.loads(json.dumps(DOCUMENT)), "the document has changed: make openapi"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_fit_their_schemas(example: Path) -> None:
    # Agent.json, or NewSchedule.cron.json where there are several.
    name = example.name.partition(".")[0]
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    errors = validator.iter_errors(json.loads(example.read_text(encoding="utf-8")))
    assert [f"{error.instance_path}: {error.message}" for error in errors] == []


@pytest.mark.parametrize("kind", ALL.values(), ids=lambda kind: kind.slug)
def test_problems_fit_their_schema(kind: type[Problem]) -> None:
    validator = jsonschema_rs.Draft202012Validator(SCHEMAS["Problem"])
    validator.validate(problem_example(kind).document(instance="req_1"))


def test_whatever_is_sent_has_an_example() -> None:
    references = {model.__name__ for model in WEBHOOKS.values()} | set(_references(_bodies()))
    assert references - {path.name.partition(".")[0] for path in EXAMPLES} == set()


def test_every_schema_is_a_schema() -> None:
    for schema in SCHEMAS.values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_references_lead_somewhere_and_no_schema_is_left_over() -> None:
    assert set(_references(DOCUMENT)) == set(SCHEMAS)


def test_operation_ids_are_unique() -> None:
    names = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))


def _bodies() -> list[Any]:
    return [o.get("requestBody") for path in DOCUMENT["paths"].values() for o in path.values()]


def _references(part: Any) -> Iterator[str]:
    return (match[1] for match in re.finditer(r'"#/components/schemas/([^"]+)"', json.dumps(part)))
