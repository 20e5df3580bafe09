"""Looking at a chain: ask the node, decide, then undo, apply and move on in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.kit import limits, telemetry
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.ids import derived_id
from app.kit.telemetry import metrics
from app.subscriptions.matching import Log, Matcher
from app.subscriptions.models import Source
from app.subscriptions.service import Looked, Subscriptions
from app.subscriptions.sources import filter_of
from app.subscriptions.telling import Seen, Undone
from app.watchers import store
from app.watchers.finality import Heads
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
from app.watchers.providers import Chain, Found, Rules
from tocsin.schemas.subscriptions import ChainPosition
from tocsin.schemas.watchers import Log as WireLog
from tocsin.schemas.watchers import LogSeen, SeenBlock
from tocsin.schemas.watchers import Transaction as WireTransaction

log = telemetry.logger(__name__)


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
        self._matchers: dict[str, tuple[int, Matcher]] = {}

    async def look(self, taken: Source) -> bool:
        """Look once at a chain that was taken; whether there may be something to say of it."""
        async with self._transaction() as db:
            watcher = await store.watcher(db, taken.id)
            starting = taken.state == "starting"
            ring = Ring() if starting else await store.ring(db, watcher)
        chain = self._chains.get(taken.params["chain"])
        if chain is None:
            found = Found(0, Abandon("this chain is no longer in TOCSIN_CHAINS"))
        else:
            found = await chain.follow(ring, 0 if starting else watcher.doubts)
        rules = chain.rules if chain is not None else Rules(limits.look_again_seconds_max)
        verdict = found.verdict
        # Nothing has changed so far. If we die here, the lease ends and somebody looks again.
        async with self._transaction() as db:
            held = await self._subscriptions.hold(db, taken)
            if held is None:
                return False
            now = await self._clock.now(db)
            if starting and isinstance(verdict, Plan):
                await store.forget(db, held.id)
            after = moved(ring, verdict, rules.ring_blocks_max)
            told = await self._apply(db, held, ring, after, verdict, now) if isinstance(verdict, Plan) else 0
            heads = Heads()
            if chain is not None and isinstance(verdict, Plan | Unchanged):
                heads = chain.heads(after, found)
                await store.keep_final(db, held.id, heads.final)
                metrics.chain_final_height.labels(held.params["chain"]).set(heads.final.number if heads.final else 0)
            outcome = outcome_of(verdict, held, watcher, after, heads, rules.poll_seconds)
            # Where the head moved, or what is safe or final, an older block may be as deep as some feed waits for.
            moved_on = outcome.position is not None and outcome.position != held.position
            await self._conclude(db, held, outcome, found.calls, now)
            if chain is not None:
                await store.keep_providers(db, held.id, chain.shown())
        metrics.chain_halted.labels(taken.params["chain"]).set(outcome.state == "halted")
        _report(taken.params["chain"], verdict, after, told=told, calls=found.calls)
        return told > 0 or moved_on

    async def _apply(self, db: AsyncSession, held: Source, ring: Ring, after: Ring, plan: Plan, now: datetime) -> int:
        """Take back, then add, and remember the blocks. Returns how much was told."""
        undone = await self._undone(db, held, plan) if plan.undo else []
        matcher = await self._matcher(db, held)
        seen = [event for block, logs in plan.apply for event in seen_in(held.params["chain"], block, logs, matcher)]
        await self._subscriptions.tell(db, held, [*undone, *seen], now)
        await store.replace_blocks(db, held.id, ring, after)
        return len(undone) + len(seen)

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

    async def _matcher(self, db: AsyncSession, held: Source) -> Matcher:
        """The filters of a source that is held, so that none is added or dropped meanwhile."""
        version, matcher = self._matchers.get(held.id, (-1, None))
        if matcher is None or version != held.filters_version:
            wanted = await self._subscriptions.wanted(db, held.id)
            matcher = Matcher({each.id: filter_of(each.spec) for each in wanted})
            self._matchers[held.id] = held.filters_version, matcher
        return matcher

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
            return Outcome("active", poll_seconds, _position(ring.tip, heads))
        case Plan(more=more):
            return Outcome("active", 0 if more else poll_seconds, _position(ring.tip, heads))
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


def seen_in(chain: str, block: Block, logs: Sequence[Log], matcher: Matcher) -> Iterator[Seen]:
    """What of a block passes some filter."""
    for each in logs:
        if filter_ids := matcher.match(each):
            # The same log in the same block is the same event, whoever sees it and how often.
            key = (chain, block.hash, str(each.transaction_index), str(each.index_in_receipt))
            yield Seen(
                derived_id("evt", *key), "evm.log", filter_ids, _payload(chain, block, each), block.hash, block.number
            )


def _payload(chain: str, block: Block, seen: Log) -> dict[str, object]:
    payload = LogSeen(
        chain=chain,
        block=SeenBlock(number=block.number, hash=block.hash, parent_hash=block.parent, timestamp=block.timestamp),
        transaction=WireTransaction(hash=seen.transaction_hash, index=seen.transaction_index),
        log=WireLog(index=seen.index_in_receipt, address=seen.address, topics=list(seen.topics), data=seen.data),
        verified=seen.verified,
    )
    return payload.model_dump(mode="json")


def _position(block: Block, heads: Heads) -> dict[str, object]:
    position = ChainPosition(
        number=block.number,
        hash=block.hash,
        timestamp=block.timestamp,
        safe=heads.safe,
        finalized=heads.final.number if heads.final else None,
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
