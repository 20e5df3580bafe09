"""JMESPath expressions are refused at the door or end within a bound, whatever they say and whatever they are asked."""

from __future__ import annotations

from typing import Any

import pytest

from app.subscriptions.expressions import BadExpression, Unfit, expression

LARGE = {"a": [{"b": number, "s": "x" * 20} for number in range(2_000)]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b", 1),
        ("list[?n > `1`].{number: n, name: s} | [0]", {"number": 2, "name": "two"}),
        ("length(list)", 2),
        ("max_by(list, &n).s", "two"),
        ("list[].n | sum(@)", 3),
        ("nothing.here", None),
        ("join('-', list[].s)", "one-two"),
    ],
)
def test_an_expression_selects(text: str, expected: Any) -> None:
    assert expression(text).of({"a": {"b": 1}, "list": [{"n": 1, "s": "one"}, {"n": 2, "s": "two"}]}) == expected


@pytest.mark.parametrize(
    "text",
    ["a[", "", " ", "a b", "'", "nowhere(@)", "a.[", "|".join(["a"] * 100), "`" + "[" * 60 + "]" * 60 + "`", "a\x00"],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(BadExpression):
        expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "[@,@]" + "|[@,@]" * 30,  # each step doubles
        "a" + "|[@,@][]" * 15,
        "[a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a][]",
        "join(to_string(a), a[*].s)",
        "to_string(@)" + "|to_string([@])" * 20,
        "a[*].map(&[@,@,@], [@,@,@]) | [@,@,@,@]",
        "a[?contains(to_string([@,@,@,@,@,@,@,@,@,@,@,@]), 'x')] | [@,@,@,@,@,@]",
    ],
)
def test_an_expression_that_takes_too_long_ends(text: str) -> None:
    with pytest.raises(Unfit, match="too long"):
        expression(text).of(LARGE)


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("length(@)", 3),
        ("sum(@)", ["a"]),
        ("sort(@)", [1, "a"]),
        ("ceil(to_number(@))", "1e999"),
        ("a[::0]", {"a": [1]}),
        ("max(@)", [1, None]),
        ("sort_by(@, &a)", [{"a": 1}, {"a": "b"}]),
        ("abs(@)", {}),
    ],
)
def test_what_does_not_fit_the_document_is_said_without_showing_it(text: str, document: Any) -> None:
    with pytest.raises(Unfit, match="does not fit"):
        expression(text).of(document)


def test_of_many_values_those_that_do_not_fit_have_nothing() -> None:
    assert expression("length(a)").of_each([{"a": "xy"}, {"a": 1}, 3, {"a": []}]) == [2, None, None, 0]


def test_many_values_share_one_bound() -> None:
    with pytest.raises(Unfit, match="too long"):
        expression("[a,a,a,a] | length(@)").of_each([LARGE] * 50)
