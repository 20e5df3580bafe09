"""Whatever a chain does and whenever a feed looks: replaying what it said gives what the chain itself shows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.subscriptions.feeds import Entry, Feed, Hearer, Retracting, Seen, Terms, View, portion, step
from tests.feeding import replayed
from tocsin.feeds import beginning_hash, hash_of

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
FINALITIES = ("latest", "safe", "finalized", "confirmations:1", "confirmations:3")


@dataclass
class Sighting:
    seq: int
    event_id: str
    number: int
    undoes: int | None = None
    is_undone: bool = False


@dataclass
class Record:
    """What a source has seen, as the relay keeps it, and the chain that it saw."""

    sightings: list[Sighting] = field(default_factory=list[Sighting])
    blocks: list[tuple[str, ...]] = field(default_factory=lambda: [()])
    forgotten: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    safe: int = 0
    made: int = 0

    @property
    def tip(self) -> int:
        return len(self.blocks) - 1

    @property
    def position(self) -> dict[str, Any]:
        heads = {"safe": self.safe, "finalized": max(0, self.safe - 1)}
        return {"number": self.tip, "hash": f"0x{self.tip}", **heads}

    def add(self, events: int) -> None:
        self.made += 1
        self.put(tuple(f"evt_{self.made}_{n}" for n in range(events)))

    def put(self, block: tuple[str, ...]) -> None:
        self.blocks.append(block)
        for event in block:
            self.sightings.append(Sighting(len(self.sightings) + 1, event, self.tip))

    def undo(self, depth: int) -> None:
        for _ in range(min(depth, self.tip - self.safe)):
            gone = {each.event_id: each for each in self.sightings if each.undoes is None and not each.is_undone}
            for event in reversed(self.blocks[-1]):
                gone[event].is_undone = True
                seq = len(self.sightings) + 1
                self.sightings.append(Sighting(seq, event, self.tip, undoes=gone[event].seq))
            self.forgotten.append(self.blocks.pop())

    def come_back(self) -> None:
        """A block that went is there again, where the chain ends as it did then."""
        if self.forgotten:
            self.put(self.forgotten.pop())

    def reading(self, head: int) -> list[str]:
        return [event for block in self.blocks[: max(0, head + 1)] for event in block]

    def view(self, feed: Feed, told: dict[str, int], limit: int) -> View:
        standing = {each.event_id for each in self.sightings if each.undoes is None and not each.is_undone}
        undone = {
            each.event_id: each for each in self.sightings if each.undoes is not None and each.seq > feed.read_seq
        }
        gone = sorted((told[event], event) for event in undone if event in told and event not in standing)
        retracting = [
            Retracting(seq, event, "evm.log", "{}", NOW, undone[event].number, f"0x{undone[event].number}")
            for seq, event in reversed(gone)
        ]
        seen = [
            Seen(each.seq, each.event_id, "evm.log", "{}", NOW, each.number, f"0x{each.number}")
            for each in self.sightings
            if each.seq > feed.released_seq and each.undoes is None and not each.is_undone and each.event_id not in told
        ]
        return View(len(self.sightings), self.position, retracting[:limit], seen[: limit + 1])


@dataclass
class Telling:
    """A feed that looks at a record, and what it has said."""

    feed: Feed
    told: dict[str, int] = field(default_factory=dict[str, int])
    bodies: list[bytes] = field(default_factory=list[bytes])

    def look(self, record: Record, items_max: int) -> bool:
        """Look once; whether there is more."""
        view = record.view(self.feed, self.told, items_max)
        after = step(self.feed, view, NOW, items_max=items_max, batch_bytes_max=5)
        for entry in after.entries:
            for each in entry.retracted:
                del self.told[each.event_id]
            for each in entry.told:
                self.told[each.event_id] = entry.seq
            self.bodies.append(entry.body.encode())
        self.feed = after.feed
        return after.more


def feeds() -> st.SearchStrategy[Terms]:
    return st.builds(
        Terms, st.sampled_from(FINALITIES), st.sampled_from([None, "block"]), st.sampled_from([None, None, 1, 4])
    )


moves = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 4)),
    st.tuples(st.just("undo"), st.integers(1, 5)),
    st.tuples(st.just("come back"), st.just(0)),
    st.tuples(st.just("safe"), st.integers(0, 3)),
    st.tuples(st.just("look"), st.integers(1, 3)),
)


@given(feeds(), st.lists(moves, max_size=40), st.integers(1, 5))
def test_replaying_a_feed_gives_an_independent_reading(
    terms: Terms, history: list[tuple[str, int]], items_max: int
) -> None:
    record = Record()
    feed = Feed("fed_1", "src_1", "flt_1", terms, 0, beginning_hash, 0, 0, 0, "", None)
    telling = Telling(feed)
    for move, amount in history:
        match move:
            case "add":
                record.forgotten.clear()
                record.add(amount)
            case "undo":
                record.undo(amount)
            case "come back":
                record.come_back()
            case "safe":
                record.safe = min(record.tip, record.safe + amount)
            case _:
                for _ in range(amount):
                    telling.look(record, items_max)
        # At any moment what it has said holds together.
        replayed(telling.bodies)
    for _ in range(4):
        record.add(0)
    record.safe = record.tip
    while telling.look(record, items_max):
        pass
    # Four blocks without events lie on top: what is not final by then was never there.
    assert replayed(telling.bodies) == record.reading(record.tip)
    if terms.finality == "finalized":
        assert not any(b"event.retracted" in body for body in telling.bodies)


@given(
    st.lists(st.integers(0, 6), max_size=9),
    st.integers(1, 6),
    st.integers(1, 8),
)
def test_portions_reach_everybody_once(joined: list[int], entries: int, room: int) -> None:
    feed = Feed("fed_1", "src_1", "flt_1", Terms(), entries, "", 0, 0, 0, "", None)
    hearers = [Hearer(f"ep_{place}", after) for place, after in enumerate(joined)]
    made = [Entry(seq, "event.matched", hash_of(bytes([seq]))) for seq in range(1, entries + 1)]
    heard: list[tuple[int, str]] = []
    while feed.sent_seq < feed.seq:
        left = [each for each in hearers if each.endpoint_id > feed.sent_to][: room + 1]
        out = portion(feed, [each for each in made if each.seq > feed.sent_seq], left, room=room)
        assert (out.sent_seq, out.sent_to) != (feed.sent_seq, feed.sent_to)
        assert out.deliveries <= room
        heard += [(entry.seq, name) for entry, names in out.outgoing for name in names]
        feed = replace(feed, sent_seq=out.sent_seq, sent_to=out.sent_to)
    assert heard == [(each.seq, one.endpoint_id) for each in made for one in hearers if one.after_seq < each.seq]
