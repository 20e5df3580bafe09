"""The alert rules in deploy/ ask for what there is, and say what to do."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from promql_parser import AggregateExpr, MatrixSelector, VectorSelector

from app.settings import Settings
from docs.generate import families

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
TESTS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
WATCHING = Path(__file__).parents[2] / "docs" / "operating" / "watching.md"
# What Prometheus adds to everything that it scrapes.
SCRAPED = {"job", "instance"}


def series() -> dict[str, set[str]]:
    """Every series that a relay has, or Prometheus of it, and its labels."""
    found = {name: set[str]() for name in ("up", "process_resident_memory_bytes", "process_start_time_seconds")}
    for family, labels in families():
        match family.type:
            case "counter":
                found[f"{family.name}_total"] = set(labels)
            case "histogram":
                found |= {f"{family.name}_{part}": set(labels) for part in ("count", "sum")}
                found[f"{family.name}_bucket"] = {*labels, "le"}
            case _:
                found[family.name] = set(labels)
    return {name: labels | SCRAPED for name, labels in found.items()}


def nodes(expression: str) -> list[Any]:
    """Every part of an expression, which is one that Prometheus understands."""
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(expression), found.append)
    return found


def selectors(expression: str) -> Iterator[VectorSelector]:
    for node in nodes(expression):
        if isinstance(node, MatrixSelector):
            yield node.vector_selector
        elif isinstance(node, VectorSelector):
            yield node


def matched(selector: str) -> list[tuple[str, str]]:
    """The labels that one selector names."""
    (found,) = selectors(selector)
    return [(matcher.name, matcher.value) for matcher in found.matchers.matchers]


@pytest.fixture(params=RULES, ids=lambda rule: rule["alert"])
def rule(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


def test_every_alert_asks_for_series_that_there_are(rule) -> None:
    asked = list(selectors(rule["expr"]))

    assert asked
    assert {selector.name for selector in asked} <= series().keys()


def test_every_alert_selects_by_labels_that_there_are(rule) -> None:
    for selector in selectors(rule["expr"]):
        named = {matcher.name for matcher in selector.matchers.matchers}
        assert named <= series()[str(selector.name)], f"{selector.name} has no such labels"


def test_every_alert_groups_by_labels_that_there_are(rule) -> None:
    known = set().union(*(series()[str(selector.name)] for selector in selectors(rule["expr"])))
    groups = [n.modifier.labels for n in nodes(rule["expr"]) if isinstance(n, AggregateExpr) and n.modifier is not None]

    assert {label for labels in groups for label in labels} <= known


def test_every_alert_says_what_is_wrong_and_what_to_do(rule) -> None:
    assert rule["labels"]["severity"] in ("page", "look")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert rule["annotations"]["description"].endswith(".")
    assert not rule["annotations"]["summary"].endswith(".")


def test_every_name_that_an_alert_advises_is_one_of_ours(rule) -> None:
    told = " ".join(rule["annotations"].values())
    metrics = set(re.findall(r"\btocsin_\w+", told))
    settings = {name.removeprefix("TOCSIN_").lower() for name in re.findall(r"\bTOCSIN_\w+", told)}

    assert metrics <= {family.name for family, _ in families()} | series().keys()
    assert settings <= {
        f"{group}_{name}"
        for group, about in Settings.model_fields.items()
        for name in getattr(about.annotation, "model_fields", {})
    }


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in RULES]

    assert len(set(names)) == len(names)


def test_every_alert_is_in_the_page_about_watching(rule) -> None:
    assert f"`{rule['alert']}`" in WATCHING.read_text(encoding="utf-8")


def test_every_alert_fires_in_a_test_of_the_rules(rule) -> None:
    firing = [
        dict(matched(sample["labels"]))
        for test in TESTS
        for asked in test["promql_expr_test"]
        for sample in asked["exp_samples"]
    ]

    assert {"alertname": rule["alert"], "alertstate": "firing", "severity": rule["labels"]["severity"]}.items() <= set(
        item for labels in firing if labels["alertname"] == rule["alert"] for item in labels.items()
    )


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test["name"])
def test_every_test_of_the_rules_has_a_time_when_nothing_fires_and_series_that_there_are(test) -> None:
    assert any(asked["exp_samples"] == [] for asked in test["promql_expr_test"])
    for each in test["input_series"]:
        (selector,) = selectors(each["series"])
        assert dict(matched(each["series"])).keys() <= series()[str(selector.name)], each["series"]


def test_every_question_in_the_page_about_watching_asks_for_series_that_there_are() -> None:
    rows = re.findall(r"^\| [^|]+\? \| (.+) \|$", WATCHING.read_text(encoding="utf-8"), re.MULTILINE)
    queries = [query for row in rows for query in re.findall(r"`([^`]*\btocsin_[^`]*)`", row)]

    assert len(rows) <= len(queries)
    assert {selector.name for query in queries for selector in selectors(query)} <= series().keys()


def test_the_jobs_that_alerts_ask_for_are_those_that_are_scraped() -> None:
    scraped = {job["job_name"] for job in yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]}
    asked = {
        matcher.value
        for rule in RULES
        for selector in selectors(rule["expr"])
        for matcher in selector.matchers.matchers
        if matcher.name == "job" and matcher.op == promql_parser.MatchOp.Equal
    }

    assert asked == scraped
