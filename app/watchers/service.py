"""The verbs of watchers: look at what is due, and say how the watching goes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from app.kit import limits, pages
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.telemetry import metrics
from app.kit.wake import Wake
from app.subscriptions.models import Source
from app.subscriptions.service import Subscriptions
from app.watchers import store
from app.watchers.backfill import Backfilling
from app.watchers.heads import NewHeads
from app.watchers.models import Watcher as Row
from app.watchers.providers import Chain
from app.watchers.proving import Proving
from tocsin.schemas.watchers import Watcher, WatcherQuery
from tocsin.schemas.wire import Page


class Kind(Protocol):
    """One way of watching."""

    kind: str

    async def look(self, taken: Source) -> bool:
        """Look once at a source that was taken, and conclude it; whether anything was told.

        Whatever the outside does, this ends before the source's lease and does not raise.
        """
        ...


class Watchers:
    """One watcher a source: whoever takes it looks, and nobody else until that look has ended."""

    def __init__(
        self,
        transaction: Transaction,
        clock: Clock,
        wake: Wake,
        subscriptions: Subscriptions,
        backfilling: Backfilling,
        heads: NewHeads,
        proving: Proving,
        chains: Mapping[str, Chain],
        *kinds: Kind,
    ) -> None:
        self._transaction = transaction
        self._clock = clock
        self._wake = wake
        self._subscriptions = subscriptions
        self._heads = heads
        self._proving = proving
        self.proof = proving.proof
        self._chains = chains
        self._reported_at = float("-inf")
        self._kinds: Mapping[str, Kind] = {kind.kind: kind for kind in kinds}
        self.backfill_next = backfilling.backfill_next
        # Those that are under way, each of its kind: one kind has no place of another's.
        self._looking: dict[asyncio.Task[bool], str] = {}

    async def look_next(self) -> int:
        """Look at the sources that are due, all at once, so that a slow one holds up no other.

        Returns how many looks were begun, are under way or have ended; 0 when nothing is due and nobody is looking.
        """
        await self._report_halted()
        begun = await self._begin()
        if not self._looking:
            await self._ring_when_due()
            return 0
        ended, _ = await asyncio.wait(
            self._looking, timeout=limits.look_turn_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for look in ended:
            del self._looking[look]
        if any([look.result() for look in ended if look.exception() is None]):
            self._wake.ring("subscriptions")
        for look in ended:
            look.result()  # a bug ends this round, once what the others told is on its way
        return begun + len(ended) + len(self._looking)

    async def list(self, db: AsyncSession, agent_id: str, query: WatcherQuery) -> Page[Watcher]:
        """The watchers of the sources that an agent subscribes to."""
        after = pages.decode(query.cursor) or ""
        sources = await self._subscriptions.sources_of(db, agent_id, after, query.limit + 1)
        rows = await store.watchers(db, [source.id for source, _ in sources])
        learned = await store.learned_all(db)

        def shown(each: tuple[Source, int]) -> Watcher:
            chain = each[0].params.get("chain", "")
            demanded = self._chains[chain].demanded(learned.get(chain)) if chain in self._chains else None
            return _shown(*each, rows.get(each[0].id), demanded)

        return pages.page(sources, query.limit, shown, lambda each: each[0].id)

    def start(self) -> None:
        """Listen to those who announce that there is something to look at."""
        self._heads.start()

    async def close(self) -> None:
        """Leave the looks that are under way to their leases."""
        await self._heads.close()
        await self._proving.close()
        for look in self._looking:
            look.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)

    async def _begin(self) -> int:
        under_way = Counter(self._looking.values())
        free = {kind: limits.looks_at_once_max - under_way[kind] for kind in self._kinds}
        if all(room <= 0 for room in free.values()):
            return 0
        async with self._transaction() as db:
            now = await self._clock.now(db)
            taken = [
                source
                for kind, room in free.items()
                if room > 0
                for source in await self._subscriptions.take(db, [kind], now, room)
            ]
        self._looking |= {asyncio.create_task(self._kinds[each.kind].look(each)): each.kind for each in taken}
        return len(taken)

    async def _report_halted(self) -> None:
        """Say of each chain whether it is halted: another process may have found that, or that it is no more."""
        elapsed_seconds = self._clock.monotonic() - self._reported_at
        if not self._chains or elapsed_seconds < limits.chain_report_seconds:
            return
        async with self._transaction() as db:
            states = await self._subscriptions.states_of(db, self._chains)
        self._reported_at = self._clock.monotonic()
        for chain, state in states.items():
            metrics.chain_halted.labels(chain).set(state == "halted")

    async def _ring_when_due(self) -> None:
        """The sweep comes each second; what is due before it is rung for."""
        async with self._transaction() as db:
            now, due_at = await self._clock.now(db), await self._subscriptions.next_look_at(db)
        if due_at is not None and (seconds := (due_at - now).total_seconds()) < limits.sweep_seconds:
            self._wake.ring_in(max(0.0, seconds), "watchers")


def _shown(source: Source, subscriptions: int, row: Row | None, held_to: str | None) -> Watcher:
    return Watcher.model_validate(
        {
            "source_id": source.id,
            "kind": source.kind,
            "target": source.params.get("chain") or source.params.get("url"),
            "state": source.state,
            "state_reason": source.state_reason,
            "subscriptions": subscriptions,
            "position": source.position,
            "events": source.seq,
            "upstream_calls": row.upstream_calls if row else 0,
            "looked_at": row.looked_at if row else None,
            "next_look_at": source.due_at,
            "last_error": row.last_error if row else None,
            "held_to": held_to,
            "providers": (row.providers if row else None) or [],
        }
    )
