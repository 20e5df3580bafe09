"""Prices of pools, and which change of them is told."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from app.watchers.prices import Observation, changed, price_v2, price_v3, read, remembered, rewound, stored
from tocsin.schemas.evm import Crosses, EvmPrice, Moves

LEVEL = Crosses(rule="crosses", level="150")
FIVE = Moves(rule="moves", percent="5", window=timedelta(minutes=10))


def pool(**members: object) -> EvmPrice:
    return EvmPrice.model_validate(
        {"kind": "evm.price", "chain": "eip155:1", "pool": "0x" + "aa" * 20, "when": LEVEL, **members}
    )


def seen(*prices: str, seconds: int = 60, told: int | None = None) -> list[Observation]:
    return [Observation(n, n * seconds, Decimal(price), n == told) for n, price in enumerate(prices)]


@pytest.mark.parametrize(
    ("members", "v2", "v3"),
    [
        ({}, "4", "4"),
        ({"inverted": True}, "0.25", "0.25"),
        ({"decimals0": 18, "decimals1": 6}, "4000000000000", "4000000000000"),
        ({"decimals0": 6, "decimals1": 18}, "0.000000000004", "0.000000000004"),
    ],
)
def test_a_price_is_in_whole_tokens(members: dict[str, object], v2: str, v3: str) -> None:
    assert price_v2(10**30, 4 * 10**30, pool(**members)) == Decimal(v2)
    assert price_v3(2 * 2**96, pool(**members)) == Decimal(v3)


def test_an_empty_pool_has_no_price() -> None:
    assert price_v2(0, 5, pool()) is None
    assert price_v2(5, 0, pool()) is None
    assert price_v3(0, pool()) is None


def test_the_strangest_pools_have_a_price_and_a_change() -> None:
    extreme = pool(decimals0=36, decimals1=0)
    low, high = price_v2(2**112 - 1, 1, pool(decimals0=0, decimals1=36)), price_v3(2**160 - 1, extreme)
    assert low is not None
    assert high is not None
    change = changed(Crosses(rule="crosses", level="1"), [Observation(1, 1, low)], Observation(2, 2, high))
    assert change is not None
    assert change.percent > 10**100


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ("140", "160", True),
        ("160", "140", True),
        ("140", "150", True),  # onto the level
        ("150", "160", False),  # it was told when it got there
        ("140", "149.9", False),
        ("160", "170", False),
    ],
)
def test_a_level_is_crossed_from_one_side_to_the_other(before: str, now: str, told: bool) -> None:
    first, second = seen(before, now)
    assert (changed(LEVEL, [first], second) is not None) == told
    assert changed(LEVEL, [], second) is None


@pytest.mark.parametrize(
    ("prices", "reference", "percent"),
    [
        (("100", "104"), None, None),
        (("100", "105"), "100", "5"),
        (("100", "95"), "100", "-5"),
        (("100", "103", "98", "103"), "98", "5.102041"),  # from the lowest, not from the first
        (("100", "98", "104", "98"), "104", "-5.769231"),
        (("90", *["100"] * 11, "100"), None, None),  # the lowest is older than the window
        (("100", "110", "80", "110"), "80", "37.5"),  # the farther of both
    ],
)
def test_a_move_is_measured_within_the_window(
    prices: tuple[str, ...], reference: str | None, percent: str | None
) -> None:
    *before, now = seen(*prices)
    change = changed(FIVE, before, now)
    shown = None if change is None else (str(change.before.price), str(change.percent))
    assert shown == (None if reference is None else (reference, percent))


def test_what_was_told_is_where_the_next_move_is_measured_from() -> None:
    *before, now = seen("100", "106", "107", told=1)
    assert changed(FIVE, before, now) is None
    *before, now = seen("100", "106", "112", told=1)
    change = changed(FIVE, before, now)
    assert change is not None
    assert str(change.before.price) == "106"


def test_little_is_remembered_of_what_no_reorganisation_reaches() -> None:
    long = [Observation(n, n * 2, Decimal(100 + n % 7)) for n in range(5_000)]
    kept = remembered(Moves(rule="moves", percent="5", window=timedelta(hours=1)), long, blocks=64)
    assert len(kept) < 65 + 2 * 245
    assert kept[-65:] == long[-65:]
    assert {each.price for each in kept[:-65]} == {Decimal(100), Decimal(106), *{e.price for e in kept[:-65]}}
    assert len(remembered(LEVEL, long, blocks=64)) == 66


def test_a_reorganisation_forgets_what_it_takes() -> None:
    assert [each.number for each in rewound(seen("1", "2", "3"), 2)] == [0, 1]


def test_what_is_stored_is_read_back() -> None:
    made = seen("1.5", "0.000000000000000000000000000001", told=1)
    assert read(stored(made)) == made
