"""Following a feed: entries come at least once and in any order, and a sequence that does not hold is found out."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from tocsin.feeds import Follower, Fork, Gap, InOrder, Repeated, Standing, beginning_hash, hash_of


def feed(*types: str, salt: str = "") -> list[bytes]:
    """Bodies of a feed with one event each; a type with a colon names the event."""
    bodies = list[bytes]()
    prev = beginning_hash
    for seq, each in enumerate(types, 1):
        type, _, name = each.partition(":")
        event = name or f"evt_{seq}"
        data: dict[str, Any] = {"feed_id": "fed_1", "seq": seq, "prev": prev, "event_id": event, "salt": salt}
        data |= {"retracts": event, "retracts_seq": 1} if type == "event.retracted" else {}
        bodies.append(json.dumps({"type": type, "data": data}).encode())
        prev = hash_of(bodies[-1])
    return bodies


FOUR = feed(*["event.matched"] * 4)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_whatever_order_they_come_in_they_are_given_in_theirs(order: tuple[int, ...]) -> None:
    follower = Follower("fed_1")
    taken = [follower.take(FOUR[place]) for place in order]
    given = [entry.body for each in taken if isinstance(each, InOrder) for entry in each.entries]
    assert given == FOUR
    assert all(isinstance(each, InOrder | Gap) for each in taken)


def test_what_comes_again_is_given_once() -> None:
    follower = Follower("fed_1")
    follower.take(FOUR[0])
    assert follower.take(FOUR[0]) == Repeated(1)
    assert isinstance(follower.take(FOUR[1]), InOrder)


def test_a_gap_says_what_is_missing() -> None:
    follower = Follower("fed_1")
    follower.take(FOUR[0])
    assert follower.take(FOUR[3]) == Gap(1, 4)
    assert follower.take(FOUR[2]) == Gap(1, 3)
    assert follower.take(FOUR[2]) == Gap(1, 3)


def test_another_entry_under_a_known_number_is_a_fork() -> None:
    follower = Follower("fed_1")
    follower.take(FOUR[0])
    other = feed("event.matched", salt="other")
    assert isinstance(follower.take(other[0]), Fork)


def test_two_entries_with_one_number_are_a_fork_before_their_turn() -> None:
    follower = Follower("fed_1")
    follower.take(FOUR[2])
    assert isinstance(follower.take(feed(*["event.matched"] * 3, salt="other")[2]), Fork)


def test_an_entry_that_follows_another_story_is_a_fork() -> None:
    follower = Follower("fed_1")
    follower.take(FOUR[0])
    taken = follower.take(feed(*["event.matched"] * 2, salt="other")[1])
    assert taken == Fork(2, "its prev is not the hash of the entry before it")
    # The true one is still taken.
    assert isinstance(follower.take(FOUR[1]), InOrder)


def test_what_was_held_back_must_follow_too() -> None:
    follower = Follower("fed_1")
    other = feed(*["event.matched"] * 3, salt="other")
    follower.take(other[2])
    follower.take(FOUR[0])
    taken = follower.take(FOUR[1])
    assert isinstance(taken, InOrder)
    assert [entry.seq for entry in taken.entries] == [2]
    assert isinstance(follower.take(FOUR[2]), Fork)


def test_one_joins_in_the_middle() -> None:
    follower = Follower("fed_1", 2, hash_of(FOUR[1]))
    assert follower.take(FOUR[1]) == Repeated(2)
    assert isinstance(follower.take(FOUR[2]), InOrder)
    assert isinstance(Follower("fed_1", 2, "ab" * 32).take(FOUR[2]), Fork)


def test_no_more_is_held_back_than_the_bound() -> None:
    follower = Follower("fed_1", held_max=1)
    follower.take(FOUR[1])
    follower.take(FOUR[2])
    taken = follower.take(FOUR[0])
    assert isinstance(taken, InOrder)
    assert [entry.seq for entry in taken.entries] == [1, 2]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data":{}}', b'{"data":{"seq":"1"}}', b'{"data":{"seq":0}}'])
def test_what_is_no_entry_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="this is no entry of a feed"):
        Follower("fed_1").take(body)


def test_an_entry_of_another_feed_is_refused() -> None:
    with pytest.raises(ValueError, match="of the feed fed_1, not of fed_2"):
        Follower("fed_2").take(FOUR[0])


def test_what_was_taken_back_does_not_stand() -> None:
    batch = {
        "feed_id": "fed_1",
        "seq": 4,
        "items": [
            {"type": "event.retracted", "event_id": "evt_2", "retracts": "evt_2", "retracts_seq": 2},
            {"type": "event.matched", "event_id": "evt_9"},
        ],
    }
    bodies = feed("event.matched", "event.matched", "event.retracted:evt_0")
    batch["prev"] = hash_of(bodies[-1])
    bodies.append(json.dumps({"type": "event.batch", "data": batch}).encode())
    follower, standing = Follower("fed_1"), Standing()
    for body in bodies:
        taken = follower.take(body)
        assert isinstance(taken, InOrder)
        for entry in taken.entries:
            standing.take(entry)
    # evt_0 was told before we joined: taking it back changes nothing.
    assert list(standing.events) == ["evt_1", "evt_9"]
