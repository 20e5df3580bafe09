"""Conditions over what an event says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.subscriptions.conditions import BadCondition, Condition

LARGEST = 2**256 - 1
PAYLOAD: dict[str, Any] = {
    "decoded": {"value": LARGEST, "to": "0xab", "ids": [1, 2], "ok": True, "in": 1, "amount": Decimal("1.10")},
    "transaction": {"from": "0xcd"},
    "price": 0.1,
    "note": None,
}


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("decoded.value > 1000000 && transaction.from == '0xcd'", True),
        ('transaction.from == "0xCD"', True),  # hexadecimal is read in lower case
        (f"decoded.value == {LARGEST}", True),
        (f"decoded.value - 1 == {LARGEST}", False),  # a float would say they are equal
        (f"decoded.value + 1 > {LARGEST}", True),  # 64 bits would overflow
        (f"decoded.value * 2 == {LARGEST * 2}", True),
        ("decoded.value >= 0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", True),
        ("price == 0.1 && price * 3 == 0.3", True),  # as it was written
        ("decoded.amount == 1.1 && decoded.amount < 2", True),
        ("1 == 1.0", True),
        ("-1 < 0 && 2 - 3 == -1", True),
        ("decoded.to in ['0xab', '0xcd'] && 2 in decoded.ids && 'to' in decoded", True),
        ("decoded.ids[1] == 2 && decoded['in'] == 1", True),
        ("size(decoded.ids) == 2 && decoded.to.size() == 4", True),
        ("decoded.to.startsWith('0x') && decoded.to.endsWith('b') && decoded.to.contains('xa')", True),
        ("has(decoded.to) && !has(decoded.memo)", True),
        ("note == null && decoded.ok && !false", True),
        ("true || false && false", True),  # && binds closer
        ("decoded.value == '1'", False),  # another type is another value
        ("decoded.ok == 1", False),
        ("decoded.ok != 1", True),
        # What the payload does not say is neither true nor false, and not its opposite either.
        ("decoded.valeu > 1", None),
        ("!(decoded.valeu > 1)", None),
        ("decoded.valeu != 1", None),
        ("decoded.to > 1", None),
        ("decoded.ids[2] == 1", None),
        ("decoded.ok + 1 == 2", None),
        ("note.what == 1", None),
        ("decoded.value", None),  # not a condition
        ("decoded.valeu > 1 || true", True),
        ("decoded.valeu > 1 && false", False),
        ("false || decoded.valeu > 1", None),
    ],
)
def test_a_condition_holds_or_does_not_or_cannot_be_told(text: str, verdict: bool | None) -> None:
    assert Condition(text, lower_hex=True).verdict(PAYLOAD) is verdict


@pytest.mark.parametrize(
    ("text", "position", "detail"),
    [
        ("", 0, "found the end"),
        ("decoded.value >", 15, "found the end; expected '!'"),
        ("decoded.value = 5", 14, "write == for equality"),
        ("a & b", 2, "write && for and"),
        ("a > 1 and b > 1", 6, "found 'and'"),
        ("1 < 2 < 3", 6, "found '<'"),
        ("a / 2 > 1", 2, "multiply the other side"),
        ("a > 1e5", 4, "a number is decimal"),
        ("a > 'x", 4, "a string ends on its line"),
        ("a.matches('(a+)+$')", 0, "there is no matches()"),
        ("a == 1 && open('x')", 10, "there is no open()"),
        ("has(a)", 0, "has() takes a field of something"),
        ("a.__class__()", 0, "there is no __class__()"),
        ("!" * 40 + "a", 32, "nested at most 32 deep"),
        ("a" * 501, 500, "at most 500 characters"),
        ("in == 1", 0, "'in' stands between"),
    ],
)
def test_what_cannot_be_read_is_refused_where_it_stands(text: str, position: int, detail: str) -> None:
    with pytest.raises(BadCondition, match=r"^at character \d+: ") as refusal:
        Condition(text)
    assert refusal.value.position == position
    assert detail in str(refusal.value)


def test_a_condition_names_the_fields_that_it_reads() -> None:
    read = Condition("decoded.value > 1 && has(transaction.from) && a['b'].c[0] == 1").reads
    assert read == {("decoded", "value"), ("transaction",), ("transaction", "from"), ("a", "b", "c")}


def test_nothing_of_python_is_reached() -> None:
    for text in ("decoded.__class__ == 1", "decoded.items == 1", "decoded.ids.append == 1"):
        assert Condition(text).verdict(PAYLOAD) is None


@pytest.mark.parametrize(
    "text", ["*".join(["n"] * 240) + " > 1", "(n" + "*n" * 110 + ") * (n" + "*n" * 110 + ") > 0.5"]
)
def test_numbers_grow_to_no_more_than_a_condition_could_need(text: str) -> None:
    payload = {"n": int("9" * 4_000)}
    assert Condition(text).verdict(payload) is None
    assert Condition("n * n > n && n + 1 > n").verdict(payload) is True


def test_a_list_is_searched_as_far_as_it_is_short() -> None:
    assert Condition("1 in body").verdict({"body": [0.5] * 999 + [1]}) is True
    assert Condition("1 in body").verdict({"body": [0.5] * 1_000 + [1]}) is None
