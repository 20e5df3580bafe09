"""Looking at a chain: ask the node, decide, then undo, apply and move on in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from prometheus_client import Counter, Gauge
from sqlalchemy.ext.asyncio import AsyncSession

from app.kit import limits, telemetry
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.subscriptions.models import Source
from app.subscriptions.service import Looked, Subscriptions
from app.subscriptions.telling import Seen, Undone
from app.watchers import store
from app.watchers.blocks import ContractCall, Extra, Needs
from app.watchers.finding import Contents, Filters, Prices, found_in
from app.watchers.follower import (
    Abandon,
    Asking,
    Block,
    Doubt,
    Halt,
    Plan,
    Ring,
    Unchanged,
    Verdict,
    extend,
    follow,
    rewind,
)
from app.watchers.models import Watcher
from app.watchers.pace import again_after
from app.watchers.prices import read, rewound, stored
from app.watchers.rpc import Node, Rpc
from app.watchers.wanted import wanted_of
from tocsin.schemas.subscriptions import BlockPosition

log = telemetry.logger(__name__)

halted = Gauge("tocsin_chain_halted", "1 while a chain is halted: an operator has to look at its node.", ["chain"])

unknown = Counter(
    "tocsin_conditions_unknown", "Conditions that an event did not answer, and that so were not met.", ["chain"]
)


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain that can be watched."""

    rpc: Rpc
    poll_seconds: float


class Chains:
    """The watcher of EVM chains."""

    kind = "evm"

    def __init__(
        self, transaction: Transaction, clock: Clock, subscriptions: Subscriptions, chains: Mapping[str, Chain]
    ) -> None:
        self._transaction = transaction
        self._clock = clock
        self._subscriptions = subscriptions
        self._chains = chains
        # By source, for one version of its filters.
        self._filters: dict[str, tuple[int, Filters]] = {}
        # By source: what calls answered at its tip, so that each is made once a block.
        self._answers: dict[str, Mapping[tuple[str, ContractCall], str]] = {}

    async def look(self, taken: Source) -> bool:
        """Look once at a chain that was taken; whether anything was told of it."""
        async with self._transaction() as db:
            watcher = await store.watcher(db, taken.id)
            starting = taken.state == "starting"
            ring = Ring() if starting else await store.ring(db, taken.id, whole=watcher.whole)
            needs = replace((await self._wanted(db, taken)).needs, known=self._answers.get(taken.id, {}))
        chain = self._chains.get(taken.params["chain"])
        calls, verdict = await _followed(chain, ring, 0 if starting else watcher.doubts, needs)
        # Nothing has changed so far. If we die here, the lease ends and somebody looks again.
        async with self._transaction() as db:
            held = await self._subscriptions.hold(db, taken)
            if held is None:
                return False
            now = await self._clock.now(db)
            if isinstance(verdict, Plan) and not needs.cover((await self._wanted(db, held)).needs):
                # Somebody subscribed meanwhile, and is to be told of these very blocks.
                verdict = Abandon("somebody wants to know more than was asked for")
            if starting and isinstance(verdict, Plan):
                await store.forget(db, held.id)
            told = await self._apply(db, held, ring, verdict, now) if isinstance(verdict, Plan) else 0
            poll_seconds = chain.poll_seconds if chain is not None else limits.look_again_seconds_max
            outcome = outcome_of(verdict, held, watcher, ring, poll_seconds)
            await self._conclude(db, held, outcome, calls, now)
        _report(taken.params["chain"], verdict, told=told, calls=calls)
        return told > 0

    async def _apply(self, db: AsyncSession, held: Source, ring: Ring, plan: Plan, now: datetime) -> int:
        """Take back, then add, and remember the blocks. Returns how much was told."""
        undone = await self._undone(db, held, plan) if plan.undo else []
        filters = await self._wanted(db, held)
        prices = await self._prices(db, held, filters, plan)
        seen = [] if _begins(ring, plan) else self._seen(held, plan, filters, prices)
        await self._subscriptions.tell(db, held, [*undone, *seen], now)
        await store.replace_blocks(db, held.id, ring, _moved(ring, plan))
        await store.keep_prices(db, held.id, {filter_id: stored(each) for filter_id, each in prices.items()})
        self._answers[held.id] = _standing(plan)
        return len(undone) + len(seen)

    def _seen(self, held: Source, plan: Plan, filters: Filters, prices: Prices) -> list[Seen]:
        """What the new blocks hold, in order."""
        chain = held.params["chain"]
        extras = plan.extras or (Extra(),) * len(plan.apply)
        seen: list[Seen] = []
        for (block, logs), extra in zip(plan.apply, extras, strict=True):
            contents = Contents(block, logs, extra)
            found = found_in(chain, contents, filters, prices, ring_blocks=limits.chain_ring_blocks_max)
            unknown.labels(chain).inc(found.unknown)
            seen += found.seen
        return seen

    async def _prices(self, db: AsyncSession, held: Source, filters: Filters, plan: Plan) -> Prices:
        """What was observed on the blocks that stay."""
        if not filters.prices:
            return {}
        kept = await store.selections(db, held.id)
        below = min((block.number for block in plan.undo), default=1 << 62)
        return {filter_id: rewound(read(kept[filter_id]), below) for filter_id in filters.prices if filter_id in kept}

    async def _undone(self, db: AsyncSession, held: Source, plan: Plan) -> list[Undone]:
        """What was told of the blocks that go, newest first, and what stands in their places."""
        numbers = {block.hash: block.number for block in plan.undo}
        replacements = {block.number: block.hash for block, _ in plan.apply}
        standing = await self._subscriptions.standing(db, held.id, numbers)
        return [
            Undone(
                event_id=each.event_id,
                filter_ids=each.filter_ids,
                block_hash=each.block_hash,
                undoes=each.seq,
                body=each.body,
                because={"replaced_by": replacements.get(numbers[each.block_hash or ""])},
            )
            for each in reversed(standing)
        ]

    async def _wanted(self, db: AsyncSession, source: Source) -> Filters:
        """The filters of a source. While it is held, none is added or dropped."""
        version, filters = self._filters.get(source.id, (-1, Filters()))
        if version != source.filters_version:
            ids = await self._subscriptions.wanted_ids(db, source.id)
            for filter_id in filters.by_id.keys() - ids:
                filters.drop(filter_id)
            for each in await self._subscriptions.wanted(db, source.id, ids - filters.by_id.keys()):
                filters.add(wanted_of(each.id, source.params, each.spec))
            await store.drop_prices(db, source.id, filters.prices)
            self._filters[source.id] = source.filters_version, filters
        return filters

    async def _conclude(self, db: AsyncSession, held: Source, outcome: Outcome, calls: int, now: datetime) -> None:
        await store.conclude_look(db, held.id, now=now, calls=calls, error=outcome.error, doubts=outcome.doubts)
        due_at = now + timedelta(seconds=outcome.again_seconds)
        await self._subscriptions.conclude(db, held, Looked(outcome.state, due_at, outcome.reason, outcome.position))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a look leaves behind: where the chain stands, and when to look again."""

    state: str
    again_seconds: float
    position: Mapping[str, object] | None = None
    reason: str | None = None
    error: str | None = None
    doubts: int = 0


def outcome_of(verdict: Verdict, held: Source, watcher: Watcher, ring: Ring, poll_seconds: float) -> Outcome:
    """What this verdict leaves behind, of a chain that stood at the tip of `ring`."""
    rarely_seconds = max(poll_seconds, limits.chain_again_seconds_max)
    match verdict:
        case Unchanged():
            return Outcome("active", poll_seconds, _position(ring.tip))
        case Plan(more=more):
            return Outcome("active", 0 if more else poll_seconds, _position(_moved(ring, verdict).tip))
        case Abandon(error):
            again_seconds = again_after(poll_seconds, watcher.failures, seconds_max=rarely_seconds)
            return Outcome(held.state, again_seconds, None, held.state_reason, error, watcher.doubts)
        case Doubt(error):
            return Outcome(held.state, poll_seconds, None, held.state_reason, error, watcher.doubts + 1)
        case Halt(reason):
            return Outcome("halted", rarely_seconds, None, reason, reason, watcher.doubts)


async def _followed(chain: Chain | None, ring: Ring, doubts: int, needs: Needs) -> tuple[int, Verdict]:
    """The calls that were made, and what to do."""
    if chain is None:
        return 0, Abandon("this chain is no longer in TOCSIN_CHAINS")
    node = Node(chain.rpc)
    asking = follow(
        ring,
        doubts,
        span_blocks_max=limits.chain_span_blocks_max,
        doubts_max=limits.chain_doubts_max,
        needs=needs,
    )
    try:
        async with asyncio.timeout(limits.look_timeout_seconds):
            # Asked once, where we begin: from there on each block is tied to the ones before it.
            stranger = None if ring.blocks else await node.of_another_chain()
            verdict = Abandon(stranger.reason) if stranger else await _driven(asking, node)
    except TimeoutError:
        verdict = Abandon(f"the node took longer than {limits.look_timeout_seconds} s")
    return node.calls, verdict


async def _driven(asking: Asking, node: Node) -> Verdict:
    try:
        ask = next(asking)
        while True:
            ask = asking.send(await node.answer(ask))
    except StopIteration as done:
        verdict: Verdict = done.value
        return verdict


def _moved(ring: Ring, plan: Plan) -> Ring:
    return extend(rewind(ring, plan.undo), [block for block, _ in plan.apply], blocks_max=limits.chain_ring_blocks_max)


def _begins(ring: Ring, plan: Plan) -> bool:
    """Whether this is where we begin: what the block holds happened before anybody asked."""
    return not ring.blocks or any(block.number < ring.oldest.number for block, _ in plan.apply)


def _standing(plan: Plan) -> Mapping[tuple[str, ContractCall], str]:
    """What calls answered at the tip."""
    if not plan.extras:
        return {}
    tip, _ = plan.apply[-1]
    return {(tip.hash, call): now for call, (_, now) in plan.extras[-1].answers.items()}


def _position(block: Block) -> dict[str, object]:
    return BlockPosition(number=block.number, hash=block.hash, timestamp=block.timestamp).model_dump()


def _report(chain: str, verdict: Verdict, **counts: int) -> None:
    """One line for operators, unless nothing happened; a chain that is halted is an alarm."""
    halted.labels(chain).set(isinstance(verdict, Halt))
    match verdict:
        case Unchanged():
            return
        case Plan(undo, apply):
            log.info("a chain moved", chain=chain, undone=len(undo), applied=len(apply), **counts)
        case Halt(reason):
            log.error("a chain is halted", chain=chain, reason=reason, **counts)
        case Abandon(reason) | Doubt(reason):
            log.warning("a chain could not be followed", chain=chain, reason=reason, **counts)
