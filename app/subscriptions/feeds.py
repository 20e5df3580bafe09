"""What a feed says next, and to whom: decided here, without I/O, from what its source has seen.

A feed is one sequence for all who hear it. Each entry has a number, `seq`, and the hash of the entry before, `prev`, so
that whoever holds some of them can tell whether they belong together and whether one is missing.

The finality of a feed is a delayed read: an event is told once its block is as deep as the feed wants it, if it is
still there. What a fork brought and took away between two readings is told to nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby, takewhile
from typing import Any, TypeAlias

import orjson

from tocsin.feeds import hash_of
from tocsin.schemas.wire import rfc3339

__all__ = [
    "Entry",
    "Feed",
    "Hearer",
    "Level",
    "Portion",
    "Retracting",
    "Seen",
    "Step",
    "Terms",
    "View",
    "level_of",
    "past",
    "portion",
    "step",
    "told_in",
]

_CONFIRMATIONS = re.compile(r"confirmations:([0-9]+)")


@dataclass(frozen=True, slots=True)
class Level:
    """How deep a block has to be: `depth` blocks below the head of this name."""

    name: str
    depth: int = 0

    def head(self, position: Mapping[str, Any] | None) -> int | None:
        """The newest block that is deep enough, where the source stands; None where nobody knows."""
        number = (position or {}).get("number" if self.name == "latest" else self.name)
        return None if number is None else number - self.depth


def level_of(finality: str) -> Level:
    """What `latest`, `safe`, `finalized` or `confirmations:n` asks for."""
    if found := _CONFIRMATIONS.fullmatch(finality):
        return Level("latest", int(found[1]))
    return Level(finality)


@dataclass(frozen=True, slots=True)
class Terms:
    """How a feed tells what its filter lets through."""

    finality: str = "latest"
    batch: str | None = None
    heartbeat_blocks: int | None = None
    from_block: int | None = None

    @property
    def level(self) -> Level:
        return level_of(self.finality)


@dataclass(frozen=True, slots=True)
class Feed:
    """Where a feed has got to."""

    id: str
    source_id: str
    filter_id: str
    terms: Terms
    seq: int
    hash: str
    read_seq: int
    released_seq: int
    sent_seq: int
    sent_to: str
    spoke_at: int | None
    after_block: int | None = None
    is_catching_up: bool = False


# What its source has seen, for it.


@dataclass(frozen=True, slots=True)
class Seen:
    """A sighting that stands, and that the feed has not told. The payload is JSON."""

    seq: int
    event_id: str
    kind: str
    payload: str
    seen_at: datetime
    block_number: int | None
    block_hash: str | None


@dataclass(frozen=True, slots=True)
class Retracting:
    """An event that the feed has told by its entry `told_seq`, and that does not stand any more."""

    told_seq: int
    event_id: str
    kind: str
    payload: str
    seen_at: datetime
    block_number: int | None
    block_hash: str | None


Item: TypeAlias = Seen | Retracting


@dataclass(frozen=True, slots=True)
class View:
    """What there is to say: what has to be taken back, newest first, and what may be told, in the source's order.

    Both are cut after as many as were asked for, or before: where there is `more`, as all of it would be too large.
    `seq` and `position` are where the source stands.
    """

    seq: int
    position: Mapping[str, Any] | None
    retracting: Sequence[Retracting]
    seen: Sequence[Seen]
    retracting_more: bool = False
    seen_more: bool = False


# What it says.


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, ready to be rung, and the events that it tells or takes back."""

    seq: int
    type: str
    body: str
    told: Sequence[Seen] = ()
    retracted: Sequence[Retracting] = ()
    event_ids: Sequence[str] = ()
    """Of all events that it says something of."""


@dataclass(frozen=True, slots=True)
class Step:
    """New entries, and where the feed has got to with them.

    `attention_at` is the head at which there will be something to say, `more` whether there is now.
    """

    feed: Feed
    entries: Sequence[Entry]
    attention_at: int | None
    more: bool


def step(feed: Feed, view: View, now: datetime, *, items_max: int, batch_bytes_max: int) -> Step:
    """What the feed says next. `view` holds up to `items_max` to take back, and one more than that to tell."""
    level = feed.terms.level
    head = level.head(view.position)
    if len(view.retracting) >= items_max or view.retracting_more:
        # First all of what has to be taken back; nothing is passed over meanwhile.
        said, entries = _written(feed, view.retracting, now, batch_bytes_max)
        return Step(said, entries, None, more=True)
    ready = list(takewhile(lambda each: _is_deep_enough(each, head), view.seen))
    # Where all that was read is deep enough, so may be what was not.
    more = len(ready) > items_max or (view.seen_more and len(ready) == len(view.seen))
    released, waiting = ready[:items_max], view.seen[len(ready) :]
    said, entries = _written(feed, [*view.retracting, *released], now, batch_bytes_max)
    if more:
        return Step(replace(said, read_seq=view.seq, released_seq=released[-1].seq), entries, None, more=True)
    released_seq = waiting[0].seq - 1 if waiting else view.seq
    said = replace(said, read_seq=view.seq, released_seq=released_seq)
    said, heartbeat = _heard(said, view, head, spoke=bool(entries), now=now)
    heads = [each.block_number for each in waiting[:1] if each.block_number is not None]
    if said.terms.heartbeat_blocks is not None:
        heads.append(0 if said.spoke_at is None else said.spoke_at + said.terms.heartbeat_blocks)
    return Step(said, [*entries, *heartbeat], min(heads) + level.depth if heads else None, more=False)


def past(feed: Feed, seen: Sequence[Seen], now: datetime, *, batch_bytes_max: int) -> Step:
    """What the feed says of blocks from before it was there. They are final: nothing of it is ever taken back."""
    said, entries = _written(feed, seen, now, batch_bytes_max)
    return Step(said, [replace(each, told=()) for each in entries], None, more=True)


def told_in(body: str, event_id: str) -> tuple[str, Mapping[str, Any]]:
    """What an entry says of one of its events, and with which type: what is true of it last."""
    said = orjson.loads(body)
    items = said["data"].get("items")
    if items is None:
        return said["type"], said["data"]
    item = next(each for each in reversed(items) if each["event_id"] == event_id)
    return item["type"], item


def _is_deep_enough(seen: Seen, head: int | None) -> bool:
    # What is on no chain is final when it is seen.
    return seen.block_number is None or (head is not None and seen.block_number <= head)


def _written(feed: Feed, items: Sequence[Item], now: datetime, batch_bytes_max: int) -> tuple[Feed, list[Entry]]:
    """The entries that say this, and the feed after them."""
    groups = _batches(items, batch_bytes_max) if feed.terms.batch else [(each,) for each in items]
    entries = list[Entry]()
    for group in groups:
        feed, entry = _next(feed, *(_batch(group) if feed.terms.batch else _single(group[0])), now)
        told = [each for each in group if isinstance(each, Seen)]
        retracted = [each for each in group if isinstance(each, Retracting)]
        event_ids = [each.event_id for each in group]
        entries.append(replace(entry, told=told, retracted=retracted, event_ids=event_ids))
    return feed, entries


def _next(feed: Feed, type: str, data: Mapping[str, Any], now: datetime) -> tuple[Feed, Entry]:
    """The entry after the last, and the feed that ends with it."""
    seq = feed.seq + 1
    place = {"feed_id": feed.id, "seq": seq, "prev": feed.hash, "source_id": feed.source_id}
    body = orjson.dumps({"type": type, "timestamp": rfc3339(now), "data": {**place, **data}})
    return replace(feed, seq=seq, hash=hash_of(body)), Entry(seq, type, body.decode())


def _single(item: Item) -> tuple[str, dict[str, Any]]:
    said: dict[str, Any] = {
        "event_id": item.event_id,
        "kind": item.kind,
        "observed_at": rfc3339(item.seen_at),
        "payload": orjson.Fragment(item.payload),
    }
    if isinstance(item, Seen):
        return "event.matched", said
    return "event.retracted", said | {"retracts": item.event_id, "retracts_seq": item.told_seq}


def _batch(items: Sequence[Item]) -> tuple[str, dict[str, Any]]:
    block = {"number": items[0].block_number, "hash": items[0].block_hash}
    said = [{"type": type, **data} for type, data in map(_single, items)]
    return "event.batch", {"block": block, "items": said}


def _batches(items: Sequence[Item], bytes_max: int) -> Iterator[Sequence[Item]]:
    """All of one block together, but no more than fits; always at least one."""
    for _, group in groupby(items, lambda each: (type(each), each.block_hash)):
        batch, size = list[Item](), 0
        for each in group:
            if batch and size + len(each.payload) > bytes_max:
                yield batch
                batch, size = [], 0
            batch.append(each)
            size += len(each.payload)
        yield batch


def _heard(feed: Feed, view: View, head: int | None, *, spoke: bool, now: datetime) -> tuple[Feed, list[Entry]]:
    """The feed once it has said all that there is up to `head`, with the heartbeat if it is time for one."""
    if head is None or feed.terms.heartbeat_blocks is None:
        return feed, []
    if spoke or feed.spoke_at is None:
        return replace(feed, spoke_at=head), []
    if head < feed.spoke_at + feed.terms.heartbeat_blocks:
        return feed, []
    position = view.position or {}
    through = {"number": head, "hash": position.get("hash") if position.get("number") == head else None}
    data = {"observed_at": rfc3339(now), "after": feed.spoke_at, "through": through}
    feed, entry = _next(feed, "subscription.heartbeat", data, now)
    return replace(feed, spoke_at=head), [entry]


# To whom it says it.


@dataclass(frozen=True, slots=True)
class Hearer:
    """An endpoint that hears a feed, from the first entry after `after_seq` on."""

    endpoint_id: str
    after_seq: int


@dataclass(frozen=True, slots=True)
class Portion:
    """Entries that go out now, each with the endpoints it goes to, and how far the feed has been sent with them."""

    outgoing: Sequence[tuple[Entry, Sequence[str]]]
    sent_seq: int
    sent_to: str
    deliveries: int


def portion(feed: Feed, entries: Sequence[Entry], hearers: Sequence[Hearer], *, room: int) -> Portion:
    """As much as one transaction should hold of the entries that are not sent, oldest first.

    `hearers` are those after `sent_to`, in order, and more than `room` where there are more.
    """
    nothing = Portion((), feed.sent_seq, feed.sent_to, 0)
    if not entries or (room <= 0 and hearers):
        return nothing
    if len(hearers) > room:
        # More than fit: one entry, and a part of those who hear it.
        now = hearers[:room]
        return Portion(_to(entries[:1], now), feed.sent_seq, now[-1].endpoint_id, room)
    # The first entry may have gone to others already; then it is the only one that these are all who are left for.
    fits = 1 if feed.sent_to else (max(1, room // len(hearers)) if hearers else len(entries))
    now_sent = entries[:fits]
    return Portion(_to(now_sent, hearers), now_sent[-1].seq, "", len(now_sent) * len(hearers))


def _to(entries: Sequence[Entry], hearers: Sequence[Hearer]) -> Sequence[tuple[Entry, Sequence[str]]]:
    """These entries, each with those who have joined before it."""
    addressed = [(each, [hearer.endpoint_id for hearer in hearers if hearer.after_seq < each.seq]) for each in entries]
    return [(each, endpoint_ids) for each, endpoint_ids in addressed if endpoint_ids]
