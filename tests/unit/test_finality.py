"""How far a chain is final: what its node says, as far as it fits what we have."""

from __future__ import annotations

import pytest

from app.watchers.finality import Heads, Levels, by_depth, by_tags, plausible
from app.watchers.follower import Block, Final, Ring


def block(number: int, fork: str = "a") -> Block:
    return Block(number, f"0x{number}{fork}", f"0x{number - 1}{fork}", number)


def ring(first: int, last: int, final: Final | None = None) -> Ring:
    return Ring(tuple(block(number) for number in range(first, last + 1)), final=final)


@pytest.mark.parametrize(
    ("safe", "finalized", "sense"),
    [
        (9, 7, True),
        (10, 10, True),  # a development node: its head is final
        (None, None, True),  # a young chain
        (9, None, True),
        (None, 7, True),
        (7, 9, False),  # final but not safe
        (9, 11, False),  # beyond the head
        (11, 7, False),
    ],
)
def test_levels_stand_one_above_the_other(safe: int | None, finalized: int | None, sense: bool) -> None:
    levels = Levels(block(safe) if safe else None, block(finalized) if finalized else None)
    assert plausible(block(10), levels) is sense


@pytest.mark.parametrize(
    ("known", "levels", "heads"),
    [
        (None, Levels(block(9), block(7)), Heads(9, Final(7, "0x7a"))),
        (None, Levels(block(3), block(2)), Heads(3, Final(2, "0x2a"))),  # below what is remembered
        (None, Levels(), Heads()),
        (Final(6, "0x6a"), Levels(), Heads(6, Final(6, "0x6a"))),  # once final, always final
        (Final(8, "0x8a"), Levels(block(9), block(7)), Heads(9, Final(8, "0x8a"))),  # never back
        (Final(8, "0x8a"), Levels(block(5), block(4)), Heads(8, Final(8, "0x8a"))),
        (None, Levels(block(9, "b"), block(7, "b")), Heads()),  # read of another fork than ours
        (Final(6, "0x6a"), Levels(block(9), block(7, "b")), Heads(9, Final(6, "0x6a"))),
        (None, Levels(block(90), block(50)), Heads(10, Final(10, "0x10a"))),  # we are still on our way
    ],
)
def test_what_a_node_says_holds_as_far_as_it_fits(known: Final | None, levels: Levels, heads: Heads) -> None:
    assert by_tags(ring(5, 10, known), levels) == heads


def test_by_depth_what_has_enough_blocks_above_it_is_final() -> None:
    assert by_depth(ring(5, 10), 3) == Heads(7, Final(7, "0x7a"))
    assert by_depth(ring(5, 10), 8) == Heads(2, Final(2, None))
    assert by_depth(ring(5, 10), 11) == Heads()
    assert by_depth(ring(5, 10, Final(9, "0x9a")), 3) == Heads(9, Final(9, "0x9a"))
