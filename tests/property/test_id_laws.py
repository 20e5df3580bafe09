"""Identifiers: unique by time and chance, sorted by time, and the same for the same parts."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from app.kit.ids import Ids, derived_id, is_id

milliseconds = st.integers(0, 2**48 - 1)
parts = st.lists(st.text(max_size=8), max_size=4)


def _ids(at: int, bits: int = 0) -> Ids:
    return Ids(lambda: at, lambda width: bits % 2**width)


@given(milliseconds, milliseconds)
def test_later_ids_sort_later(one: int, other: int) -> None:
    first, second = (_ids(at).new("sch") for at in (one, other))
    assert (first < second) == (one < other)


@given(milliseconds, st.integers(0, 2**62 - 1))
def test_an_id_is_a_uuid_of_version_7(at: int, bits: int) -> None:
    digits = "0123456789abcdefghjkmnpqrstvwxyz"
    number = 0
    for character in _ids(at, bits).new("sch").removeprefix("sch_"):
        number = number * 32 + digits.index(character)
    decoded = uuid.UUID(int=number)
    assert (decoded.version, decoded.variant, number >> 80) == (7, uuid.RFC_4122, at)


@given(parts, parts)
def test_derived_ids_are_equal_only_for_equal_parts(one: list[str], other: list[str]) -> None:
    assert (derived_id("fir", *one) == derived_id("fir", *other)) == (one == other)


@given(st.text())
def test_only_our_shape_is_an_id(text: str) -> None:
    assert not is_id(text)
    assert is_id(Ids().new("ep"))
