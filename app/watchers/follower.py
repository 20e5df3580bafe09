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
from dataclasses import dataclass, replace
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
class Final:
    """A height up to which nothing is to change any more, and the block there, where we have seen it."""

    number: int
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class Ring:
    """The newest blocks that we have applied, oldest first, each the parent of the next."""

    blocks: tuple[Block, ...] = ()
    whole: bool = True
    """Nothing was ever applied below the oldest block: it is where we began."""
    final: Final | None = None
    """Up to where the chain was final when it was last looked at; it may be below the oldest."""

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
    """The block that the node holds to be canonical at a height. From `since` on, those below are asked for next."""

    number: int
    since: int | None = None


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
class Elsewhere:
    """The block that each of the chain's other providers holds to be canonical at a height, or to be the head."""

    number: int | None = None


@dataclass(frozen=True, slots=True)
class Others:
    """What the other providers answer. Those that do not answer, or have no such block, are not among them."""

    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Extras:
    """What else was needed, of each block in order."""

    of_blocks: tuple[Extra, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """The answer to anything that the node does not know, does not say, or says wrongly."""

    reason: str
    cause: str = "unknown"
    again_seconds: float | None = None
    """How long the node asked not to be asked again."""


Logs: TypeAlias = tuple[Log, ...]
Ask: TypeAlias = Latest | ByNumber | ByHash | Contents | More | Elsewhere
Answer: TypeAlias = Block | tuple[Logs, ...] | Extras | Others | Missing


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
    is_lie: bool = False
    """Others contradict the node that was asked: ask another one first."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """The answer would take much back, and a lagging node looks the same. Believe it when it persists."""

    reason: str


@dataclass(frozen=True, slots=True)
class Halt:
    """The fork is older than what we remember, or than what was final: nothing is said at all."""

    reason: str


Verdict: TypeAlias = Unchanged | Plan | Abandon | Doubt | Halt
Asking: TypeAlias = Generator[Ask, Answer, Verdict]


# A walk of so many parents is worth a request for all of them; and at most so many are asked for at once.
_READ_AHEAD_MIN, _READ_AHEAD_MAX = 4, 64


def follow(
    ring: Ring,
    doubts: int,
    *,
    span_blocks_max: int,
    doubts_max: int,
    agreement: bool = False,
    needs: Needs = NOTHING,
) -> Asking:
    """What to do about the node's present head, after `doubts` attempts in a row that ended in doubt.

    With `agreement`, nothing is followed further than a second provider confirms.
    """
    said = yield Latest()
    if not isinstance(said, Block):
        return _abandoned(said)
    if ring.blocks and said.hash == ring.tip.hash:
        return Unchanged()
    head = (yield from _agreed(said)) if agreement else said
    if isinstance(head, Missing):
        return Abandon(head.reason, is_lie=head.cause == "wrong")
    if not ring.blocks:
        # We begin here: what the first block holds happened before anybody asked.
        return Plan(undo=(), apply=((head, ()),))
    if head.number < said.number and ring.after(head.hash) is not None:
        # What we have is confirmed, and nothing beyond it.
        return Unchanged()
    persists = doubts >= doubts_max
    if head.number < ring.tip.number:
        heads = _blocks((yield Elsewhere()))
        ahead = [each for each in heads if each.number >= ring.tip.number]
        # With agreement, nobody is followed who is alone with what it says.
        further = [each for each in ahead if not agreement or ahead.count(each) > 1]
        if ahead and not further and ring.after(head.hash) is not None:
            return Unchanged()
        # A second provider that has the same head is as good as time that passes.
        persists = persists or any(each.hash == head.hash for each in heads)
        if not persists and not further:
            return Doubt(f"the head went back from {ring.tip.number} to {head.number}")
        if further:
            # The node lags behind.
            head = max(further, key=lambda each: each.number)
        if head.hash == ring.tip.hash:
            return Unchanged()
    target: Answer = head
    first, last = ring.tip.number + 1, min(head.number, ring.tip.number + span_blocks_max)
    if last < head.number:
        target = yield ByNumber(last, since=first)
        if not isinstance(target, Block):
            return _abandoned(target)
    elif last - first >= _READ_AHEAD_MIN:
        # Known by hash in a moment, where the node is on the fork of its head.
        yield ByNumber(last - 1, since=first)
    return (yield from _join(ring, target, needs, persists, more=target.hash != head.hash))


def _agreed(head: Block) -> Generator[Ask, Answer, Block | Missing]:
    """The highest block that the node and another one hold to be canonical: the head, or the other's."""
    heads = _blocks((yield Elsewhere()))
    if any(each.hash == head.hash for each in heads):
        return head
    at_that_height = [each for each in heads if each.number == head.number]
    if any(each.number > head.number for each in heads):
        at_that_height = _blocks((yield Elsewhere(head.number)))
        if any(each.hash == head.hash for each in at_that_height):
            return head
    against = [each.hash for each in at_that_height]
    for each in sorted(heads, key=lambda each: each.number, reverse=True):
        if each.number < head.number:
            if (yield ByNumber(each.number)) == each:
                return each
            against.append(each.hash)
    # Two that agree with one another, and not with this one, settle who is wrong.
    cause = "wrong" if any(against.count(each) > 1 for each in against) else "unknown"
    return Missing(f"no second provider confirms block {head.hash} at {head.number}", cause)


def _join(ring: Ring, target: Block, needs: Needs, persists: bool, *, more: bool) -> Asking:
    """Walk from the target down to a block that we know, then fetch what the new blocks hold."""
    above = ring.after(target.hash)
    if above is not None:
        refusal = yield from _below_what_is_final(ring, above, persists)
        return refusal or Plan(undo=tuple(reversed(above)), apply=())
    new, top = [target], min(target.number, ring.tip.number)
    ahead_at = top - _READ_AHEAD_MIN
    while (gone := ring.after(new[-1].parent)) is None and new[-1].number > ring.oldest.number:
        if new[-1].number == ahead_at:
            # One by one, the way down a deep fork would take longer than a look may.
            ahead_at = max(ring.oldest.number, ahead_at - min(2 * (top - ahead_at), _READ_AHEAD_MAX))
            yield ByNumber(new[-1].number - 1, since=ahead_at)
        parent = yield ByHash(new[-1].parent)
        if not isinstance(parent, Block):
            return _abandoned(parent)
        if parent.number != new[-1].number - 1:
            return Abandon(f"block {parent.hash} says it is {parent.number}, and its child {new[-1].number}")
        new.append(parent)
    if gone is None:
        refusal = yield from _below_the_oldest(ring, persists)
        if refusal is not None:
            return refusal
        gone = ring.blocks
    elif new[-1].number != ring.tip.number - len(gone) + 1:
        return Abandon(f"block {new[-1].hash} says it is {new[-1].number}, which its parent contradicts")
    refusal = yield from _below_what_is_final(ring, gone, persists)
    if refusal is not None:
        return refusal
    if target.number < ring.oldest.number:
        # The chain was cut below where we began: begin anew there.
        return Plan(undo=tuple(reversed(gone)), apply=((target, ()),))
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


Refusal: TypeAlias = Abandon | Doubt | Halt


def _below_what_is_final(ring: Ring, gone: Sequence[Block], persists: bool) -> Generator[Ask, Answer, Refusal | None]:
    """Why these blocks are not to be taken back; None when they may be."""
    if ring.final is None or not gone or gone[0].number > ring.final.number:
        return None
    reason = f"the chain forked below block {ring.final.number}, which was final"
    return (yield from _impossible(gone[0].number, gone[0].hash, reason, persists))


def _below_the_oldest(ring: Ring, persists: bool) -> Generator[Ask, Answer, Refusal | None]:
    """The same of a fork below all that we remember. Where we began there, all of it may be taken back."""
    reason = f"the chain forked below block {ring.oldest.number}, the oldest remembered"
    if not ring.whole:
        return (yield from _impossible(ring.oldest.number, ring.oldest.hash, reason, persists))
    final = ring.final
    if final is not None and final.hash is not None and final.number < ring.oldest.number:
        there = yield ByNumber(final.number)
        if isinstance(there, Block) and there.hash != final.hash:
            reason = f"block {final.number} was final, and is another one now"
            return (yield from _impossible(final.number, final.hash, reason, persists))
    verdict = yield from _impossible(ring.oldest.number, ring.oldest.hash, reason, persists)
    return None if isinstance(verdict, Halt) else verdict


def _impossible(number: int, ours: str, reason: str, persists: bool) -> Generator[Ask, Answer, Refusal]:
    """What to make of a fork that there should not be: a second provider settles it, else it has to persist."""
    elsewhere = _blocks((yield Elsewhere(number)))
    if any(each.hash == ours for each in elsewhere):
        return Abandon(f"{reason}, as only one provider says", is_lie=True)
    if elsewhere or persists:
        return Halt(reason)
    return Doubt(reason)


def _blocks(answer: Answer) -> tuple[Block, ...]:
    assert isinstance(answer, Others), answer
    return answer.blocks


def _abandoned(answer: Answer) -> Abandon:
    assert isinstance(answer, Missing), answer
    return Abandon(answer.reason)


def rewind(ring: Ring, undo: Sequence[Block]) -> Ring:
    """The ring without its newest blocks, which are given newest first."""
    assert tuple(reversed(undo)) == ring.blocks[len(ring.blocks) - len(undo) :]
    return replace(ring, blocks=ring.blocks[: len(ring.blocks) - len(undo)])


def extend(ring: Ring, apply: Sequence[Block], *, blocks_max: int) -> Ring:
    """The ring with new blocks on top, and without the oldest where it would grow too long."""
    blocks = (*ring.blocks, *apply)
    return replace(ring, blocks=blocks[-blocks_max:], whole=ring.whole and len(blocks) <= blocks_max)
