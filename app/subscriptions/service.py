"""The verbs of subscriptions: subscribe, read, end; take and tell for those who watch; and fan out what was told."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.service import Deliveries, Outgoing
from app.events import Happened, record
from app.kit import due, limits, pages
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.ids import Ids
from app.kit.operations import require
from app.kit.outbound import Outbound
from app.kit.urls import BadUrl, parse_url
from app.kit.wake import Wake
from app.subscriptions import store
from app.subscriptions.conditions import BadCondition, Condition
from app.subscriptions.models import Filter, Sighting, Source
from app.subscriptions.models import Subscription as Row
from app.subscriptions.sources import Wish, taken_apart, watched
from app.subscriptions.tail import Tail
from app.subscriptions.telling import Told, body_of
from tocsin.problems import ForbiddenAddress, InvalidBody, InvalidCursor, TooManySubscriptions
from tocsin.schemas.subscriptions import (
    EventPage,
    EventsQuery,
    HttpJson,
    NewSubscription,
    Subscription,
    SubscriptionQuery,
    Watched,
)
from tocsin.schemas.wire import Page

_POSITION = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Looked:
    """Where a source stands after a look, and when to look again. Without a position: where it stood before."""

    state: str
    due_at: datetime
    reason: str | None = None
    position: Mapping[str, Any] | None = None


class Subscriptions:
    """Who wants to know, and what there was to know."""

    def __init__(
        self,
        *,
        transaction: Transaction,
        clock: Clock,
        ids: Ids,
        wake: Wake,
        deliveries: Deliveries,
        outbound: Outbound,
        chains: Collection[str],
    ) -> None:
        self._transaction = transaction
        self._clock = clock
        self._ids = ids
        self._wake = wake
        self._deliveries = deliveries
        self._outbound = outbound
        self._chains = chains
        self._tail = Tail(transaction, clock)

    async def close(self) -> None:
        """Let those who wait go."""
        await self._tail.close()

    # For agents

    async def vet(self, wanted: Watched) -> None:
        """Look the source's host up, and refuse what we would not call. May take seconds: hold no transaction."""
        if not isinstance(wanted, HttpJson):
            return
        fault = await self._outbound.vet(_understood(wanted.url))
        if fault is not None and fault.category == "https_required":
            raise ForbiddenAddress.at("/source/url", "use https; plain http is for networks that the operator listed")
        if fault is not None:
            raise ForbiddenAddress.at("/source/url", "the host does not resolve, or not only to public addresses")

    async def create(self, db: AsyncSession, agent_id: str, new: NewSubscription, now: datetime) -> Subscription:
        """Subscribe an agent from now on. A source that nobody watched yet is watched from now on."""
        wish = taken_apart(self._possible(new.source))
        if new.endpoint_id is not None:
            await self._deliveries.require_endpoint(db, agent_id, new.endpoint_id)
        if await store.count_of(db, agent_id) >= limits.subscriptions_per_agent_max:
            raise TooManySubscriptions(f"an agent has at most {limits.subscriptions_per_agent_max} subscriptions")
        if wish.spec["kind"] == "evm.call" and await store.calls_of(db, agent_id) >= limits.calls_per_agent_max:
            raise TooManySubscriptions(f"an agent has at most {limits.calls_per_agent_max} calls made at every block")
        source, wanted, begun = await self._share(db, wish, now)
        row = Row(
            id=self._ids.new("sub"),
            agent_id=agent_id,
            source_id=source.id,
            filter_id=wanted.id,
            endpoint_id=new.endpoint_id,
            description=new.description,
            # The source is locked: nothing is told between this reading and our commit.
            after_seq=source.seq,
            begins_after=source.position if begun else None,
            created_at=now,
        )
        db.add(row)
        await db.flush()
        data = {"source_id": source.id, "filter_id": wanted.id}
        await record(db, Happened("subscription.created", row.id, agent_id, now, data))
        return _shown(row, source, wanted)

    async def get(self, db: AsyncSession, agent_id: str, subscription_id: str) -> Subscription:
        """One subscription of the agent's."""
        return _shown(*require(await store.subscription(db, agent_id, subscription_id), "subscription"))

    async def list(self, db: AsyncSession, agent_id: str, query: SubscriptionQuery) -> Page[Subscription]:
        """One page of the agent's subscriptions, oldest first."""
        rows = await store.subscriptions(db, agent_id, pages.decode(query.cursor) or "", query.limit + 1)
        return pages.page(rows, query.limit, lambda row: _shown(*row), lambda row: row[0].id)

    async def delete(self, db: AsyncSession, agent_id: str, subscription_id: str, now: datetime) -> None:
        """End a subscription. What nobody wants any more is not matched, what nobody watches not polled."""
        row, source, _ = require(await store.subscription(db, agent_id, subscription_id), "subscription")
        await store.lock_source(db, source.id)
        # Locked only now: somebody else may have ended it while we waited.
        require(await store.drop_subscription(db, row.id) or None, "subscription")
        if await store.drop_unwanted(db, source.id, row.filter_id):
            await store.filters_changed(db, source.id)
        if not await store.has_subscriptions(db, source.id):
            await store.rest_source(db, source.id)
        await record(db, Happened("subscription.deleted", row.id, agent_id, now, {"source_id": source.id}))

    async def events(
        self, transaction: Transaction, agent_id: str, subscription_id: str, query: EventsQuery
    ) -> EventPage:
        """What a subscription was told after a cursor. While there is nothing, wait for it, holding no connection."""
        after = _position(query.after)
        until = self._clock.monotonic() + query.wait
        while True:
            async with transaction() as db:
                row, source, _ = require(await store.subscription(db, agent_id, subscription_id), "subscription")
                found = await store.sightings_for(db, row, after, query.limit)
            left = until - self._clock.monotonic()
            if found or left <= 0:
                return _page(found, after=max(after, source.seq) if len(found) < query.limit else after)
            # The source was read before its sightings: what it has told since is beyond this place.
            await self._tail.moved(source.id, source.seq, left)

    # For those who watch

    async def take(self, db: AsyncSession, kinds: Collection[str], now: datetime, limit: int) -> Sequence[Source]:
        """Claim sources that are due. Nobody else looks at them until the lease ends or the look is concluded."""
        return await due.claim(
            db,
            Source,
            now=now,
            lease_seconds=limits.look_lease_seconds,
            limit=limit,
            where="kind = any(cast(:kinds as text[]))",
            params={"kinds": list(kinds)},
        )

    async def hold(self, db: AsyncSession, taken: Source) -> Source | None:
        """The source that was taken, locked until this transaction ends; None when it is not ours any more."""
        return await store.still_ours(db, taken.id, taken.attempts)

    async def wanted(
        self, db: AsyncSession, source_id: str, filter_ids: Collection[str] | None = None
    ) -> Sequence[Filter]:
        """All that is wanted of a source, or these of its filters."""
        return await store.filters(db, source_id, filter_ids)

    async def wanted_ids(self, db: AsyncSession, source_id: str) -> Set[str]:
        """The ids of all that is wanted of a source."""
        return await store.filter_ids(db, source_id)

    async def standing(self, db: AsyncSession, source_id: str, block_hashes: Collection[str]) -> Sequence[Sighting]:
        """What was told of these blocks and has not been taken back, oldest first."""
        return await store.standing(db, source_id, block_hashes)

    async def tell(self, db: AsyncSession, held: Source, told: Sequence[Told], now: datetime) -> None:
        """Append to what is known of a source that the caller holds. Ring "subscriptions" once it has committed."""
        if not told:
            return
        numbered = enumerate(told, held.seq + 1)
        sightings = [self._sighting(held.id, seq, each, now) for seq, each in numbered]
        await store.add_sightings(db, sightings)
        kinds = {"event.matched": "event.seen", "event.retracted": "event.retracted"}
        await record(
            db,
            *(
                Happened(kinds[each.type], each.event_id, None, now, {"source_id": held.id, "seq": each.seq})
                for each in sightings
            ),
        )

    async def conclude(self, db: AsyncSession, held: Source, looked: Looked) -> None:
        """Write how a look at a source that the caller holds has ended."""
        await store.conclude_look(
            db,
            held.id,
            state=looked.state,
            reason=looked.reason,
            position=looked.position,
            due_at=looked.due_at,
        )

    async def sources_of(self, db: AsyncSession, agent_id: str, after: str, limit: int) -> Sequence[tuple[Source, int]]:
        """The sources that an agent subscribes to, with the number of all subscriptions to each."""
        return [(row[0], row[1]) for row in await store.sources_of(db, agent_id, after, limit)]

    async def next_look_at(self, db: AsyncSession) -> datetime | None:
        """When the next source is due."""
        return await store.next_due(db)

    # Fan-out

    async def fan_out_next(self) -> int:
        """Set the sightings that wait on their way to all who subscribe. Returns how many; 0 when none waits.

        One transaction does it all: no network lies between, so a crash leaves no sighting half fanned out.
        """
        async with self._transaction() as db:
            now = await self._clock.now(db)
            claimed = await due.claim(
                db, Sighting, now=now, lease_seconds=limits.fan_out_lease_seconds, limit=limits.fan_out_batch_max
            )
            if not claimed:
                return 0
            endpoints = await store.recipients(db, [sighting.id for sighting in claimed])
            now_or_later = _portion(claimed, endpoints)
            # A message for all: whose it is, is said by each of its deliveries.
            outgoing = [
                Outgoing(type=each.type, body=each.body.encode(), endpoint_ids=endpoints[each.id])
                for each, is_now in now_or_later
                if is_now and each.id in endpoints
            ]
            await self._deliveries.send(db, outgoing, now)
            outcomes = [
                {"id": each.id, "attempts": each.attempts, "due_at": None if is_now else now}
                for each, is_now in now_or_later
            ]
            await due.conclude(db, Sighting, outcomes)
        if outgoing:
            self._wake.ring("deliveries")
        return len(claimed)

    # Inside

    def _possible(self, wanted: Watched) -> Watched:
        """The wish in the form that is kept. Raises what has to be changed about it."""
        if isinstance(wanted, HttpJson):
            return wanted.model_copy(update={"url": _understood(wanted.url)})
        if wanted.chain not in self._chains:
            known = ", ".join(sorted(self._chains)) or "none"
            raise InvalidBody.at("/source/chain", f"this relay does not watch {wanted.chain}; it watches: {known}")
        if wanted.where is not None:
            try:
                Condition(wanted.where)
            except BadCondition as bad:
                raise InvalidBody.at("/source/where", str(bad)) from bad
        if wanted.finality != "latest":
            raise InvalidBody.at("/source/finality", "this relay tells of the head only: latest")
        return wanted

    async def _share(self, db: AsyncSession, wish: Wish, now: datetime) -> tuple[Source, Filter, bool]:
        """The source and the filter that serve this wish, made where there are none, and whether they do so already.

        The source is locked.
        """
        first = Source(id=wish.source_id, kind=wish.kind, params=dict(wish.params), state="idle", created_at=now)
        await store.add_source(db, first)
        source = await store.lock_source(db, wish.source_id)
        if source.state == "idle":
            await store.wake_source(db, source.id, now)
        wanted = Filter(id=wish.filter_id, source_id=source.id, spec=dict(wish.spec))
        new = await store.add_filter(db, wanted)
        if new:
            await store.filters_changed(db, source.id)
        # A log is matched when it is read; a change is seen only against what the filter selected before.
        compares = wish.kind == "http.json"
        if new and compares:
            await store.look_sooner(db, source.id, now)
        begun = not compares or await store.has_begun(db, source.id, wanted.id)
        return await store.lock_source(db, source.id), wanted, begun

    def _sighting(self, source_id: str, seq: int, told: Told, now: datetime) -> Sighting:
        body = body_of(told, source_id, seq, now)
        return Sighting(
            id=self._ids.new("sgt"),
            source_id=source_id,
            seq=seq,
            event_id=told.event_id,
            undoes=told.undoes,
            filter_ids=list(told.filter_ids),
            block_hash=told.block_hash,
            type=body["type"],
            body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
            seen_at=now,
            due_at=now,
        )


def _portion(claimed: Sequence[Sighting], endpoints: Mapping[str, Sequence[str]]) -> Sequence[tuple[Sighting, bool]]:
    """In order, and whether each is sent now: as many as one transaction should hold, and always the first."""
    portion: list[tuple[Sighting, bool]] = []
    deliveries = 0
    for each in sorted(claimed, key=lambda each: (each.source_id, each.seq)):
        deliveries += len(endpoints.get(each.id, ()))
        portion.append((each, not portion or deliveries <= limits.fan_out_deliveries_max))
    return portion


def _understood(url: str) -> str:
    """The URL as we understood it."""
    try:
        return str(parse_url(url))
    except BadUrl as bad:
        raise InvalidBody.at("/source/url", str(bad)) from bad


def _shown(row: Row, source: Source, wanted: Filter) -> Subscription:
    return Subscription.model_validate(
        {
            "id": row.id,
            "source": watched(source.params, wanted.spec),
            "source_id": source.id,
            "filter_id": wanted.id,
            "endpoint_id": row.endpoint_id,
            "description": row.description,
            "state": "starting" if row.begins_after is None else source.state,
            "state_reason": source.state_reason,
            "begins_after": row.begins_after,
            "created_at": row.created_at,
        }
    )


def _page(found: Sequence[Sighting], *, after: int) -> EventPage:
    items = ",".join(sighting.body for sighting in found)
    last = max([after, *(sighting.seq for sighting in found)])
    return EventPage.model_validate_json(f'{{"items":[{items}],"next":{json.dumps(pages.encode(str(last)))}}}')


def _position(cursor: str | None) -> int:
    position = pages.decode(cursor) or "0"
    if not _POSITION.fullmatch(position):
        raise InvalidCursor
    return int(position)
