"""Whatever a chain does, the ring ends where the node is, and what was added can be taken back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.watchers.follower import (
    Answer,
    Block,
    ByHash,
    ByNumber,
    Contents,
    Elsewhere,
    Latest,
    Missing,
    Others,
    Plan,
    Ring,
    extend,
    follow,
    rewind,
)


def chains(first: int = 0, *, blocks_max: int = 12) -> st.SearchStrategy[tuple[Block, ...]]:
    """Chains from one height on; a salt for each block decides whether two of them share it."""
    salts = st.lists(st.sampled_from("aab"), min_size=1, max_size=blocks_max)
    return salts.map(lambda each: chain(first, each))


def chain(first: int, salts: list[str]) -> tuple[Block, ...]:
    path = ["root"]
    for salt in salts:
        path.append(path[-1] + salt)
    return tuple(Block(first + n, path[n + 1], path[n], 0) for n in range(len(salts)))


def look(ring: Ring, node: tuple[Block, ...], span: int) -> Plan | None:
    """One look that believes what it sees, at a node that answers truly."""
    following = follow(ring, 3, span_blocks_max=span, doubts_max=3)
    by_hash = {block.hash: block for block in node}
    answer: Answer = Missing("")
    try:
        ask = next(following)
        while True:
            match ask:
                case Latest():
                    answer = node[-1]
                case ByNumber(number):
                    answer = {block.number: block for block in node}.get(number, Missing(""))
                case ByHash(wanted):
                    answer = by_hash.get(wanted, Missing(""))
                case Contents(blocks):
                    answer = tuple(() for _ in blocks)
                case Elsewhere():
                    answer = Others()
            ask = following.send(answer)
    except StopIteration as done:
        return done.value if isinstance(done.value, Plan) else None


@given(chains(), st.data())
def test_rewinding_what_was_added_gives_the_ring_back(before: tuple[Block, ...], data: st.DataObject) -> None:
    ring = Ring(before)
    salts = data.draw(st.lists(st.sampled_from("ab"), max_size=8))
    added = chain(0, [*before[-1].hash.removeprefix("root"), *salts])[len(before) :]
    longer = extend(ring, added, blocks_max=1_000)
    assert rewind(longer, tuple(reversed(added))) == ring


@given(st.lists(chains(), min_size=1, max_size=8), st.integers(min_value=1, max_value=20))
def test_the_ring_ends_equal_to_the_chain_of_the_node(history: list[tuple[Block, ...]], span: int) -> None:
    ring = Ring()
    for node in history:
        while (plan := look(ring, node, span)) is not None and (plan.undo or plan.apply):
            kept = rewind(ring, plan.undo)
            ring = extend(kept, [block for block, _ in plan.apply], blocks_max=1_000)
            if kept.blocks and plan.apply:
                assert plan.apply[0][0].parent == kept.tip.hash
        assert ring.tip == node[-1]
        assert node[-len(ring.blocks) :] == ring.blocks


@given(chains(), st.integers(min_value=1, max_value=5))
def test_a_ring_is_never_longer_than_it_may_be(blocks: tuple[Block, ...], blocks_max: int) -> None:
    ring = extend(Ring(), blocks, blocks_max=blocks_max)
    assert ring.blocks == blocks[-blocks_max:]
    assert ring.whole == (len(blocks) <= blocks_max)
