"""Laws of the rules: a number is told as often as it crosses, and an item once."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.watchers.rules import newcomers, side_of

numbers = st.decimals(min_value=-20, max_value=20, places=2)


@given(st.lists(numbers, min_size=1, max_size=40), numbers, numbers)
def test_what_is_told_goes_up_and_down_in_turn(prices: list[Decimal], one: Decimal, other: Decimal) -> None:
    above, below = max(one, other), min(one, other)
    sides: list[str] = []
    for price in prices:
        sides.append(side_of(price, above, below, sides[-1] if sides else None))
    told = [side for before, side in pairwise(sides) if side != before]
    assert all(before != after for before, after in pairwise(told))
    assert set(told) <= {"above", "below"}
    # Of what is beyond a bound, the side is never in doubt; in between it is where it was.
    for price, side in zip(prices, sides, strict=True):
        assert (side == "above") or not price > above
        assert (side == "below") or not price < below


@given(st.lists(numbers, max_size=40), numbers, numbers)
def test_a_number_that_stays_between_tells_nothing(prices: list[Decimal], one: Decimal, other: Decimal) -> None:
    above, below = max(one, other), min(one, other)
    side = "above"
    for price in prices:
        side = side_of(min(max(price, below), above), above, below, side)
    assert side == "above"


keys = st.lists(st.sampled_from("abcdefghij"), max_size=12)


@given(st.lists(keys, min_size=1, max_size=12), st.integers(1, 4))
def test_every_item_is_told_once_and_none_of_the_first_look(looks: list[list[str]], told_max: int) -> None:
    known, told = None, list[str]()
    for look in looks:
        found = newcomers(known, look, told_max=told_max, known_max=100)
        assert len(found.told) <= told_max
        # Known are those that were told, and those that were there at first: so nothing new is ever taken for known.
        assert set(found.known) == {*(known or (look if known is None else ())), *found.told}
        known = found.known
        told += found.told
    assert len(told) == len(set(told))
    assert set(told).isdisjoint(looks[0])


@given(st.lists(keys, min_size=1, max_size=12), st.integers(1, 4))
def test_in_the_end_everything_that_stays_is_told(looks: list[list[str]], told_max: int) -> None:
    known, waiting = None, 0
    for look in [*looks, *[looks[-1]] * 12]:
        found = newcomers(known, look, told_max=told_max, known_max=100)
        known, waiting = found.known, found.waiting
    assert waiting == 0
    assert set(looks[-1]) <= set(known or ())


@given(st.lists(keys, min_size=1, max_size=12), st.integers(1, 12))
def test_what_is_there_is_never_forgotten_for_lack_of_room(looks: list[list[str]], known_max: int) -> None:
    known = None
    for look in looks:
        found = newcomers(known, look, told_max=100, known_max=known_max)
        known = found.known
        assert set(look) <= set(known)
        assert len(known) <= max(known_max, len(set(look)))
