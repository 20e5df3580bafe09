"""The verbs of subscriptions: subscribe, read, end; take and tell for those who watch; and feed."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.service import Deliveries
from app.events import Happened, record
from app.kit import due, limits, pages
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.ids import Ids
from app.kit.operations import Incoming, require
from app.kit.outbound import Outbound
from app.kit.urls import BadUrl, parse_url
from app.kit.wake import Wake
from app.subscriptions import feed_store, inbox_book, store, web
from app.subscriptions.conditions import BadCondition, Condition
from app.subscriptions.feeding import Feeding
from app.subscriptions.feeds import Seen as PastSeen
from app.subscriptions.feeds import Terms, level_of, past, told_in
from app.subscriptions.forgetting import Forgetting
from app.subscriptions.inboxes import Inboxes
from app.subscriptions.models import Catching, Feed, FeedEntry, Filter, Sighting, Source
from app.subscriptions.models import Subscription as Row
from app.subscriptions.naming import misnamed
from app.subscriptions.sources import KINDS_WITH_A_PAST, Wish, chain_source_id, has_a_past, taken_apart, watched
from app.subscriptions.streams import Listening, Streams, last_seen
from app.subscriptions.tail import Tail
from app.subscriptions.telling import Seen, Told, payload_of
from tocsin.feeds import beginning_hash
from tocsin.problems import ForbiddenAddress, InvalidBody, InvalidCursor, TooManyCalls, TooManySubscriptions
from tocsin.schemas.subscriptions import (
    EventPage,
    EventsQuery,
    HttpFeed,
    HttpJson,
    Inbox,
    InboxTaken,
    NewSubscription,
    Subscription,
    SubscriptionQuery,
    Watched,
)
from tocsin.schemas.wire import Page

# Before there were feeds a cursor was a place in a source, and looked otherwise.
_CURSOR = "fed:"
_POSITION = re.compile(_CURSOR + r"([0-9]{1,18})")

# What a sum of fractions may be off.
_whisker = 1e-9


@dataclass(frozen=True, slots=True)
class Looked:
    """Where a source stands after a look, and when to look again. Without a position: where it stood before."""

    state: str
    due_at: datetime
    reason: str | None = None
    position: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Telling:
    """What a subscription was told of an event, by an entry of this type. Others may have been told otherwise."""

    subscription_id: str
    others: Sequence[str]
    type: str
    said: Mapping[str, Any]


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
        calls_max: Mapping[str, int],
        retention_days: int,
        backfill_blocks_max: int,
        inboxes: Inboxes,
    ) -> None:
        self._transaction = transaction
        self._clock = clock
        self._ids = ids
        self._deliveries = deliveries
        self._outbound = outbound
        # By chain that is watched: how many calls of contracts are made at each of its blocks.
        self._calls_max = calls_max
        self._backfill_blocks_max = backfill_blocks_max
        self._inboxes = inboxes
        self._tail = Tail(transaction, clock)
        self._streams = Streams(clock, self._tail)
        self.forget_next = Forgetting(transaction, clock, retention_days).forget_next
        self.feed_next = Feeding(transaction, clock, wake, deliveries).feed_next

    async def close(self) -> None:
        """Let those who wait go."""
        await self._tail.close()

    # For agents

    async def vet(self, wanted: Watched) -> None:
        """Look the source's host up, and refuse what we would not call. May take seconds: hold no transaction."""
        if not isinstance(wanted, HttpJson | HttpFeed):
            return
        fault = await self._outbound.vet(_understood(wanted.url))
        if fault is not None:
            raise ForbiddenAddress.at("/source/url", fault.refusal)

    async def create(self, db: AsyncSession, agent_id: str, new: NewSubscription, now: datetime) -> Subscription:
        """Subscribe an agent from now on. A source that nobody watched yet is watched from now on."""
        possible = self._possible(new.source)
        wish = taken_apart(possible)
        terms = _terms(new)
        await self._require_room(db, agent_id, wish, terms)
        if new.endpoint_id is not None:
            await self._deliveries.require_endpoint(db, agent_id, new.endpoint_id)
        if await store.count_of(db, agent_id) >= limits.subscriptions_per_agent_max:
            raise TooManySubscriptions(f"an agent has at most {limits.subscriptions_per_agent_max} subscriptions")
        if wish.spec["kind"] == "evm.call" and await store.calls_of(db, agent_id) >= limits.calls_per_agent_max:
            raise TooManySubscriptions(f"an agent has at most {limits.calls_per_agent_max} calls made at every block")
        source, wanted, begun = await self._share(db, wish, now)
        if wish.spec["kind"] == "evm.call":
            await self._require_calls(db, source)
        self._within_reach(source, terms)
        if isinstance(possible, Inbox):
            await self._inboxes.open(db, source.id, agent_id, possible, now)
            source = await store.lock_source(db, source.id)
        # The source is locked: nothing is told between this reading and our commit. And so is the feed.
        feed = await feed_store.join(db, self._ids.new("fed"), source, wanted.id, terms, now)
        row = Row(
            id=self._ids.new("sub"),
            agent_id=agent_id,
            source_id=source.id,
            filter_id=wanted.id,
            feed_id=feed.id,
            endpoint_id=new.endpoint_id,
            description=new.description,
            # Who wants the past reads all of it, whoever has had it told before.
            after_seq=feed.seq if terms.from_block is None else 0,
            after_hash=feed.hash if terms.from_block is None else beginning_hash,
            begins_after=source.position if begun else None,
            created_at=now,
        )
        db.add(row)
        await db.flush()
        data = {"source_id": source.id, "filter_id": wanted.id}
        await record(db, Happened("subscription.created", row.id, agent_id, now, data))
        shown = _shown(row, source, wanted, feed, await feed_store.catching(db, [feed.id]))
        return await self._inboxes.shown(db, shown)

    async def get(self, db: AsyncSession, agent_id: str, subscription_id: str) -> Subscription:
        """One subscription of the agent's."""
        row, source, wanted, feed = require(await store.subscription(db, agent_id, subscription_id), "subscription")
        shown = _shown(row, source, wanted, feed, await feed_store.catching(db, [feed.id]))
        return await self._inboxes.shown(db, shown)

    async def list(self, db: AsyncSession, agent_id: str, query: SubscriptionQuery) -> Page[Subscription]:
        """One page of the agent's subscriptions, oldest first."""
        rows = await store.subscriptions(db, agent_id, pages.decode(query.cursor) or "", query.limit + 1)
        catching = await feed_store.catching(db, [feed.id for _, _, _, feed in rows if feed.from_block is not None])
        page = pages.page(
            rows, query.limit, lambda row: _shown(row[0], row[1], row[2], row[3], catching), lambda row: row[0].id
        )
        return page.model_copy(update={"items": [await self._inboxes.shown(db, each) for each in page.items]})

    async def delete(self, db: AsyncSession, agent_id: str, subscription_id: str, now: datetime) -> None:
        """End a subscription. What nobody wants any more is not matched, what nobody watches not polled."""
        row, *_ = require(await store.subscription(db, agent_id, subscription_id), "subscription")
        require(await self._end(db, row, now) or None, "subscription")

    async def leave_revoked_next(self) -> int:
        """End a subscription of an agent that was revoked: nobody else could. Returns 1; 0 when there is none."""
        async with self._transaction() as db:
            row = await store.of_a_revoked_agent(db)
            if row is not None:
                await self._end(db, row, await self._clock.now(db))
        return 0 if row is None else 1

    async def events(
        self, transaction: Transaction, agent_id: str, subscription_id: str, query: EventsQuery
    ) -> EventPage:
        """What a subscription was told after a cursor. While there is nothing, wait for it, holding no connection."""
        after = max(_position(query.after), query.after_seq)
        until = self._clock.monotonic() + query.wait
        while True:
            async with transaction() as db:
                row, _, _, feed = require(await store.subscription(db, agent_id, subscription_id), "subscription")
                after = max(after, row.after_seq)
                found = await feed_store.entries(db, feed.id, after, query.limit)
            left = until - self._clock.monotonic()
            if found or left <= 0:
                return _page(found, after, exact=query.exact)
            self._streams.admit(agent_id)
            with self._streams.place(agent_id):
                await self._tail.moved(feed.id, after, left)

    async def stream(
        self, transaction: Transaction, agent_id: str, subscription_id: str, last_event_id: str | None
    ) -> AsyncIterator[bytes]:
        """What a subscription is told after an entry, as server-sent events, for as long as somebody listens."""
        self._streams.admit(agent_id)
        async with transaction() as db:
            row, _, _, feed = require(await store.subscription(db, agent_id, subscription_id), "subscription")
        after = max(last_seen(last_event_id), row.after_seq)
        return self._streams.follow(transaction, Listening(agent_id, row.id, feed.id, after))

    async def told(self, db: AsyncSession, agent_id: str, event_id: str, subscription_id: str | None) -> Telling:
        """What a subscription of the agent's was told last of an event; by default the oldest that was told it."""
        hearers = await feed_store.hearers_of(db, agent_id, event_id, limits.hearers_shown_max + 1)
        require(hearers or None, "event that a subscription of yours was told")
        hearer = subscription_id or hearers[0]
        body = await feed_store.told(db, agent_id, hearer, event_id)
        type, said = told_in(require(body, "event that this subscription of yours was told"), event_id)
        others = [each for each in hearers if each != hearer]
        return Telling(hearer, others[: limits.hearers_shown_max], type, said)

    # For other services

    async def receive(self, db: AsyncSession, token: str, incoming: Incoming, now: datetime) -> InboxTaken:
        """Take what was posted to an inbox. Ring "subscriptions" once it has committed."""
        accepted = await self._inboxes.accept(db, token, incoming, now)
        if accepted.seen is not None:
            await self.tell(db, accepted.source, [accepted.seen], now)
        return InboxTaken(event_id=accepted.event_id, duplicate=accepted.is_known)

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

    async def mark_trouble(self, db: AsyncSession, source_id: str, trouble: Mapping[str, str | None]) -> None:
        """Say why the latest look could not judge for these filters; None where it could."""
        await store.mark_trouble(db, source_id, trouble)

    async def standing(self, db: AsyncSession, source_id: str, block_hashes: Collection[str]) -> Sequence[Sighting]:
        """What was told of these blocks and has not been taken back, oldest first."""
        return await store.standing(db, source_id, block_hashes)

    async def tell(self, db: AsyncSession, held: Source, told: Sequence[Told], now: datetime) -> None:
        """Append to what is known of a source that the caller holds. Ring "subscriptions" once it has committed."""
        if not told:
            return
        sightings = [self._sighting(held.id, seq, each, now) for seq, each in enumerate(told, held.seq + 1)]
        await store.add_sightings(db, sightings)
        await feed_store.seen(db, held.id, _concerned(sightings), now)
        await record(
            db,
            *(
                Happened(
                    "event.seen" if each.undoes is None else "event.retracted",
                    each.event_id,
                    None,
                    now,
                    {"source_id": held.id, "seq": each.seq},
                )
                for each in sightings
            ),
        )

    async def conclude(self, db: AsyncSession, held: Source, looked: Looked, now: datetime) -> None:
        """Write how a look at a source that the caller holds has ended. Ring "subscriptions" once it has committed."""
        await store.conclude_look(
            db,
            held.id,
            state=looked.state,
            reason=looked.reason,
            position=looked.position,
            due_at=looked.due_at,
        )
        if looked.position is not None:
            await feed_store.moved(db, held.id, looked.position, now)

    async def sources_of(self, db: AsyncSession, agent_id: str, after: str, limit: int) -> Sequence[tuple[Source, int]]:
        """The sources that an agent subscribes to, with the number of all subscriptions to each."""
        return [(row[0], row[1]) for row in await store.sources_of(db, agent_id, after, limit)]

    async def states_of(self, db: AsyncSession, chains: Collection[str]) -> Mapping[str, str]:
        """How the watching of each of these chains stands, whoever looked last."""
        ids = {chain: chain_source_id(chain) for chain in chains}
        states = await store.states(db, list(ids.values()))
        return {chain: states.get(source_id, "idle") for chain, source_id in ids.items()}

    async def hurry(self, db: AsyncSession, chain: str, now: datetime, *, poll_seconds: float) -> bool:
        """Have a chain looked at now, if anybody watches it; false while somebody may be looking, so ask again."""
        waits_seconds = min(poll_seconds, limits.look_lease_seconds / 2)
        return await store.hurry_source(db, chain, now, waits_seconds, limits.look_lease_seconds)

    async def next_look_at(self, db: AsyncSession) -> datetime | None:
        """When the next source is due."""
        return await store.next_due(db)

    # Catching up

    async def take_behind(self, db: AsyncSession, now: datetime) -> feed_store.Behind | None:
        """A feed that has to catch up with its source. Nobody else takes it until the lease ends."""
        return await feed_store.behind(db, now, limits.backfill_lease_seconds)

    async def begin_later(self, db: AsyncSession, feed_id: str, block: int) -> None:
        """A feed of the past begins only at this block: farther back nobody reads."""
        await feed_store.begin_later(db, feed_id, block)

    async def tell_past(
        self, db: AsyncSession, catching: Catching, seen: Sequence[Seen], again_at: datetime | None
    ) -> bool:
        """Append what was found in past blocks, and write how far that is; whether it was still ours to do.

        Without a time to go on the feed has caught up. Ring "subscriptions" once it has committed.
        """
        feed = await feed_store.still_behind(db, catching)
        if feed is None:
            return False
        now = await self._clock.now(db)
        found = [
            PastSeen(0, each.event_id, each.kind, payload_of(each), now, each.block_number, each.block_hash)
            for each in seen
        ]
        told = past(feed, found, now, batch_bytes_max=limits.feed_batch_bytes_max)
        await feed_store.write(db, [told], now)
        is_due = bool(told.entries) or again_at is None
        if is_due:
            await feed_store.conclude(db, [feed_store.Fed(told.feed, None, goes_on=True)], now)
        await feed_store.caught(db, catching, again_at)
        return True

    # Inside

    async def _end(self, db: AsyncSession, row: Row, now: datetime) -> bool:
        """Whether the subscription was still there to be ended."""
        await store.lock_source(db, row.source_id)
        # Locked only now: somebody else may have ended it while we waited.
        if not await store.drop_subscription(db, row.id):
            return False
        await feed_store.rest_unheard(db, row.feed_id, now)
        if await store.drop_unwanted(db, row.source_id, row.filter_id):
            await store.filters_changed(db, row.source_id)
        if not await store.has_subscriptions(db, row.source_id):
            await store.rest_source(db, row.source_id)
            await inbox_book.close(db, row.source_id)
        await record(db, Happened("subscription.deleted", row.id, row.agent_id, now, {"source_id": row.source_id}))
        return True

    def _possible(self, wanted: Watched) -> Watched:
        """The wish in the form that is kept. Raises what has to be changed about it."""
        if wanted.where is not None:
            try:
                condition = Condition(wanted.where)
            except BadCondition as bad:
                raise InvalidBody.at("/source/where", str(bad)) from bad
            if (wrong := misnamed(wanted, condition.reads)) is not None:
                raise InvalidBody.at("/source/where", wrong)
        if isinstance(wanted, Inbox):
            return self._inboxes.possible(wanted)
        if isinstance(wanted, HttpJson | HttpFeed):
            web.check(wanted)
            return wanted.model_copy(update={"url": _understood(wanted.url)})
        if wanted.chain not in self._calls_max:
            known = ", ".join(sorted(self._calls_max)) or "none"
            raise InvalidBody.at("/source/chain", f"this relay does not watch {wanted.chain}; it watches: {known}")
        return wanted

    async def _share(self, db: AsyncSession, wish: Wish, now: datetime) -> tuple[Source, Filter, bool]:
        """The source and the filter that serve this wish, made where there are none, and whether they do so already.

        The source is locked.
        """
        first = Source(id=wish.source_id, kind=wish.kind, params=dict(wish.params), state="idle", created_at=now)
        await store.add_source(db, first)
        source = await store.lock_source(db, wish.source_id)
        # An inbox is opened instead: nobody looks at it.
        if source.state == "idle" and wish.kind != "inbox":
            await store.wake_source(db, source.id, now)
        wanted = Filter(id=wish.filter_id, source_id=source.id, spec=dict(wish.spec))
        new = await store.add_filter(db, wanted)
        if new:
            await store.filters_changed(db, source.id)
        # A log is matched when it is read; a change is seen only against what the filter selected before.
        compares = wish.kind in web.KINDS
        if new and compares:
            await store.look_sooner(db, source.id, now)
        begun = not compares or await store.has_begun(db, source.id, wanted.id)
        return await store.lock_source(db, source.id), wanted, begun

    async def _require_room(self, db: AsyncSession, agent_id: str, wish: Wish, terms: Terms) -> None:
        """Refuse what would be more work, for the relay or for a site, than one agent may make."""
        if terms.from_block is not None and await feed_store.behind_of(db, agent_id) >= limits.backfills_per_agent_max:
            most = limits.backfills_per_agent_max
            raise TooManySubscriptions(f"{most} subscriptions of yours are catching up: wait until one of them has")
        if wish.kind == "inbox" and await inbox_book.count_of(db, agent_id) >= limits.inboxes_per_agent_max:
            raise TooManySubscriptions(f"an agent has at most {limits.inboxes_per_agent_max} inboxes")
        if wish.kind not in web.KINDS:
            return
        others = await store.other_filters(db, agent_id, wish.source_id, wish.filter_id)
        if others >= limits.document_filters_max:
            raise TooManySubscriptions(f"an agent asks at most {limits.document_filters_max} things of one document")
        host = parse_url(wish.params["url"])
        already = await store.other_requests(db, agent_id, wish.source_id, f"{host.scheme}://{host.authority}/")
        if already + 1 / wish.params["interval_seconds"] > limits.host_requests_per_second_max + _whisker:
            most = limits.host_requests_per_second_max
            raise TooManySubscriptions(f"one host is asked {most} times a second for an agent: look less often")

    async def _require_calls(self, db: AsyncSession, source: Source) -> None:
        """Refuse one call more than the chain's providers are asked to make at every block. The source is locked."""
        chain = source.params["chain"]
        most = self._calls_max[chain]
        if await store.calls_at(db, source.id) > most:
            raise TooManyCalls(f"this relay makes {most} different calls at every block of {chain}, and no more")

    def _within_reach(self, source: Source, terms: Terms) -> None:
        """Refuse a block that is too far back; where nobody has looked yet, that is found out later."""
        head: int | None = (source.position or {}).get("number")
        if terms.from_block is None or head is None:
            return
        if terms.from_block > head:
            raise InvalidBody.at("/from_block", f"the chain is at block {head}: leave it out to begin there")
        if head - terms.from_block > self._backfill_blocks_max:
            least = head - self._backfill_blocks_max
            raise InvalidBody.at("/from_block", f"this relay goes back {self._backfill_blocks_max} blocks, to {least}")

    def _sighting(self, source_id: str, seq: int, told: Told, now: datetime) -> Sighting:
        return Sighting(
            id=self._ids.new("sgt"),
            source_id=source_id,
            seq=seq,
            event_id=told.event_id,
            kind=told.kind,
            undoes=told.undoes,
            filter_ids=list(told.filter_ids),
            block_number=told.block_number,
            block_hash=told.block_hash,
            payload=payload_of(told),
            seen_at=now,
        )


def _terms(new: NewSubscription) -> Terms:
    """How the feed is to tell what is wanted. What cannot be had of such a source is refused."""
    finality = getattr(new.source, "finality", None)
    if new.from_block is not None and not has_a_past(new.source):
        raise InvalidBody.at("/from_block", f"only {KINDS_WITH_A_PAST} can begin in the past: leave it out")
    if finality is None:
        for name in ("batch", "heartbeat_blocks"):
            if getattr(new, name) is not None:
                raise InvalidBody.at(f"/{name}", "only a chain has blocks; leave it out")
    level = level_of(finality or "latest")
    canonical = "latest" if level.name == "latest" and level.depth == 0 else finality
    return Terms(canonical or "latest", new.batch, new.heartbeat_blocks, new.from_block)


def _concerned(sightings: Sequence[Sighting]) -> Mapping[str, int | None]:
    """The filters that these passed, and from which block on; None where it is not a block that matters."""
    concerned = dict[str, int | None]()
    for each in sightings:
        number = each.block_number if each.undoes is None else None
        for filter_id in each.filter_ids:
            known = concerned.get(filter_id, number)
            concerned[filter_id] = None if known is None or number is None else min(known, number)
    return concerned


def _understood(url: str) -> str:
    """The URL as we understood it."""
    try:
        return str(parse_url(url))
    except BadUrl as bad:
        raise InvalidBody.at("/source/url", str(bad)) from bad


def _shown(row: Row, source: Source, wanted: Filter, feed: Feed, catching: Mapping[str, Catching]) -> Subscription:
    shown = watched(source.params, wanted.spec)
    if "finality" in type(shown).model_fields:
        # It is no part of the filter: feeds of every finality share what passed it.
        shown = shown.model_copy(update={"finality": feed.finality})
    return Subscription.model_validate(
        {
            "id": row.id,
            "source": shown,
            "source_id": source.id,
            "filter_id": wanted.id,
            "feed_id": feed.id,
            "joins_after": {"seq": row.after_seq, "hash": row.after_hash},
            "batch": feed.batch,
            "heartbeat_blocks": feed.heartbeat_blocks,
            "endpoint_id": row.endpoint_id,
            "description": row.description,
            "catching_up": _progress(feed, catching[feed.id]) if feed.id in catching else None,
            "state": _state(row, source, feed),
            "state_reason": source.state_reason,
            "begins_after": row.begins_after,
            "trouble": wanted.trouble,
            "created_at": row.created_at,
        }
    )


def _state(row: Row, source: Source, feed: Feed) -> str:
    if row.begins_after is None:
        return "starting"
    return "catching_up" if feed.is_catching_up and source.state == "active" else source.state


def _progress(feed: Feed, catching: Catching) -> dict[str, Any]:
    progress = {"next_block": catching.next_block, "until_block": catching.until_block}
    return {"from_block": feed.from_block, **progress, "last_error": catching.last_error}


def _page(found: Sequence[FeedEntry], after: int, *, exact: bool) -> EventPage:
    next = pages.encode(f"{_CURSOR}{found[-1].seq if found else after}")
    if exact:
        return EventPage(items=[], bodies=[each.body for each in found], next=next)
    items = ",".join(each.body for each in found)
    return EventPage.model_validate_json(f'{{"items":[{items}],"next":{json.dumps(next)}}}')


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    position = _POSITION.fullmatch(pages.decode(cursor) or "")
    if position is None:
        raise InvalidCursor
    return int(position[1])
