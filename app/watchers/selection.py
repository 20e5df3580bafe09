"""Selecting a value out of a JSON document, and knowing it again. Documents come from strangers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from app.kit import limits
from app.kit.foreign_json import Json, is_storable
from app.subscriptions.expressions import Unfit, expression
from tocsin.schemas.watchers import Selected

__all__ = ["nothing", "picked", "pointed", "shown"]

nothing = Selected(found=False)


def picked(document: Json, spec: Mapping[str, Any]) -> tuple[bool, Json]:
    """Whether there is what the spec selects, and the value. Raises Unfit."""
    if spec.get("jmespath") is None:
        return pointed(document, spec["pointer"])
    value = expression(spec["jmespath"]).of(document)
    return value is not None, value


def pointed(document: Json, pointer: str) -> tuple[bool, Json]:
    """Whether the pointer (RFC 6901) points at anything, and at what."""
    value = document
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = cast(dict[str, Json], value)[name]
        elif isinstance(value, list) and _is_index(name) and int(name) < len(cast(list[Json], value)):
            value = cast(list[Json], value)[int(name)]
        else:
            return False, None
    return True, value


def shown(value: Json) -> Selected:
    """The value as it is told and remembered; only its hash where it is too large. Raises Unfit for what is no JSON."""
    try:
        canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unfit("what the expression makes is no JSON") from error
    sha256 = hashlib.sha256(canonical.encode()).hexdigest()
    if len(canonical) > limits.selected_chars_max or not is_storable(canonical):
        return Selected(found=True, omitted=True, sha256=sha256)
    return Selected(found=True, value=value, sha256=sha256)


def _is_index(name: str) -> bool:
    return name == "0" or (name.isascii() and name.isdigit() and name[0] != "0" and len(name) < 10)
