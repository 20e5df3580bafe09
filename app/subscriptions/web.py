"""What is watched on the web, taken apart: what changes the request, and what is read out of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from app.subscriptions.expressions import BadExpression, expression
from tocsin.problems import InvalidBody
from tocsin.schemas.web import Appeared, HttpFeed, HttpJson

__all__ = ["KINDS", "check", "taken_apart", "watched"]

# What is told of these is told against what they were: a filter begins with the first look that knows it.
KINDS = frozenset({"http.json", "http.feed"})


def check(wanted: HttpJson | HttpFeed) -> None:
    """Refuse an expression that could not be evaluated."""
    if isinstance(wanted, HttpFeed):
        return
    key = wanted.rule.key if isinstance(wanted.rule, Appeared) else None
    for pointer, text in (("/source/jmespath", wanted.jmespath), ("/source/rule/key", key)):
        try:
            if text is not None:
                expression(text)
        except BadExpression as bad:
            raise InvalidBody.at(pointer, str(bad)) from bad


def taken_apart(wanted: HttpJson | HttpFeed) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What changes the request, and all the rest."""
    params = {"url": wanted.url, "interval_seconds": wanted.interval.total_seconds()}
    if isinstance(wanted, HttpFeed):
        return params, {"kind": wanted.kind, "updates": wanted.updates, **_where(wanted)}
    spec: dict[str, Any] = {"kind": wanted.kind, "pointer": wanted.pointer, **_where(wanted)}
    # What is not said is left out, so that a filter is the same row as before there was more to say.
    if wanted.jmespath is not None:
        spec["jmespath"] = wanted.jmespath
    if wanted.rule.kind != "changed":
        spec["rule"] = wanted.rule.model_dump(mode="json")
    return params, spec


def _where(wanted: HttpJson | HttpFeed) -> dict[str, str]:
    return {} if wanted.where is None else {"where": wanted.where}


def watched(params: Mapping[str, Any], spec: Mapping[str, Any]) -> HttpJson | HttpFeed:
    """What was wished for, put together again."""
    shape = HttpFeed if spec["kind"] == "http.feed" else HttpJson
    interval = timedelta(seconds=params["interval_seconds"])
    return shape.model_validate({"url": params["url"], "interval": interval, **spec})
