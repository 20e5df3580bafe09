"""What to do when a chain moves: decided here, without I/O, from the blocks we know and the node's answers.

`follow` is a generator: it yields what it wants to ask, is sent the answers, and returns a verdict.

    known:   ... 7 - 8 - 9a - 10a            undo:   10a, 9a    newest first
    node:            \\ 9b - 10b - 11b        apply:  9b, 10b, 11b    oldest first

Blocks are walked by parent hash, so that every answer is about the same fork, whichever fork the node moves to
meanwhile. Nothing is to be done before everything is known: an answer that is missing abandons the whole attempt,
which costs nothing but a later one.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from app.subscriptions.matching import Log
from app.watchers.blocks import Extra, Needs

NOTHING = Needs()


@dataclass(frozen=True, slots=True)
class Block:
    """What is remembered of a block, and checked of an answer. Hashes are lower case."""

    number: int
    hash: str
    parent: str
    timestamp: int


@dataclass(frozen=True, slots=True)
class Ring:
    """The newest blocks that we have applied, oldest first, each the parent of the next."""

    blocks: tuple[Block, ...] = ()
    whole: bool = True
    """Nothing was ever applied below the oldest block: it is where we began."""

    @property
    def tip(self) -> Block:
        return self.blocks[-1]

    @property
    def oldest(self) -> Block:
        return self.blocks[0]

    def after(self, ancestor: str) -> tuple[Block, ...] | None:
        """The blocks on top of `ancestor`, oldest first; None when we do not know it."""
        for place, block in enumerate(self.blocks):
            if block.hash == ancestor:
                return self.blocks[place + 1 :]
        return None


# What the follower asks for.


@dataclass(frozen=True, slots=True)
class Latest:
    """The block that the node holds to be the head."""


@dataclass(frozen=True, slots=True)
class ByNumber:
    """The block that the node holds to be canonical at a height."""

    number: int


@dataclass(frozen=True, slots=True)
class ByHash:
    """The block with this hash, whether it is still canonical or not."""

    hash: str


@dataclass(frozen=True, slots=True)
class Contents:
    """All logs of each of these blocks. Without those of one block, none are of use."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class More:
    """What else is needed of each of these blocks, which follow one another."""

    blocks: tuple[Block, ...]
    needs: Needs


@dataclass(frozen=True, slots=True)
class Missing:
    """The answer to anything that the node does not know, does not say, or says wrongly."""

    reason: str


@dataclass(frozen=True, slots=True)
class Extras:
    """What else was needed, of each block in order."""

    of_blocks: tuple[Extra, ...]


Logs: TypeAlias = tuple[Log, ...]
Ask: TypeAlias = Latest | ByNumber | ByHash | Contents | More
Answer: TypeAlias = Block | tuple[Logs, ...] | Extras | Missing


# What it decides.


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The head is our tip."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Take these blocks back, newest first, then add these, oldest first: all of it or nothing."""

    undo: tuple[Block, ...]
    apply: tuple[tuple[Block, Logs], ...]
    more: bool = False
    """The head is further on: look again at once."""
    extras: tuple[Extra, ...] = ()
    """What else was needed of the blocks to add, in their order; nothing where nothing was."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """Something was missing or contradictory. Nothing is known to have changed; ask again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """The answer would take much back, and a lagging node looks the same. Believe it when it persists."""

    reason: str


@dataclass(frozen=True, slots=True)
class Halt:
    """The fork is older than what we remember: what to take back is unknown, so nothing is said at all."""

    reason: str


Verdict: TypeAlias = Unchanged | Plan | Abandon | Doubt | Halt
Asking: TypeAlias = Generator[Ask, Answer, Verdict]


def follow(ring: Ring, doubts: int, *, span_blocks_max: int, doubts_max: int, needs: Needs = NOTHING) -> Asking:
    """What to do about the node's present head, after `doubts` attempts in a row that ended in doubt."""
    head = yield Latest()
    if not isinstance(head, Block):
        return _abandoned(head)
    if not ring.blocks:
        # We begin here: what the first block holds happened before anybody asked.
        return Plan(undo=(), apply=((head, ()),))
    if head.hash == ring.tip.hash:
        return Unchanged()
    if head.number < ring.tip.number and doubts < doubts_max:
        return Doubt(f"the head went back from {ring.tip.number} to {head.number}")
    target: Answer = head
    if head.number > ring.tip.number + span_blocks_max:
        target = yield ByNumber(ring.tip.number + span_blocks_max)
        if not isinstance(target, Block):
            return _abandoned(target)
    return (yield from _join(ring, target, needs, doubts < doubts_max, more=target.hash != head.hash))


def _join(ring: Ring, target: Block, needs: Needs, doubtful: bool, *, more: bool) -> Asking:
    """Walk from the target down to a block that we know, then fetch what the new blocks hold."""
    above = ring.after(target.hash)
    if above is not None:
        return Plan(undo=tuple(reversed(above)), apply=())
    new = [target]
    while (gone := ring.after(new[-1].parent)) is None and new[-1].number > ring.oldest.number:
        parent = yield ByHash(new[-1].parent)
        if not isinstance(parent, Block):
            return _abandoned(parent)
        if parent.number != new[-1].number - 1:
            return Abandon(f"block {parent.hash} says it is {parent.number}, and its child {new[-1].number}")
        new.append(parent)
    if gone is None:
        reason = f"the chain forked below block {ring.oldest.number}, the oldest remembered"
        if doubtful or not ring.whole:
            return Doubt(reason) if doubtful else Halt(reason)
        gone = ring.blocks
        if target.number < ring.oldest.number:
            # The chain was cut below where we began: begin anew there.
            return Plan(undo=tuple(reversed(gone)), apply=((target, ()),))
    elif new[-1].number != ring.tip.number - len(gone) + 1:
        return Abandon(f"block {new[-1].hash} says it is {new[-1].number}, which its parent contradicts")
    blocks = tuple(reversed(new))
    contents = yield Contents(blocks)
    if not isinstance(contents, tuple):
        return _abandoned(contents)
    extras: Answer = Extras(())
    if needs:
        extras = yield More(blocks, needs)
        if not isinstance(extras, Extras):
            return _abandoned(extras)
    applied = tuple(zip(blocks, contents, strict=True))
    return Plan(undo=tuple(reversed(gone)), apply=applied, more=more, extras=extras.of_blocks)


def _abandoned(answer: Answer) -> Abandon:
    assert isinstance(answer, Missing), answer
    return Abandon(answer.reason)


def rewind(ring: Ring, undo: Sequence[Block]) -> Ring:
    """The ring without its newest blocks, which are given newest first."""
    assert tuple(reversed(undo)) == ring.blocks[len(ring.blocks) - len(undo) :]
    return Ring(ring.blocks[: len(ring.blocks) - len(undo)], ring.whole)


def extend(ring: Ring, apply: Sequence[Block], *, blocks_max: int) -> Ring:
    """The ring with new blocks on top, and without the oldest where it would grow too long."""
    blocks = (*ring.blocks, *apply)
    return Ring(blocks[-blocks_max:], ring.whole and len(blocks) <= blocks_max)
