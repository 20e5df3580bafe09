"""How far a chain is final: read with the head where the node says so, by depth where it does not.

`finalized` never goes back. A fork below it is nothing that an honest node shows, so its hash is remembered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from app.watchers.follower import Block, Final, Ring

Origin: TypeAlias = Literal["tags", "depth"]


@dataclass(frozen=True, slots=True)
class Levels:
    """What a node says is safe and final; None where it knows of none yet."""

    safe: Block | None = None
    finalized: Block | None = None


@dataclass(frozen=True, slots=True)
class Heads:
    """Heights up to which blocks are safe and final, as they are kept with the position of a chain."""

    safe: int | None = None
    final: Final | None = None
    by: Origin | None = None
    """By what it is final, where anything is."""
    lacking: str | None = None
    """Why nothing is final that might be."""


def plausible(head: Block, levels: Levels) -> bool:
    """Whether these can be the levels of a chain with that head. The head itself may be final, as in development."""
    safe, finalized = levels.safe, levels.finalized
    heights = [each.number for each in (finalized, safe, head) if each is not None]
    return heights == sorted(heights)


def by_tags(ring: Ring, levels: Levels) -> Heads:
    """The heads of a chain that stands at the tip of the ring, by what its node says."""
    final = _advanced(ring, _standing(ring, levels.finalized))
    safe = _standing(ring, levels.safe)
    heights = [each.number for each in (safe, final) if each is not None]
    return Heads(max(heights, default=None), final)


def by_depth(ring: Ring, depth: int) -> Heads:
    """The same where the node does not say: what has `depth` blocks above it is final, and nothing less is safe."""
    number = ring.tip.number - depth
    at = next((block for block in ring.blocks if block.number == number), None)
    final = _advanced(ring, Final(number, at.hash if at else None) if number >= 0 else None)
    return Heads(final.number if final else None, final)


def _standing(ring: Ring, said: Block | None) -> Final | None:
    """What of a level holds for the blocks that we have: not beyond our tip, and not of a fork that we are not on."""
    if said is None:
        return None
    if said.number > ring.tip.number:
        # We are still on our way to it; what leads to it is as final.
        return Final(ring.tip.number, ring.tip.hash)
    if said.number >= ring.oldest.number:
        ours = ring.blocks[said.number - ring.oldest.number]
        return Final(said.number, said.hash) if ours.hash == said.hash else None
    return Final(said.number, said.hash)


def _advanced(ring: Ring, found: Final | None) -> Final | None:
    if found is None or (ring.final is not None and found.number <= ring.final.number):
        return ring.final
    return found
