"""Cursors are opaque: what we gave out is read, anything else is refused."""

import pytest

from app.kit import pages
from tocsin.problems import InvalidCursor


@pytest.mark.parametrize("position", ["1", "sch_01", "2026-11-22T09:00:00Z sch_01", "ü"])
def test_a_cursor_leads_back_to_its_position(position: str) -> None:
    assert pages.decode(pages.encode(position)) == position


@pytest.mark.parametrize(
    "cursor",
    [
        "a",  # no base64 has one character
        "a b=",
        "\x85",  # a control character
        "é",  # not ASCII
        "_w",  # the byte ff, which is no UTF-8
        "AA",  # the character U+0000
    ],
)
def test_what_was_never_given_out_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        pages.decode(cursor)
