"""How many blocks to ask for at once: as many as a node gives, learned from what it answers."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Reach", "suggested"]

growth = 1.5
most_blocks = 100_000

# No standard says how a node refuses a range; these are how some do.
_RANGES = (
    re.compile(r"range[^\[]{0,40}\[(0x[0-9a-f]{1,15}), ?(0x[0-9a-f]{1,15})\]", re.I),
    re.compile(r"retry with the range ([0-9]{1,15}) ?- ?([0-9]{1,15})", re.I),
)
_MOST = re.compile(
    r"(?:max(?:imum)?|limited to(?: a)?|up to(?: a)?|exceeds?)[^0-9]{0,40}([0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,7})", re.I
)


@dataclass(frozen=True, slots=True)
class Reach:
    """How many blocks are asked for next."""

    blocks: int

    def after_answer(self) -> Reach:
        """A little more than what was given."""
        return Reach(min(most_blocks, max(self.blocks + 1, int(self.blocks * growth))))

    def after_refusal(self, asked: int, text: str) -> Reach:
        """What the node suggests, where that is less than was asked for; half of it otherwise; never none."""
        better = suggested(text)
        return Reach(better if better is not None and 1 <= better < asked else max(1, asked // 2))


def suggested(text: str) -> int | None:
    """How many blocks a refusal says would do."""
    for pattern in _RANGES:
        if found := pattern.search(text):
            first, last = (int(each, 16 if each.startswith("0x") else 10) for each in found.groups())
            return last - first + 1 if last >= first else None
    found = _MOST.search(text)
    return int(found[1].replace(",", "")) if found else None
