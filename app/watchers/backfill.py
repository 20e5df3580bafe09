"""Reading the past: which final blocks hold something is asked by ranges, and then each of them is read whole.

So an event of the past has the id, the payload and the checks that it would have had live. What a node leaves out of a
range is not noticed, as nothing ties a range to a header; that it knows the range at all is made sure of. Where blocks
themselves are wanted, their numbers say which.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

from app.kit import limits, telemetry
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.telemetry import metrics
from app.kit.wake import Wake
from app.subscriptions.feed_store import Behind
from app.subscriptions.matching import LogFilter, Matcher
from app.subscriptions.service import Subscriptions
from app.subscriptions.telling import Seen
from app.watchers import store
from app.watchers.blocks import Extra
from app.watchers.finding import Contents as Whole
from app.watchers.finding import Filters, found_in
from app.watchers.follower import Answer, Block, ByNumber, Contents, Extras, Missing, More
from app.watchers.jsonrpc import Refused, Result
from app.watchers.pace import again_after
from app.watchers.providers import Chain
from app.watchers.ranges import Reach
from app.watchers.rpc import Node
from app.watchers.wanted import Wanted, wanted_of

__all__ = ["Backfilling"]

log = telemetry.logger(__name__)

_QUANTITY = re.compile(r"0x[0-9a-f]{1,15}")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Blocks that are read next, all of them final."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Found:
    """What there was, up to a block; and how far the next question may reach."""

    seen: Sequence[Seen]
    through: int
    reach: Reach


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing is known yet of these blocks."""

    reason: str
    reach: Reach


class Backfilling:
    """Lets feeds catch up with their sources."""

    def __init__(
        self,
        transaction: Transaction,
        clock: Clock,
        wake: Wake,
        subscriptions: Subscriptions,
        chains: Mapping[str, Chain],
        blocks_max: int,
    ) -> None:
        self._transaction = transaction
        self._clock = clock
        self._wake = wake
        self._subscriptions = subscriptions
        self._chains = chains
        self._blocks_max = blocks_max

    async def backfill_next(self) -> int:
        """Read a stretch of the past for a feed that has to catch up. Returns 1; 0 when none has to."""
        async with self._transaction() as db:
            now = await self._clock.now(db)
            behind = await self._subscriptions.take_behind(db, now)
            learned = None if behind is None else await store.learned(db, behind.source.params["chain"])
        if behind is None:
            return 0
        position = behind.source.position
        chain = self._chains.get(behind.source.params["chain"])
        if position is None or chain is None:
            await self._conclude(behind, [], "the chain has not been looked at yet", limits.backfill_wait_seconds)
            return 1
        chain.resume(learned)
        # Where live begins is free to choose, once: what was seen of blocks up to there is passed over.
        catching = behind.catching
        first = catching.next_block
        if catching.until_block is None:
            catching.until_block = position["number"]
            first = max(first, position["number"] - self._blocks_max)
            if first > catching.next_block:
                # How far back it goes was not known when somebody asked for this: say where it begins instead.
                async with self._transaction() as db:
                    await self._subscriptions.begin_later(db, behind.feed.id, first)
        await self._read(behind, chain, Stretch(first, _last(behind, first)))
        return 1

    async def _read(self, behind: Behind, chain: Chain, stretch: Stretch) -> None:
        """Read a stretch, if there is one yet, and write down what came of it. No transaction is open meanwhile."""
        catching = behind.catching
        assert catching.until_block is not None
        catching.next_block = stretch.first
        if stretch.last < stretch.first:
            is_done = stretch.first > catching.until_block
            await self._conclude(behind, [], None, None if is_done else limits.backfill_wait_seconds)
            return
        reach, asked = Reach(catching.reach_blocks), list[Node]()
        try:
            async with asyncio.timeout(limits.look_timeout_seconds):
                outcome = await _believed(chain, behind, stretch, reach, asked)
        except TimeoutError:
            blocks = stretch.last - stretch.first + 1
            outcome = Failed("the node took too long", reach.after_refusal(blocks, ""))
        # By itself: those who look at the source lock watchers and feeds in another order than we would.
        async with self._transaction() as db:
            await store.count_calls(db, behind.source.id, sum(node.calls for node in asked))
        catching.reach_blocks = outcome.reach.blocks
        if isinstance(outcome, Failed):
            log.warning("past blocks could not be read", feed=behind.feed.id, reason=outcome.reason)
            seconds = again_after(1, catching.failures, seconds_max=limits.chain_again_seconds_max)
            catching.failures += 1
            await self._conclude(behind, [], outcome.reason, seconds)
            return
        catching.failures = 0
        catching.next_block = outcome.through + 1
        is_done = outcome.through >= catching.until_block
        await self._conclude(behind, outcome.seen, None, None if is_done else 0)

    async def _conclude(
        self, behind: Behind, seen: Sequence[Seen], error: str | None, again_seconds: float | None
    ) -> None:
        behind.catching.last_error = error
        async with self._transaction() as db:
            now = await self._clock.now(db)
            again_at = None if again_seconds is None else now + timedelta(seconds=again_seconds)
            is_ours = await self._subscriptions.tell_past(db, behind.catching, seen, again_at)
        if is_ours and (seen or again_at is None):
            self._wake.ring("subscriptions")


def _last(behind: Behind, first: int) -> int:
    """The last block to be read next: not beyond what is final, nor where live begins."""
    position: Mapping[str, Any] = behind.source.position or {}
    finalized: int | None = position.get("finalized")
    head: int = position["number"]
    final = head - limits.backfill_depth_blocks if finalized is None else finalized
    assert behind.catching.until_block is not None
    return min(first + behind.catching.reach_blocks - 1, final, behind.catching.until_block)


async def _believed(chain: Chain, behind: Behind, stretch: Stretch, reach: Reach, asked: list[Node]) -> Found | Failed:
    """Everything in a stretch, by a provider of this chain; with agreement, only what a second one confirms.

    All who are asked are added to `asked`.
    """
    rpc = chain.in_turn(behind.catching.failures)
    node = Node(rpc)
    asked.append(node)
    stranger = await node.of_another_chain()
    if stranger is not None:
        return Failed(stranger.reason, reach)
    found = await _found(node, behind, stretch, reach)
    if isinstance(found, Failed) or not chain.rules.agreement:
        return found
    # Where nothing was found there is the last block, at least, to tell one fork from another.
    last = await node.answer(ByNumber(found.through))
    if not isinstance(last, Block):
        return Failed(f"block {found.through} cannot be had again", reach)
    blocks = {last.number: last.hash}
    for each in found.seen:
        assert each.block_number is not None
        assert each.block_hash is not None
        blocks[each.block_number] = each.block_hash
    if not await chain.has_confirmed(rpc, blocks, asked):
        return Failed(f"no second provider confirms the blocks from {stretch.first} to {found.through}", reach)
    return found


async def _found(node: Node, behind: Behind, stretch: Stretch, reach: Reach) -> Found | Failed:
    """Everything in a stretch that passes the filter."""
    # A node that is behind answers with what it has, as if that were all: so it has to know the last block.
    guard = await node.answer(ByNumber(stretch.last))
    if isinstance(guard, Missing):
        return Failed(guard.reason, reach)
    wanted = wanted_of(behind.filter_id, behind.source.params, behind.spec)
    numbers = await _holding(node, wanted, stretch, reach)
    if isinstance(numbers, Failed):
        return numbers
    now, later = numbers[: limits.backfill_hits_max], numbers[limits.backfill_hits_max :]
    at_once = asyncio.Semaphore(limits.rpc_calls_at_once)

    async def one(number: int) -> Sequence[Seen] | Missing:
        async with at_once:
            return await _in_block(node, behind.source.params["chain"], number, wanted)

    seen = list[Seen]()
    for found in await asyncio.gather(*(one(number) for number in now)):
        if isinstance(found, Missing):
            return Failed(found.reason, reach)
        seen += found
    through = later[0] - 1 if later else stretch.last
    return Found(seen, through, reach.after_answer() if not later else reach)


async def _holding(node: Node, wanted: Wanted, stretch: Stretch, reach: Reach) -> list[int] | Failed:
    """The blocks of a stretch that may hold something of what is wanted, in order."""
    if wanted.every is not None:
        return list(range(-(-stretch.first // wanted.every) * wanted.every, stretch.last + 1, wanted.every))
    numbers = set[int]()
    for shape in _asked(wanted):
        outcome = await node.call("eth_getLogs", _query(shape, stretch))
        if not isinstance(outcome, Result):
            text = outcome.said if isinstance(outcome, Refused) else ""
            return Failed(outcome.reason, reach.after_refusal(stretch.last - stretch.first + 1, text))
        found = _numbers(outcome.value, stretch)
        if isinstance(found, Failed):
            return replace(found, reach=reach)
        numbers |= found
    return sorted(numbers)


async def _in_block(node: Node, chain: str, number: int, wanted: Wanted) -> Sequence[Seen] | Missing:
    """What is wanted of one block, which is read as far as that takes."""
    filters = Filters([wanted])
    block = await node.answer(ByNumber(number))
    if not isinstance(block, Block):
        return _missing(block)
    # Of a block itself its header says all.
    contents = ((),) if wanted.every is not None else await node.answer(Contents((block,)))
    if not isinstance(contents, tuple):
        return _missing(contents)
    said = Matcher({wanted.id: _asked(wanted)})
    if wanted.every is None and not any(said.match(log) for log in contents[0]):
        return Missing(f"block {number} has nothing of what was said to be in it")
    more = await node.answer(More((block,), filters.needs)) if filters.needs else Extras((Extra(),))
    if not isinstance(more, Extras):
        return _missing(more)
    # No kind that begins in the past looks back on what it observed.
    found = found_in(chain, Whole(block, contents[0], more.of_blocks[0]), filters, {}, ring_blocks=0)
    metrics.conditions_unknown.labels(chain).inc(found.unknown)
    return found.seen


def _missing(answer: Answer) -> Missing:
    assert isinstance(answer, Missing), answer
    return answer


def _asked(wanted: Wanted) -> Sequence[LogFilter]:
    """The filters as nodes are asked: not all of them count positions that allow anything, so those at the end go."""
    return [LogFilter(shape.addresses, _without_the_end(shape.topics)) for shape in wanted.shapes]


def _without_the_end(topics: tuple[tuple[str, ...] | None, ...]) -> tuple[tuple[str, ...] | None, ...]:
    while topics and topics[-1] is None:
        topics = topics[:-1]
    return topics


def _query(shape: LogFilter, stretch: Stretch) -> dict[str, object]:
    query: dict[str, object] = {"fromBlock": hex(stretch.first), "toBlock": hex(stretch.last)}
    if shape.addresses is not None:
        query["address"] = shape.addresses
    if shape.topics:
        query["topics"] = shape.topics
    return query


def _numbers(answer: object, stretch: Stretch) -> set[int] | Failed:
    """The blocks that hold something. What a reorganisation removed does not count."""
    if not isinstance(answer, list):
        return Failed("eth_getLogs: the answer is no list", Reach(1))
    numbers = set[int]()
    for each in cast(list[object], answer):
        fields = cast(Mapping[str, object], each if isinstance(each, dict) else {})
        text = fields.get("blockNumber")
        if fields.get("removed") is True:
            continue
        if not isinstance(text, str) or not _QUANTITY.fullmatch(text):
            return Failed("eth_getLogs: a log has no block number", Reach(1))
        numbers.add(int(text, 16))
    if any(not stretch.first <= number <= stretch.last for number in numbers):
        return Failed("eth_getLogs: a log is of another block than was asked for", Reach(1))
    return numbers
