"""The providers of a chain, asked as if they were one: whoever fares best answers, and the next one where it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.kit import limits
from app.kit.clock import Clock
from app.kit.telemetry import metrics
from app.watchers.blocks import Needs
from app.watchers.evidence import Capability, Verified, resumed
from app.watchers.finality import Heads, Levels, Origin, by_depth, by_tags
from app.watchers.follower import (
    NOTHING,
    Abandon,
    Answer,
    Ask,
    Asking,
    Block,
    ByNumber,
    Elsewhere,
    Latest,
    Missing,
    Others,
    Plan,
    Ring,
    Verdict,
    follow,
)
from app.watchers.health import failed, in_order, is_left_alone, served, state_of
from app.watchers.jsonrpc import Rpc
from app.watchers.ranges import Reach
from app.watchers.rpc import Node


@dataclass(frozen=True, slots=True)
class Rules:
    """How a chain is followed."""

    poll_seconds: float = 1.0
    by_tags: bool = True
    final_depth: int = 64
    ring_blocks_max: int = limits.chain_ring_blocks_max
    agreement: bool = False


class Chain:
    """A chain that can be watched: its providers, in the order in which they are preferred."""

    def __init__(self, providers: Sequence[Rpc], rules: Rules, clock: Clock) -> None:
        self.providers = tuple(providers)
        self.rules = rules
        self._clock = clock
        self._surveyed_at = float("-inf")
        self._reach = Reach(limits.chain_span_blocks_max)
        self._announced_in_vain = 0  # heads in a row that nobody knew the way to
        self._knows_tags = False
        self._silent_since: float | None = None

    @property
    def capability(self) -> Capability:
        """What the answers of all providers have to show."""
        return self.providers[0].capability

    def resume(self, kept: Capability | None) -> None:
        """Hold the providers to what was kept of what they, or others, have shown before."""
        self.providers[0].capability = resumed(self.capability, kept)

    def demanded(self, kept: Capability | None) -> Verified:
        """What each block has to show, given what was kept of what they have shown."""
        return resumed(self.capability, kept).demanded

    async def follow(self, ring: Ring, doubts: int, needs: Needs = NOTHING) -> Found:
        """What to do about the chain, after `doubts` looks in a row that ended in doubt. Ends within a bound."""
        nodes = Nodes(
            self.providers,
            self._clock.monotonic(),
            self._clock.wall().timestamp(),
            with_tags=self.rules.by_tags,
            survey=self._is_due(ring),
        )
        asking = follow(
            ring,
            doubts,
            span_blocks_max=self._reach.blocks,
            doubts_max=limits.chain_doubts_max,
            agreement=self.rules.agreement,
            needs=needs,
        )
        try:
            async with asyncio.timeout(limits.look_timeout_seconds):
                verdict = await _driven(asking, nodes)
                if self.rules.agreement:
                    await nodes.agree_on_what_is_final(moved=isinstance(verdict, Plan))
        except TimeoutError:
            nodes.blame_who_is_asked(Missing(f"it took longer than {limits.look_timeout_seconds} s", "timeout"))
            verdict = Abandon(f"the node took longer than {limits.look_timeout_seconds} s")
        if isinstance(verdict, Abandon) and verdict.is_lie:
            nodes.blame_who_announced(Missing(verdict.reason, "wrong"))
        self._learn(verdict, nodes)
        nodes.conclude()
        return Found(nodes.calls, verdict, nodes.head, nodes.levels, nodes.names_final)

    def heads(self, ring: Ring, found: Found, before: Origin | None = None) -> Heads:
        """How far the chain is final, that stands at the tip of the ring; `before`: by what it was final so far."""
        levels, depth = found.levels, self.rules.final_depth
        # What is final is never taken back: one provider without tags is no reason to count blocks on this chain.
        self._knows_tags = self._knows_tags or found.names_final or before == "tags"
        if not self.rules.by_tags or (not self._knows_tags and (levels is None or self._has_been_silent())):
            heads = by_depth(ring, depth)
            return replace(heads, by="depth" if heads.final else None)
        heads = by_tags(ring, levels if levels is not None and _is_ahead_or_of(ring, found.head) else Levels())
        if self._knows_tags:
            return replace(heads, by="tags" if heads.final else None)
        hours = limits.final_silent_seconds_max / 3_600
        lacking = f"no provider names a final block; after {hours:g} h of that, one is final with {depth} blocks on top"
        return replace(heads, by=before, lacking=lacking)

    def _has_been_silent(self) -> bool:
        """Whether no provider has named a final block for so long that none will, as far as this process knows."""
        now = self._clock.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        return now - self._silent_since >= limits.final_silent_seconds_max

    def in_turn(self, turn: int) -> Rpc:
        """Whom to ask this time about the past: each time another one of those that are not left alone."""
        able = in_order([rpc.health for rpc in self.providers], self._clock.monotonic())
        return self.providers[able[turn % len(able)]]

    async def has_confirmed(self, by: Rpc, blocks: Mapping[int, str], asked: list[Node]) -> bool:
        """Whether a second provider holds each of these blocks to be canonical, too, that one has answered with.

        Those who are asked are added to `asked`.
        """
        able = in_order([rpc.health for rpc in self.providers], self._clock.monotonic())
        others = [Node(self.providers[place]) for place in able if self.providers[place] is not by]
        asked += others
        witnesses = [node for node in others[: limits.provider_witnesses_max] if await node.of_another_chain() is None]
        for number, block_hash in blocks.items():
            answers = await asyncio.gather(*(node.answer(ByNumber(number)) for node in witnesses))
            if not any(isinstance(each, Block) and each.hash == block_hash for each in answers):
                return False
        return True

    def shown(self) -> list[dict[str, Any]]:
        """How each provider fares."""
        now = self._clock.monotonic()
        return [
            {
                "name": rpc.name,
                "state": state_of(rpc.health, now),
                "head": rpc.health.head,
                "behind_seconds": rpc.health.behind_seconds,
                "call_ms": None if rpc.health.seconds is None else round(rpc.health.seconds * 1000),
                "last_error": rpc.health.error,
            }
            for rpc in self.providers
        ]

    def _learn(self, verdict: Verdict, nodes: Nodes) -> None:
        """What this look says about the next: how far it may go at once, and whom it begins with."""
        if not isinstance(verdict, Abandon):
            self._reach = Reach(min(self._reach.after_answer().blocks, limits.chain_span_blocks_max))
            self._announced_in_vain = 0
            return
        # Nothing of an abandoned look is kept. A provider that gives too little for so much may give enough for less.
        self._reach = self._reach.after_refusal(self._reach.blocks, "")
        self._announced_in_vain = self._announced_in_vain + 1 if nodes.announced_in_vain else 0
        if self._announced_in_vain > limits.chain_doubts_max and len(self.providers) > 1:
            nodes.blame_who_announced(Missing("nobody knows what leads to the heads that it announces", "wrong"))

    def _is_due(self, ring: Ring) -> bool:
        """Whether to compare the heads of all providers: one that stands still would not be noticed otherwise."""
        now = self._clock.monotonic()
        if len(self.providers) < 2 or now - self._surveyed_at < limits.provider_survey_seconds:
            return False
        self._surveyed_at = now
        return True


@dataclass(frozen=True, slots=True)
class Found:
    """What a look found out: the calls that it cost, what to do, and what the node says is final."""

    calls: int
    verdict: Verdict
    head: Block | None = None
    levels: Levels | None = None
    names_final: bool = False
    """Whether a provider named a final block, believed or not."""


class Nodes:
    """Answers what a follower asks, for one look. One provider answers it all, unless it fails: then the next one does.

    What one provider said of a block stays known when another one goes on, and is checked against what that one says.
    """

    def __init__(
        self, providers: Sequence[Rpc], now: float, wall: float, *, with_tags: bool = True, survey: bool = False
    ) -> None:
        self._providers = providers
        self._now = now
        self._wall = wall
        self._order = [providers[place] for place in in_order([each.health for each in providers], now)]
        self._with_tags = with_tags
        self._survey = survey
        blocks: dict[str, Block] = {}
        self._nodes: Mapping[Rpc, Node] = {rpc: Node(rpc, blocks) for rpc in providers}
        self._asked: set[Rpc] = set()
        self._failed: dict[Rpc, Missing] = {}
        self._announcer: Rpc | None = None
        self.head: Block | None = None
        self.levels: Levels | None = None
        self.names_final = False

    @property
    def calls(self) -> int:
        """Made so far, to all of them."""
        return sum(node.calls for node in self._nodes.values())

    async def answer(self, ask: Ask) -> Answer:
        """The answer, or why there is none. Never raises for a node's sake."""
        if isinstance(ask, Elsewhere):
            return await self._elsewhere(ask)
        if isinstance(ask, Latest) and self._survey:
            await self._compare()
        # A survey may have met all of them already.
        missing = next(reversed(self._failed.values()), Missing("no provider is left to ask"))
        while (rpc := self._current()) is not None:
            answer = await self._of(rpc, ask)
            if not isinstance(answer, Missing):
                return answer
            missing = answer
            self._failed[rpc] = answer
        return missing

    def blame_who_is_asked(self, failure: Missing) -> None:
        """Take what went wrong for a failure of the provider that answers at present."""
        rpc = self._current()
        if rpc is not None:
            self._failed[rpc] = failure

    @property
    def announced_in_vain(self) -> bool:
        """Whether the provider that announced the head did not know itself what was asked about it."""
        failure = None if self._announcer is None else self._failed.get(self._announcer)
        return failure is not None and failure.cause == "unknown"

    def blame_who_announced(self, failure: Missing) -> None:
        """Take what is wrong with the head for a failure of the provider that announced it."""
        if self._announcer is not None:
            self._failed[self._announcer] = failure

    async def agree_on_what_is_final(self, *, moved: bool) -> None:
        """Take for final only what a second provider takes for it, too: it is asked where the chain moved."""
        if self.levels is None or self.levels.finalized is None:
            return
        said, self.levels = self.levels.finalized, replace(self.levels, finalized=None)
        others = [rpc for rpc in self._order if rpc is not self._announcer and self._may_witness(rpc)] if moved else []
        for rpc in others[: limits.provider_witnesses_max]:
            found = await self._is_stranger(rpc) or await self._nodes[rpc].head(with_tags=True)
            if isinstance(found, Missing):
                self._failed[rpc] = found
            elif found[1] is not None and found[1].finalized is not None:
                lower = min(said, found[1].finalized, key=lambda each: each.number)
                self.levels = replace(self.levels, finalized=lower)
                return

    def conclude(self) -> None:
        """Remember how each provider fared in this look."""
        for rpc in self._asked:
            failure = self._failed.get(rpc)
            if failure is None:
                rpc.health = served(rpc.health)
            elif failure.cause != "unknown":
                # Not to know a block is no failure: it may have gone since, or not have arrived yet.
                rpc.health = failed(rpc.health, failure.cause, failure.reason, self._now, failure.again_seconds)
                metrics.provider_failures.labels(rpc.chain, rpc.name, failure.cause).inc()
        for rpc in self._providers:
            metrics.provider_up.labels(rpc.chain, rpc.name).set(not is_left_alone(rpc.health, self._now))
            metrics.provider_behind_seconds.labels(rpc.chain, rpc.name).set(rpc.health.behind_seconds)
            if rpc.health.seconds is not None:
                metrics.provider_call_seconds.labels(rpc.chain, rpc.name).set(rpc.health.seconds)

    def _current(self) -> Rpc | None:
        return next((rpc for rpc in self._order if rpc not in self._failed), None)

    async def _of(self, rpc: Rpc, ask: Ask) -> Answer:
        """What one provider answers."""
        stranger = await self._is_stranger(rpc)
        if stranger is not None:
            return stranger
        if not isinstance(ask, Latest):
            return await self._nodes[rpc].answer(ask)
        found = await self._nodes[rpc].head(with_tags=self._with_tags)
        if isinstance(found, Missing):
            # Every node knows a head; one that has none is no use.
            return replace(found, cause="garbage") if found.cause == "unknown" else found
        self._announcer = rpc
        self.head, self.levels = found
        self.names_final = self.names_final or (self.levels is not None and self.levels.finalized is not None)
        return _noted(rpc, self.head)

    async def _is_stranger(self, rpc: Rpc) -> Missing | None:
        """Why this is no provider of the chain; asked the first time that it is of use."""
        self._asked.add(rpc)
        return await self._nodes[rpc].of_another_chain()

    async def _elsewhere(self, ask: Elsewhere) -> Others:
        """What other providers answer, of those that may be asked."""
        current = self._current()
        witnesses = [rpc for rpc in self._order if rpc is not current and self._may_witness(rpc)]
        question: Ask = Latest() if ask.number is None else ByNumber(ask.number)
        answers = await asyncio.gather(
            *(self._witnessed(rpc, question) for rpc in witnesses[: limits.provider_witnesses_max])
        )
        return Others(tuple(each for each in answers if isinstance(each, Block)))

    def _may_witness(self, rpc: Rpc) -> bool:
        failure = self._failed.get(rpc)
        return not is_left_alone(rpc.health, self._now) and (failure is None or failure.cause == "unknown")

    async def _witnessed(self, rpc: Rpc, question: Ask) -> Answer:
        answer = await self._is_stranger(rpc) or await self._nodes[rpc].answer(question)
        if isinstance(answer, Missing) and answer.cause != "unknown":
            self._failed[rpc] = answer
        return _noted(rpc, answer) if isinstance(question, Latest) else answer

    async def _compare(self) -> None:
        """Read all heads at the same time: who lags behind is asked later, from now on."""
        able = [rpc for rpc in self._order if not is_left_alone(rpc.health, self._now)]
        answers = await asyncio.gather(*(self._witnessed(rpc, Latest()) for rpc in able))
        heads = {rpc: answer for rpc, answer in zip(able, answers, strict=True) if isinstance(answer, Block)}
        # No block is from the future: whoever says so would make all others late, and be asked before them.
        newest = min(max((head.timestamp for head in heads.values()), default=0), self._wall)
        for rpc, head in heads.items():
            rpc.health = replace(rpc.health, behind_seconds=max(0.0, newest - head.timestamp))
        places = in_order([rpc.health for rpc in self._order], self._now)
        self._order = [self._order[place] for place in places]


def _is_ahead_or_of(ring: Ring, head: Block | None) -> bool:
    """Whether what a node says of its head holds for the blocks that we have: it is one of them, or they lead to it.

    Another provider may have been followed, because this one lagged behind on a fork of its own.
    """
    return head is not None and (head.number > ring.tip.number or ring.after(head.hash) is not None)


def _noted(rpc: Rpc, answer: Answer) -> Answer:
    if isinstance(answer, Block):
        rpc.health = replace(rpc.health, head=answer.number)
    return answer


async def _driven(asking: Asking, nodes: Nodes) -> Verdict:
    try:
        ask = next(asking)
        while True:
            ask = asking.send(await nodes.answer(ask))
    except StopIteration as done:
        verdict: Verdict = done.value
        return verdict
