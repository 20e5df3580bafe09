"""Reading a value out of a JSON document, and telling whether it has changed. Documents come from strangers."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, TypeAlias, cast

import orjson

from app.kit import limits
from tocsin.schemas.watchers import Selected

Json: TypeAlias = Any


class Unreadable(ValueError):
    """The document is no JSON that two readers would agree about."""


def read(body: bytes) -> Json:
    """The document. Numbers keep every digit that was written before the point."""
    try:
        # orjson bounds the nesting by itself; json, which keeps long integers, by a limit that anybody may raise.
        orjson.loads(body)
        document = json.loads(body, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the document is no JSON: {error}"[:200]) from error
    if _depth(document) > _depth_max:
        raise Unreadable(f"the document is nested deeper than {_depth_max} levels")
    return document


def select(document: Json, pointer: str) -> Selected:
    """What the pointer (RFC 6901) points at."""
    value = document
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = cast(dict[str, Json], value)[name]
        elif isinstance(value, list) and _is_index(name) and int(name) < len(cast(list[Json], value)):
            value = cast(list[Json], value)[int(name)]
        else:
            return Selected(found=False)
    return _selected(value)


def _selected(value: Json) -> Selected:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    sha256 = hashlib.sha256(canonical.encode()).hexdigest()
    if len(canonical) > limits.selected_chars_max or not _is_storable(canonical):
        return Selected(found=True, omitted=True, sha256=sha256)
    return Selected(found=True, value=value, sha256=sha256)


def _is_storable(canonical: str) -> bool:
    """PostgreSQL stores neither U+0000 nor half of a surrogate pair."""
    # An escaped backslash before u0000 is taken for a NUL as well: then the value is omitted without need.
    if "\\u0000" in canonical:
        return False
    try:
        json.dumps(json.loads(canonical), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


# Deeper than anything that a person would write, shallower than what any reader of ours refuses.
_depth_max = 64


def _depth(value: Json) -> int:
    """How deep lists and objects are nested, counted to one more than matters."""
    level: list[Json] = [value]
    for depth in range(_depth_max + 1):
        level = [inner for each in level for inner in _inner(each)]
        if not level:
            return depth
    return _depth_max + 1


def _inner(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return list(cast(dict[str, Json], value).values())
    return cast(list[Json], value) if isinstance(value, list) else []


def _is_index(name: str) -> bool:
    return name == "0" or (name.isascii() and name.isdigit() and name[0] != "0" and len(name) < 10)


def _refuse(constant: str) -> Json:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float | int:
    """3 and 3.0 and 3e0 are one number, however it was written; so they are read as one."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
