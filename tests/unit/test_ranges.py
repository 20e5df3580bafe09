"""How far one question for logs reaches: as far as the node lets it."""

from __future__ import annotations

import pytest

from app.watchers.ranges import Reach, suggested


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("Log response size exceeded. Try with this block range [0x10, 0x1f]", 16),
        ("this block range should work: [0x1, 0x64]", 100),
        ("query returns too many results, retry with the range 100-199", 100),
        ("eth_getLogs is limited to a 10,000 range", 10_000),
        ("block range too large, max 500", 500),
        ("max block range: 1024", 1_024),
        ("exceeds the range limit of 5", 5),
        ("query timeout", None),
        ("", None),
        ("Try with this block range [0x64, 0x1]", None),
    ],
)
def test_what_a_refusal_suggests(text: str, blocks: int | None) -> None:
    assert suggested(text) == blocks


def test_what_was_given_grows() -> None:
    assert Reach(2_000).after_answer() == Reach(3_000)
    assert Reach(1).after_answer() == Reach(2)
    assert Reach(99_999).after_answer() == Reach(100_000)


@pytest.mark.parametrize(
    ("asked", "text", "next"),
    [
        (2_000, "max block range: 500", 500),
        (2_000, "query timeout", 1_000),
        (500, "max block range: 500", 250),  # it refuses what it suggests
        (500, "max block range: 5000", 250),
        (500, "max block range: 0", 250),
        (1, "query timeout", 1),
    ],
)
def test_what_was_refused_shrinks(asked: int, text: str, next: int) -> None:
    assert Reach(asked).after_refusal(asked, text) == Reach(next)
