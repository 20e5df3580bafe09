"""A chain moves: what is taken back and what is added."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from app.subscriptions.matching import Log
from app.watchers.follower import (
    Abandon,
    Answer,
    Ask,
    Block,
    ByHash,
    ByNumber,
    Contents,
    Doubt,
    Elsewhere,
    Final,
    Halt,
    Latest,
    Missing,
    More,
    Others,
    Plan,
    Ring,
    Unchanged,
    Verdict,
    follow,
)

# Every fork tree of these tests: a block's name is its height and its branch, and says who its parent is.
TREE = {
    "1": None, "2": "1", "3": "2", "4": "3", "5": "4", "6": "5", "7": "6", "8": "7", "9": "8",
    "3b": "2", "4b": "3b", "5b": "4b", "6b": "5b",
    "5c": "4", "6c": "5c",
    "1d": None, "2d": "1d", "3d": "2d", "4d": "3d", "5d": "4d",
}  # fmt: skip


gone = Missing("the node does not know it")


def block(name: str) -> Block:
    number = int(name.rstrip("abcd"))
    return Block(number, f"0x{name}", f"0x{TREE[name] or 'genesis'}", 1_700_000_000 + number)


def branch(first: str, last: str) -> tuple[Block, ...]:
    names = [last]
    while names[-1] != first:
        parent = TREE[names[-1]]
        assert parent is not None
        names.append(parent)
    return tuple(block(name) for name in reversed(names))


def log_of(seen: Block) -> Log:
    return Log("0xtoken", ("0xtransfer",), "0x", f"tx in {seen.hash}", 0, 0)


class Node:
    """A node with all the tree in it, a head, and whatever it does not know."""

    def __init__(self, head: str, *, lacks: Mapping[str, Answer] | None = None) -> None:
        self.canonical = {each.number: each for each in branch("1d" if head.endswith("d") else "1", head)}
        self.head = block(head)
        self.by_hash: dict[str, Answer] = {f"0x{name}": block(name) for name in TREE}
        self.by_hash |= {f"0x{name}": answer for name, answer in (lacks or {}).items()}
        self.asked: list[Ask] = []

    def answer(self, ask: Ask) -> Answer:
        self.asked.append(ask)
        match ask:
            case Latest():
                return self.by_hash[self.head.hash]
            case ByNumber(number):
                return self.canonical.get(number, gone)
            case Elsewhere():
                return Others()
            case ByHash(wanted):
                return self.by_hash[wanted]
            case Contents(blocks):
                return gone if "0xcontents" in self.by_hash else tuple((log_of(each),) for each in blocks)
            case More():
                raise AssertionError("logs are all that is needed here")

    def look(self, ring: Ring, *, doubts: int = 0, span: int = 64) -> Verdict:
        following = follow(ring, doubts, span_blocks_max=span, doubts_max=3)
        answer: Answer = gone
        try:
            ask = next(following)
            while True:
                answer = self.answer(ask)
                ask = following.send(answer)
        except StopIteration as done:
            return done.value


def names(verdict: Verdict) -> tuple[str, str]:
    assert isinstance(verdict, Plan), verdict
    undone, applied = (each.hash.removeprefix("0x") for each in verdict.undo), verdict.apply
    return " ".join(undone), " ".join(each.hash.removeprefix("0x") for each, _ in applied)


@pytest.mark.parametrize(
    ("known", "head", "undo", "apply"),
    [
        (("2", "5"), "6", "", "6"),  # one new block
        (("2", "5"), "8", "", "6 7 8"),  # several, all of them between two looks
        (("2", "5"), "5c", "5", "5c"),  # a sibling of the tip
        (("2", "5"), "6c", "5", "5c 6c"),
        (("2", "5"), "5b", "5 4 3", "3b 4b 5b"),  # three deep, at the same height
        (("2", "5"), "6b", "5 4 3", "3b 4b 5b 6b"),  # three deep, and longer
        (("5", "5"), "6", "", "6"),  # the block we began at is enough to go on
    ],
)
def test_the_walk_finds_what_to_take_back_and_what_to_add(
    known: tuple[str, str], head: str, undo: str, apply: str
) -> None:
    assert names(Node(head).look(Ring(branch(*known), whole=False))) == (undo, apply)


def test_every_new_block_comes_with_its_logs() -> None:
    verdict = Node("7").look(Ring(branch("2", "5")))
    assert isinstance(verdict, Plan)
    assert verdict.apply == tuple((each, (log_of(each),)) for each in branch("6", "7"))


def test_a_head_that_we_know_costs_one_question() -> None:
    node = Node("5")
    assert node.look(Ring(branch("2", "5"))) == Unchanged()
    assert node.asked == [Latest()]


def test_the_first_look_begins_at_the_head_and_reads_nothing_from_it() -> None:
    node = Node("5")
    assert node.look(Ring()) == Plan(undo=(), apply=((block("5"), ()),))
    assert node.asked == [Latest()]


def test_a_new_block_is_asked_for_by_hash_and_each_once() -> None:
    node = Node("8")
    node.look(Ring(branch("2", "5")))
    assert node.asked == [Latest(), ByHash("0x7"), ByHash("0x6"), Contents(branch("6", "8"))]


@pytest.mark.parametrize(
    "lacks",
    [
        {"8": gone},  # no head
        {"7": gone},  # a parent that the node dropped meanwhile
        {"7": Block(9, "0x7", "0x6", 0)},  # the right hash with a wrong number
        {"7": Block(7, "0x7", "0x5", 0)},  # a block whose number does not fit where it joins
        {"contents": gone},  # the contents of a block cannot be had
    ],
)
def test_an_answer_that_is_missing_or_contradictory_abandons_the_attempt(lacks: dict[str, Answer]) -> None:
    assert isinstance(Node("8", lacks=lacks).look(Ring(branch("2", "5"))), Abandon)


def test_a_head_below_the_tip_is_believed_once_it_persists() -> None:
    ring = Ring(branch("2", "7"), whole=False)
    assert [type(Node("5").look(ring, doubts=doubts)) for doubts in range(3)] == [Doubt] * 3
    assert names(Node("5").look(ring, doubts=3)) == ("7 6", "")


def test_a_lower_head_on_another_fork_is_believed_once_it_persists() -> None:
    ring = Ring(branch("2", "8"), whole=False)
    assert isinstance(Node("5b").look(ring), Doubt)
    assert names(Node("5b").look(ring, doubts=3)) == ("8 7 6 5 4 3", "3b 4b 5b")


def test_a_fork_older_than_we_remember_halts_the_chain() -> None:
    ring = Ring(branch("4", "5"), whole=False)
    assert isinstance(Node("6b").look(ring), Doubt)
    assert isinstance(Node("6b").look(ring, doubts=3), Halt)


def test_a_fork_below_where_we_began_takes_everything_back() -> None:
    ring = Ring(branch("4", "5"))
    assert isinstance(Node("6b").look(ring), Doubt)
    assert names(Node("6b").look(ring, doubts=3)) == ("5 4", "4b 5b 6b")


def test_a_chain_cut_below_where_we_began_begins_anew() -> None:
    ring = Ring(branch("4", "7"))
    verdict = Node("2").look(ring, doubts=3)
    assert verdict == Plan(undo=tuple(reversed(ring.blocks)), apply=((block("2"), ()),))


def test_another_chain_altogether_is_walked_no_further_than_we_remember() -> None:
    node = Node("5d")
    assert isinstance(node.look(Ring(branch("3", "4"), whole=False), doubts=3), Halt)
    assert node.asked == [Latest(), ByHash("0x4d"), ByHash("0x3d"), Elsewhere(3)]


def test_a_long_way_to_the_head_is_gone_in_stretches() -> None:
    verdict = Node("9").look(Ring(branch("1", "2")), span=3)
    assert names(verdict) == ("", "3 4 5")
    assert isinstance(verdict, Plan)
    assert verdict.more
    assert names(Node("9").look(Ring(branch("4", "7")), span=3)) == ("", "8 9")


# What a second provider changes.


class Two(Node):
    """A node, and a second one beside it."""

    def __init__(self, head: str, other: str | None, *, lacks: Mapping[str, Answer] | None = None) -> None:
        super().__init__(head, lacks=lacks)
        self.other = None if other is None else Node(other)

    def answer(self, ask: Ask) -> Answer:
        if not isinstance(ask, Elsewhere) or self.other is None:
            return super().answer(ask)
        self.asked.append(ask)
        found = self.other.head if ask.number is None else self.other.canonical.get(ask.number)
        return Others(() if found is None else (found,))


def test_a_head_that_went_back_is_believed_at_once_when_a_second_provider_agrees() -> None:
    assert names(Two("5", "5").look(Ring(branch("2", "7"), whole=False))) == ("7 6", "")


def test_a_head_that_went_back_is_no_news_when_a_second_provider_is_further() -> None:
    ring = Ring(branch("2", "7"), whole=False)
    assert Two("5", "7").look(ring) == Unchanged()
    assert names(Two("5", "9").look(ring)) == ("", "8 9")


def test_two_providers_that_are_behind_in_different_places_settle_nothing() -> None:
    assert isinstance(Two("5", "6").look(Ring(branch("2", "7"), whole=False)), Doubt)


def final(ring: Ring, number: int) -> Ring:
    return Ring(ring.blocks, ring.whole, Final(number, f"0x{number}"))


def test_a_fork_below_what_was_final_has_to_persist_where_there_is_one_provider() -> None:
    ring = final(Ring(branch("2", "5")), 3)
    assert isinstance(Node("6b").look(ring), Doubt)
    assert isinstance(Node("6b").look(ring, doubts=3), Halt)
    assert names(Node("6b").look(final(ring, 2))) == ("5 4 3", "3b 4b 5b 6b")


def test_a_fork_below_what_was_final_halts_at_once_when_a_second_provider_has_it_too() -> None:
    assert isinstance(Two("6b", "6b").look(final(Ring(branch("2", "5")), 3)), Halt)


def test_a_fork_below_what_was_final_is_a_lie_when_a_second_provider_contradicts() -> None:
    verdict = Two("6b", "6").look(final(Ring(branch("2", "5")), 3), doubts=3)
    assert isinstance(verdict, Abandon)
    assert verdict.is_lie


def test_a_rollback_below_what_was_final_halts_too() -> None:
    ring = final(Ring(branch("2", "7"), whole=False), 6)
    assert isinstance(Node("5").look(ring, doubts=3), Halt)


def test_the_final_block_is_compared_where_it_is_older_than_all_that_is_remembered() -> None:
    ring = Ring(branch("4", "5"), final=Final(3, "0x3"))
    assert isinstance(Node("6b").look(ring, doubts=3), Halt)
    assert names(Node("6b").look(Ring(branch("4", "5"), final=Final(2, "0x2")), doubts=3)) == ("5 4", "4b 5b 6b")


# Two-provider agreement.


def agreed(node: Node, ring: Ring) -> Verdict:
    following = follow(ring, 0, span_blocks_max=64, doubts_max=3, agreement=True)
    try:
        ask = next(following)
        while True:
            ask = following.send(node.answer(ask))
    except StopIteration as done:
        return done.value


def test_a_head_that_both_have_is_followed_for_one_more_question() -> None:
    node = Two("6", "6")
    assert names(agreed(node, Ring(branch("2", "5")))) == ("", "6")
    assert node.asked == [Latest(), Elsewhere(), Contents((block("6"),))]


def test_a_second_provider_that_is_further_is_asked_at_the_same_height() -> None:
    assert names(agreed(Two("6", "8"), Ring(branch("2", "5")))) == ("", "6")


def test_a_second_provider_that_is_behind_confirms_what_it_has() -> None:
    assert names(agreed(Two("8", "6"), Ring(branch("2", "5")))) == ("", "6")
    assert agreed(Two("8", "5"), Ring(branch("2", "5"))) == Unchanged()
    assert agreed(Two("8", "4"), Ring(branch("2", "5"))) == Unchanged()


@pytest.mark.parametrize("other", [None, "6b"])
def test_what_nobody_else_confirms_is_not_followed(other: str | None) -> None:
    assert isinstance(agreed(Two("6", other), Ring(branch("2", "5"))), Abandon)
    assert isinstance(agreed(Two("6", other), Ring()), Abandon)


class Three(Two):
    """A node, and two more that have the same head."""

    def answer(self, ask: Ask) -> Answer:
        answer = super().answer(ask)
        return Others(answer.blocks * 2) if isinstance(answer, Others) else answer


@pytest.mark.parametrize(("head", "others"), [("6b", "6"), ("6b", "8"), ("6b", "5")])
def test_whom_two_others_contradict_with_one_voice_is_asked_no_more(head: str, others: str) -> None:
    verdict = agreed(Three(head, others), Ring(branch("2", "4"), whole=False))
    assert isinstance(verdict, Abandon)
    assert verdict.is_lie
    verdict = agreed(Two(head, others), Ring(branch("2", "4"), whole=False))
    assert isinstance(verdict, Abandon)
    assert not verdict.is_lie


def test_who_is_further_and_alone_with_it_is_not_followed_because_the_other_one_lags() -> None:
    ring = Ring(branch("2", "7"), whole=False)
    assert agreed(Two("6", "9"), ring) == Unchanged()
    assert names(agreed(Three("6", "9"), ring)) == ("", "8 9")


def test_a_head_that_we_know_is_not_confirmed_again() -> None:
    node = Two("5", "5")
    assert agreed(node, Ring(branch("2", "5"))) == Unchanged()
    assert node.asked == [Latest()]
