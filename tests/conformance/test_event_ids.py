"""The id of a chain event can be computed from docs/protocol/subscriptions.md alone."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from app.kit.ids import derived_id

PAGE = Path(__file__).parents[2] / "docs" / "protocol" / "subscriptions.md"


def event_id(*parts: str) -> str:
    """As the page says."""
    framed = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    number = int.from_bytes(hashlib.sha256(framed).digest()[:16], "big")
    digits = ""
    for _ in range(26):
        number, digit = divmod(number, 32)
        digits = "0123456789abcdefghjkmnpqrstvwxyz"[digit] + digits
    return f"evt_{digits}"


def test_the_page_describes_the_id_that_the_relay_gives() -> None:
    log = ("eip155:8453", "0x" + "a1" * 32, "3", "0")
    assert event_id(*log) == derived_id("evt", *log)
    assert re.findall(r"evt_[0-9a-z]{26}", PAGE.read_text()) == [event_id(*log)]
