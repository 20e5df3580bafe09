"""Feeds: what all hear who want the same in the same way, as one sequence that each of them can check.

Every entry says its number, `seq`, and in `prev` the SHA-256 of the entry before it, of the very bytes that were rung.
Rings come at least once and in any order. A `Follower` takes them as they come, gives the entries back in order, each
once, and says when the sequence does not hold:

>>> first = '{"type":"event.matched","data":{"feed_id":"fed_1","seq":1,"prev":"%s","event_id":"evt_1"}}'
>>> first = (first % beginning_hash).encode()
>>> follower = Follower("fed_1")
>>> follower.take(first)
InOrder(entries=(Entry(seq=1, type='event.matched'),))
>>> follower.take(first)
Repeated(seq=1)
>>> follower.take(first.replace(b'"seq":1', b'"seq":3'))
Gap(after_seq=1, before_seq=3)
>>> follower.take(first.replace(b"evt_1", b"evt_2"))
Fork(seq=1, reason='this entry is not the one that was told before under its number')

`Standing` keeps what has been told and not been taken back.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = [
    "Entry",
    "Follower",
    "Fork",
    "Gap",
    "InOrder",
    "Repeated",
    "Standing",
    "Taken",
    "beginning_hash",
    "hash_of",
]

beginning_hash = "0" * 64
"""The `prev` of a feed's first entry."""

_held_max = 1_000
_remembered_max = 1_000


def hash_of(body: bytes) -> str:
    """What the entry after this one says in `prev`."""
    return hashlib.sha256(body).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a feed, as it was rung."""

    seq: int
    type: str
    data: Mapping[str, Any] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class InOrder:
    """What comes next, in order: this entry, and those that were held back for it."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Repeated:
    """An entry that was taken already."""

    seq: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries are missing between these two numbers. Those that came too early are held back: wait, then read them."""

    after_seq: int
    before_seq: int


@dataclass(frozen=True, slots=True)
class Fork:
    """The sequence does not hold: the relay has told two stories, or this entry is none of its own."""

    seq: int
    reason: str


Taken: TypeAlias = InOrder | Repeated | Gap | Fork


class Follower:
    """Takes the entries of one feed as they come. It begins after an entry: `joins_after` of the subscription."""

    def __init__(self, feed_id: str, seq: int = 0, hash: str = beginning_hash, *, held_max: int = _held_max) -> None:
        self.feed_id = feed_id
        self.seq = seq
        self.hash = hash
        self._held: dict[int, Entry] = {}
        self._held_max = held_max
        # Of the newest entries: enough to tell the same entry again from another with its number.
        self._hashes = OrderedDict({seq: hash})

    def begin_with(self, body: bytes, *, whatever_was_before: bool = False) -> None:
        """Begin with this entry, where the next would be an older one: what was before it is no longer kept by anybody.

        That it was there is then taken on trust; `whatever_was_before`: also of the one just before it. Raises
        ValueError for what is no entry.
        """
        entry = _read(body)
        if entry.seq > self.seq + (0 if whatever_was_before else 1):
            self.seq, self.hash = entry.seq - 1, str(entry.data.get("prev"))
            self._hashes = OrderedDict({self.seq: self.hash})

    def take(self, body: bytes) -> Taken:
        """Take one entry, verified as a webhook or read from the relay. Raises ValueError for what is none."""
        entry = _read(body)
        if entry.data.get("feed_id") != self.feed_id:
            raise ValueError(f"this is an entry of the feed {entry.data.get('feed_id')}, not of {self.feed_id}")
        if entry.seq <= self.seq:
            known = self._hashes.get(entry.seq)
            if known is not None and known != hash_of(body):
                return Fork(entry.seq, "this entry is not the one that was told before under its number")
            return Repeated(entry.seq)
        held = self._held.get(entry.seq)
        if held is not None and held.body != body:
            return Fork(entry.seq, "two entries came with this number")
        if entry.seq > self.seq + 1:
            if held is None and len(self._held) < self._held_max:
                self._held[entry.seq] = entry
            return Gap(self.seq, min([entry.seq, *self._held]))
        self._held[entry.seq] = entry
        return self._released()

    def _released(self) -> InOrder | Fork:
        """All that is held and comes next."""
        entries = list[Entry]()
        while (entry := self._held.get(self.seq + 1)) is not None:
            if entry.data.get("prev") != self.hash:
                if entries:
                    break  # what came before it holds; this one is looked at when it is taken again
                del self._held[entry.seq]
                return Fork(entry.seq, "its prev is not the hash of the entry before it")
            del self._held[entry.seq]
            self.seq, self.hash = entry.seq, hash_of(entry.body)
            self._hashes[self.seq] = self.hash
            if len(self._hashes) > _remembered_max:
                self._hashes.popitem(last=False)
            entries.append(entry)
        return InOrder(tuple(entries))


class Standing:
    """What a feed has told and not taken back, by event id, in the order in which it was told."""

    def __init__(self) -> None:
        self.events: dict[str, Mapping[str, Any]] = {}

    def take(self, entry: Entry) -> None:
        """Take the next entry. What it takes back and was not told here was told before we joined."""
        for type, item in _items(entry):
            if type == "event.matched":
                self.events[item["event_id"]] = item
            elif type == "event.retracted":
                self.events.pop(item["retracts"], None)


def _items(entry: Entry) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if entry.type == "event.batch":
        yield from ((item["type"], item) for item in entry.data["items"])
    else:
        yield entry.type, entry.data


def _read(body: bytes) -> Entry:
    try:
        ring = json.loads(body)
        data, seq = dict[str, Any](ring["data"]), ring["data"]["seq"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError("this is no entry of a feed") from error
    if type(seq) is not int or seq < 1:
        raise ValueError("this is no entry of a feed: its seq is no number")
    return Entry(seq, str(ring.get("type")), data, body)
