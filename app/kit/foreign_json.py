"""Reading JSON that strangers wrote, so that two readers would agree about it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias, cast

import orjson

__all__ = ["Json", "Unreadable", "Written", "is_exact", "is_storable", "read", "repeated"]

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


def repeated(body: bytes) -> Sequence[int | str] | None:
    """The steps to a member that an object has twice; None: there is none.

    Some readers take the first of two, some the last (RFC 8259 §4): what was signed would say two things. Looks only at
    names. `body` has been read as JSON, so that its nesting is bounded.
    """
    document = body.decode()
    try:
        _each_once.decode(document)
    except _Twice:
        return _steps_to_twice(_in_pairs.decode(document))
    return None


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


class _Twice(Exception):
    """An object has two members of one name."""


def _refuse_twice(members: list[tuple[str, Json]]) -> None:
    # Nothing is kept of an object that is right.
    if len(dict(members)) != len(members):
        raise _Twice


class _Members(list[tuple[str, Json]]):
    """All members of an object, and no list of them."""


# Numbers stay text: it may take long to read one that has many digits, and here nobody asks for it.
_each_once = json.JSONDecoder(object_pairs_hook=_refuse_twice, parse_int=str, parse_float=str)
_in_pairs = json.JSONDecoder(object_pairs_hook=_Members, parse_int=str, parse_float=str)


# A step, behind those to where it is taken. Each written out, they would fill the memory: names may be long, and many
# places behind one.
_Path: TypeAlias = "tuple[_Path, int | str] | None"


def _steps_to_twice(document: Json) -> Sequence[int | str] | None:
    left: list[tuple[_Path, Json]] = [(None, document)]
    while left:
        path, value = left.pop()
        names = set[int | str]()
        for step, inner in _stepped(value):
            if step in names:
                return _steps((path, step))
            names.add(step)
            if isinstance(inner, list):
                left.append(((path, step), cast(list[Json], inner)))
    return None


def _stepped(value: Json) -> Iterable[tuple[int | str, Json]]:
    if isinstance(value, _Members):
        return value
    return enumerate(cast(list[Json], value)) if isinstance(value, list) else ()


def _steps(path: _Path) -> Sequence[int | str]:
    backwards: list[int | str] = []
    while path is not None:
        path, step = path
        backwards.append(step)
    return backwards[::-1]


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
