"""Values are read out of documents by JSON pointer, whatever a stranger's document holds."""

from __future__ import annotations

from typing import Any

import pytest

from app.kit import limits
from app.kit.foreign_json import Unreadable, read
from app.watchers.selection import pointed, shown

# RFC 6901 §5
DOCUMENT = read(
    rb"""{
        "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8
    }"""
)


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", DOCUMENT),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_a_pointer_finds_its_value(pointer: str, value: Any) -> None:
    assert pointed(DOCUMENT, pointer) == (True, value)


@pytest.mark.parametrize(
    "pointer", ["/bar", "/foo/2", "/foo/-", "/foo/00", "/foo/01", "/foo/bar", "/foo/0/x", "/foo/²"]
)
def test_a_pointer_to_nothing_finds_nothing(pointer: str) -> None:
    assert pointed(DOCUMENT, pointer) == (False, None)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"a": 1, "b": 2}', b'{ "b":2,"a":1 }', True),  # order and spaces mean nothing
        (b"1.0", b"1.00", True),
        (b"1", b"10e-1", True),
        (b"1.5", b"1.25", False),
        (b"1", b"2", False),
        (b"null", b"0", False),
        (b"[1, 2]", b"[2, 1]", False),
        (b"100000000000000000001", b"100000000000000000002", False),  # beyond 64 bits
        (b'"\\u0041"', b'"A"', True),
    ],
)
def test_values_are_compared_and_not_their_spelling(one: bytes, other: bytes, same: bool) -> None:
    assert (shown(read(one)).sha256 == shown(read(other)).sha256) == same


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"NaN",
        b"[Infinity]",
        b"1e999",
        b"\xff",
        b"[" * 100_000,
        b"[" * 100 + b"]" * 100,
        b"9" * 5_000,
        b"<html>",
        b"'a'",
        b'"\\ud800"',
    ],
)
def test_what_is_no_json_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read(body)


@pytest.mark.parametrize(
    "body",
    [
        b'"' + b"a" * limits.selected_chars_max + b'"',  # too large
        b'"a\\u0000b"',  # no database text
        b'{"a\\u0000b": 1}',
    ],
)
def test_what_cannot_be_stored_is_told_by_its_hash_alone(body: bytes) -> None:
    selected = shown(read(body))
    assert (selected.found, selected.omitted, selected.value) == (True, True, None)
    assert selected.sha256
