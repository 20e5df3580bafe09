"""What of a value is told: changes, numbers that cross a bound, and items that appear."""

from __future__ import annotations

from typing import Any

import pytest

from app.kit import limits
from app.kit.foreign_json import read
from app.watchers.rules import judge

PRICE = {"kind": "http.json", "pointer": "/price"}


def threshold(above: str | None = None, below: str | None = None) -> dict[str, Any]:
    return {**PRICE, "rule": {"kind": "threshold", "above": above, "below": below}}


def appeared(key: str | None = None) -> dict[str, Any]:
    return {"kind": "http.json", "pointer": "/items", "rule": {"kind": "appeared", "key": key}}


def told(spec: dict[str, Any], *bodies: bytes) -> list[list[Any]]:
    """What each of these documents has to tell, one after the other."""
    memory, all_told = None, []
    for body in bodies:
        judged = judge(read(body), spec, memory)
        memory = judged.memory
        all_told.append([*judged.told])
    return all_told


def crossings(spec: dict[str, Any], *prices: str) -> list[str | None]:
    """Which bound each price is told to have crossed."""
    looks = told(spec, *(f'{{"price": {price}}}'.encode() for price in prices))
    return [each[0]["crossed"] if each else None for each in looks]


@pytest.mark.parametrize(
    ("above", "below", "prices", "expected"),
    [
        ("10", None, ["9", "10", "11", "12", "10", "9"], [None, None, "above", None, None, "below"]),
        ("10", "8", ["9", "11", "9", "7.9", "8", "10.1"], [None, "above", None, "below", None, "above"]),
        ("10", "8", ["11", "9", "10", "12"], [None, None, None, None]),  # it was above all the time
        (None, "8", ["9", "7", "9"], [None, "below", "above"]),
        ("0.3", None, ["0.3", "0.30000000000000000001"], [None, "above"]),  # on the bound is neither above nor below
        ("0.3", None, ["0.2", "0.30000000000000000001"], [None, "above"]),  # beyond what a float holds
        ("9007199254740993", None, ["1", "9007199254740993", "9007199254740994"], [None, None, "above"]),
        ("10", None, ['"9.99"', '"10.01"'], [None, "above"]),  # many write prices as text
        ("10", None, ["9", "null", "11"], [None, None, "above"]),  # gone for a moment
        ("10", None, ["9", "true", '"n/a"', "[11]", "9"], [None] * 5),
        ("10", None, ["null", "11", "9"], [None, None, "below"]),  # the first number is where it begins
        ("-1", None, ["-2", "-0.5"], [None, "above"]),
    ],
)
def test_a_number_is_told_when_it_crosses(
    above: str | None, below: str | None, prices: list[str], expected: list[str | None]
) -> None:
    assert crossings(threshold(above, below), *prices) == expected


def test_a_crossing_says_both_numbers_digit_by_digit() -> None:
    [_, [crossing]] = told(threshold("0.3"), b'{"price": 0.1}', b'{"price": 0.30000000000000000001}')
    assert (crossing["previous"], crossing["number"], crossing["bound"]) == ("0.1", "0.30000000000000000001", "0.3")


def test_what_cannot_be_judged_says_so_and_forgets_nothing() -> None:
    before = judge(read(b'{"price": 11}'), threshold("10"), None)
    gone = judge(read(b'{"price": null}'), threshold("10"), before.memory)
    assert (gone.trouble, gone.memory) == ("the value is no number", before.memory)


def test_items_are_told_once_and_in_their_order() -> None:
    looks = told(appeared("id"), b'{"items": [{"id": 1}]}', b'{"items": [{"id": 3}, {"id": 1, "x": 2}, {"id": 2}]}')
    assert [each["key"]["value"] for each in looks[1]] == [3, 2]
    assert looks[0] == []


def test_an_item_that_went_and_came_back_is_known() -> None:
    assert told(appeared(), b'{"items": [1, 2]}', b'{"items": []}', b'{"items": [2, 1, 3]}')[2][0]["key"]["value"] == 3


def test_more_items_than_one_look_tells_wait_for_the_next() -> None:
    many = b'{"items": [%s]}' % b",".join(b"%d" % number for number in range(120))
    looks = told(appeared(), b'{"items": []}', many, many, many, many)
    assert [len(each) for each in looks] == [0, limits.appeared_told_max, limits.appeared_told_max, 20, 0]
    assert [each["waiting"] for each in (looks[1][0], looks[2][0], looks[3][0])] == [70, 20, 0]
    assert [item["item"]["value"] for look in looks for item in look] == list(range(120))


@pytest.mark.parametrize("body", [b"{}", b'{"items": null}', b'{"items": {"a": 1}}', b'"<html>"'])
def test_a_list_that_is_none_any_more_is_trouble_and_not_empty(body: bytes) -> None:
    before = judge(read(b'{"items": [1]}'), appeared(), None)
    gone = judge(read(body), appeared(), before.memory)
    assert gone.trouble is not None
    assert gone.memory == before.memory


def test_an_item_without_the_key_is_its_own() -> None:
    looks = told(appeared("id"), b'{"items": [{"a": 1}]}', b'{"items": [{"a": 1}, {"a": 2}, 7, null]}')
    assert [each["item"]["value"] for each in looks[1]] == [{"a": 2}, 7, None]


def test_an_expression_that_does_not_fit_is_trouble() -> None:
    spec = {"kind": "http.json", "pointer": "", "jmespath": "length(a)"}
    good = judge(read(b'{"a": [1]}'), spec, None)
    bad = judge(read(b'{"a": 3}'), spec, good.memory)
    assert bad.memory == good.memory
    assert "length()" in (bad.trouble or "")
    [change] = judge(read(b'{"a": [1, 2]}'), spec, bad.memory).told
    assert (change["previous"]["value"], change["current"]["value"]) == (1, 2)
