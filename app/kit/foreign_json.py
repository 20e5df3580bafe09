"""Reading JSON that strangers wrote, so that two readers would agree about it."""

from __future__ import annotations

import json
import math
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias, cast

import orjson

__all__ = ["Json", "Unreadable", "Written", "is_exact", "is_storable", "read"]

Json: TypeAlias = Any

# Deeper than anything that a person would write, shallower than what any reader of ours refuses.
depth_max = 64


class Unreadable(ValueError):
    """The document is no JSON that two readers would agree about."""


class Written(float):
    """A number with more digits than a float holds. It counts as the nearest one; `text` is what was written."""

    text: str


# JMESPath knows numbers by the name of their type.
Written.__name__ = "float"


def read(body: bytes) -> Json:
    """The document. Numbers keep every digit that was written."""
    try:
        # orjson bounds the nesting by itself; json, which keeps long integers, by a limit that anybody may raise.
        orjson.loads(body)
        document = json.loads(body, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the document is no JSON: {error}"[:200]) from error
    if _depth(document) > depth_max:
        raise Unreadable(f"the document is nested deeper than {depth_max} levels")
    return document


def is_exact(document: Json) -> bool:
    """Whether JSON that we write of this says the same numbers: none has more digits than a float holds."""
    level: list[Json] = [document]
    while level:
        if any(isinstance(value, Written) for value in level):
            return False
        level = [inner for each in level for inner in _inner(each)]
    return True


def is_storable(canonical: str) -> bool:
    """Whether PostgreSQL stores this JSON, which is ASCII: neither U+0000 nor half of a surrogate pair."""
    # An escaped backslash before u0000 is taken for a NUL as well: then the value is omitted without need.
    if "\\u0000" in canonical:
        return False
    try:
        json.dumps(json.loads(canonical), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _depth(value: Json) -> int:
    """How deep lists and objects are nested, counted to one more than matters."""
    level: list[Json] = [value]
    for depth in range(depth_max + 1):
        level = [inner for each in level for inner in _inner(each)]
        if not level:
            return depth
    return depth_max + 1


def _inner(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return list(cast(dict[str, Json], value).values())
    return cast(list[Json], value) if isinstance(value, list) else []


def _refuse(constant: str) -> Json:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float | int:
    """3 and 3.0 and 3e0 are one number, however it was written; so they are read as one."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    if not _says_all(number, text):
        written = Written(number)
        written.text = text
        return written
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _says_all(number: float, text: str) -> bool:
    """Whether the float, as it is written, is the very number."""
    try:
        return Decimal(repr(number)) == Decimal(text)
    except InvalidOperation:  # an exponent of more digits than anything real has
        return False
