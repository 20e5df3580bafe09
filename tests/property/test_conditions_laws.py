"""Conditions say what CEL says, wherever CEL can count that far; and no text and no payload makes them fail."""

from __future__ import annotations

from typing import Any

import cel
from hypothesis import example, given
from hypothesis import strategies as st

from app.subscriptions.conditions import BadCondition, Condition

PAYLOAD: dict[str, Any] = {"a": {"n": 7, "s": "xy", "l": [1, 2, 3], "t": True}, "n": -2, "s": "x"}

numbers = st.sampled_from(["a.n", "n", "0", "1", "7", "a.l[0]", "size(a.l)", "a.gone", "size(s)"])
strings = st.sampled_from(["s", "a.s", "'x'", "'xy'", "''", "a.gone"])
sums = st.builds("({} {} {})".format, numbers, st.sampled_from("+-*"), numbers)
comparisons = (
    st.builds("{} {} {}".format, numbers | sums, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), numbers | sums)
    | st.builds("{} {} {}".format, strings, st.sampled_from(["==", "!=", "<", ">="]), strings)
    | st.builds("{} in {}".format, numbers, st.sampled_from(["a.l", "[1, 7]", "[]"]))
    | st.builds("{}.{}({})".format, st.sampled_from(["s", "a.s"]), st.sampled_from(["startsWith", "contains"]), strings)
    | st.sampled_from(["a.t", "true", "false", "has(a.n)", "has(a.gone)", "a.gone"])
)
conditions = st.recursive(
    comparisons,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||"]), inner) | st.builds("!({})".format, inner)
    ),
    max_leaves=6,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([0.1, -2.5, 1e300]) | st.sampled_from(["", "x", "xy"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("anslt"), inner, max_size=4),
    max_leaves=10,
)


@given(conditions)
def test_a_condition_says_what_cel_says(text: str) -> None:
    try:
        expected = cel.evaluate(text, PAYLOAD)
    except (ValueError, TypeError, RuntimeError, KeyError):
        expected = None
    assert Condition(text).verdict(PAYLOAD) is expected


@given(conditions, st.dictionaries(st.sampled_from("ans"), json_values))
def test_no_payload_makes_a_condition_fail(text: str, payload: dict[str, Any]) -> None:
    assert Condition(text).verdict(payload) in (True, False, None)


@given(st.text(alphabet="ab.()[]!<>=&|+-*'\"0x1 ,in\u00e9\u20ac\x00", max_size=40))
@example("(" * 250 + "1" + ")" * 249)
@example("[" * 249 + "]" * 249)
@example("a" + ".a" * 249)
@example("a" + "[0]" * 160)
@example("-" * 499 + "1")
@example("1" + "*9" * 249)
@example("a" + "||a" * 160)
def test_any_text_is_read_or_refused_within_itself(text: str) -> None:
    assert 0 <= refused_at(text) <= len(text)


def refused_at(text: str) -> int:
    """Where the text is refused; 0 where it is not, and then it says something of a payload."""
    try:
        Condition(text).verdict(PAYLOAD)
    except BadCondition as bad:
        return bad.position
    return 0
