"""Looking at a chain: ask the node, decide, then undo, apply and move on in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.kit import limits, telemetry
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.telemetry import metrics
from app.subscriptions.models import Source
from app.subscriptions.service import Looked, Subscriptions
from app.subscriptions.telling import Seen, Undone
from app.watchers import store
from app.watchers.blocks import ContractCall, Extra
from app.watchers.finality import Heads
from app.watchers.finding import Contents, Filters, Prices, found_in
from app.watchers.follower import (
    Abandon,
    Block,
    Doubt,
    Halt,
    Plan,
    Ring,
    Unchanged,
    Verdict,
    extend,
    rewind,
)
from app.watchers.models import Watcher
from app.watchers.pace import again_after
from app.watchers.prices import read, rewound, stored
from app.watchers.providers import Chain, Found, Rules
from app.watchers.wanted import wanted_of
from tocsin.schemas.subscriptions import ChainPosition

log = telemetry.logger(__name__)


@dataclass(frozen=True, slots=True)
class Moving:
    """What is to be done, and the ring before and after it."""

    plan: Plan
    before: Ring
    after: Ring


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
        """Look once at a chain that was taken; whether there may be something to say of it."""
        async with self._transaction() as db:
            watcher = await store.watcher(db, taken.id)
            starting = taken.state == "starting"
            ring = Ring() if starting else await store.ring(db, watcher)
            learned = await store.learned(db, taken.params["chain"])
            needs = replace((await self._wanted(db, taken)).needs, known=self._answers.get(taken.id, {}))
        chain = self._chains.get(taken.params["chain"])
        if chain is None:
            found = Found(0, Abandon("this chain is no longer in TOCSIN_CHAINS"))
        else:
            chain.resume(learned)
            found = await chain.follow(ring, 0 if starting else watcher.doubts, needs)
        rules = chain.rules if chain is not None else Rules(limits.look_again_seconds_max)
        verdict = found.verdict
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
            after = moved(ring, verdict, rules.ring_blocks_max)
            told = 0
            if isinstance(verdict, Plan):
                told = await self._apply(db, held, Moving(verdict, ring, after), rules, now)
            heads = Heads()
            if chain is not None and isinstance(verdict, Plan | Unchanged):
                heads = chain.heads(after, found, None if starting else (held.position or {}).get("finalized_by"))
                await store.keep_final(db, held.id, heads.final)
                metrics.chain_final_height.labels(held.params["chain"]).set(heads.final.number if heads.final else 0)
            outcome = outcome_of(verdict, held, watcher, after, heads, rules.poll_seconds)
            # Where the head moved, or what is safe or final, an older block may be as deep as some feed waits for.
            moved_on = outcome.position is not None and outcome.position != held.position
            await self._conclude(db, held, outcome, found.calls, now)
            if chain is not None:
                await store.keep_providers(db, held.id, chain.shown())
                if chain.capability != learned and not chain.capability.settled:
                    await store.keep_learned(db, held.params["chain"], chain.capability)
                    if chain.capability.demanded != (learned.demanded if learned else "rpc"):
                        demanded = chain.capability.demanded
                        log.info("a chain is held to what it has shown", chain=held.params["chain"], demanded=demanded)
        metrics.chain_halted.labels(taken.params["chain"]).set(outcome.state == "halted")
        _report(taken.params["chain"], verdict, after, told=told, calls=found.calls)
        return told > 0 or moved_on

    async def _apply(self, db: AsyncSession, held: Source, moving: Moving, rules: Rules, now: datetime) -> int:
        """Take back, then add, and remember the blocks. Returns how much was told."""
        plan = moving.plan
        undone = await self._undone(db, held, plan) if plan.undo else []
        filters = await self._wanted(db, held)
        prices = await self._prices(db, held, filters, plan)
        begins = _begins(moving.before, plan)
        seen = [] if begins else _seen(held.params["chain"], plan, filters, prices, rules.ring_blocks_max)
        await self._subscriptions.tell(db, held, [*undone, *seen], now)
        await store.replace_blocks(db, held.id, moving.before, moving.after)
        await store.keep_prices(db, held.id, {filter_id: stored(each) for filter_id, each in prices.items()})
        self._answers[held.id] = _standing(plan)
        return len(undone) + len(seen)

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
                kind=each.kind,
                filter_ids=each.filter_ids,
                block_hash=each.block_hash,
                block_number=each.block_number,
                undoes=each.seq,
                payload=each.payload,
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
        looked = Looked(outcome.state, due_at, outcome.reason, outcome.position)
        await self._subscriptions.conclude(db, held, looked, now)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a look leaves behind: where the chain stands, and when to look again."""

    state: str
    again_seconds: float
    position: Mapping[str, object] | None = None
    reason: str | None = None
    error: str | None = None
    doubts: int = 0


def outcome_of(
    verdict: Verdict, held: Source, watcher: Watcher, ring: Ring, heads: Heads, poll_seconds: float
) -> Outcome:
    """What this verdict leaves behind, of a chain that stands at the tip of `ring` now, and is that far final."""
    rarely_seconds = max(poll_seconds, limits.chain_again_seconds_max)
    match verdict:
        case Unchanged():
            return Outcome("active", poll_seconds, _position(ring.tip, heads), heads.lacking)
        case Plan(more=more):
            return Outcome("active", 0 if more else poll_seconds, _position(ring.tip, heads), heads.lacking)
        case Abandon(error):
            again_seconds = again_after(poll_seconds, watcher.failures, seconds_max=rarely_seconds)
            return Outcome(held.state, again_seconds, None, held.state_reason, error, watcher.doubts)
        case Doubt(error):
            return Outcome(held.state, poll_seconds, None, held.state_reason, error, watcher.doubts + 1)
        case Halt(reason):
            return Outcome("halted", rarely_seconds, None, reason, reason, watcher.doubts)


def moved(ring: Ring, verdict: Verdict, blocks_max: int) -> Ring:
    """The ring once this is done."""
    if not isinstance(verdict, Plan):
        return ring
    return extend(rewind(ring, verdict.undo), [block for block, _ in verdict.apply], blocks_max=blocks_max)


def _seen(chain: str, plan: Plan, filters: Filters, prices: Prices, ring_blocks: int) -> list[Seen]:
    """What the new blocks hold, in order."""
    extras = plan.extras or (Extra(),) * len(plan.apply)
    seen: list[Seen] = []
    for (block, logs), extra in zip(plan.apply, extras, strict=True):
        found = found_in(chain, Contents(block, logs, extra), filters, prices, ring_blocks=ring_blocks)
        metrics.conditions_unknown.labels(chain).inc(found.unknown)
        seen += found.seen
    return seen


def _begins(ring: Ring, plan: Plan) -> bool:
    """Whether this is where we begin: what the block holds happened before anybody asked."""
    return not ring.blocks or any(block.number < ring.oldest.number for block, _ in plan.apply)


def _standing(plan: Plan) -> Mapping[tuple[str, ContractCall], str]:
    """What calls answered at the tip."""
    if not plan.extras:
        return {}
    tip, _ = plan.apply[-1]
    return {(tip.hash, call): now for call, (_, now) in plan.extras[-1].answers.items()}


def _position(block: Block, heads: Heads) -> dict[str, object]:
    position = ChainPosition(
        number=block.number,
        hash=block.hash,
        timestamp=block.timestamp,
        safe=heads.safe,
        finalized=heads.final.number if heads.final else None,
        finalized_by=heads.by,
    )
    return position.model_dump()


def _report(chain: str, verdict: Verdict, ring: Ring, **counts: int) -> None:
    """One line for operators, unless nothing happened."""
    if ring.blocks:
        metrics.chain_height.labels(chain).set(ring.tip.number)
        metrics.chain_timestamp_seconds.labels(chain).set(ring.tip.timestamp)
    match verdict:
        case Unchanged():
            return
        case Plan(undo, apply):
            log.info("a chain moved", chain=chain, undone=len(undo), applied=len(apply), **counts)
        case Halt(reason):
            log.error("a chain is halted", chain=chain, reason=reason, **counts)
        case Abandon(reason) | Doubt(reason):
            log.warning("a chain could not be followed", chain=chain, reason=reason, **counts)
