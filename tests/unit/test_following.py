"""Following a subscription with the client: in order, from where one left off, and refused where it does not hold."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tocsin import AsyncClient, Client, PrivateKey
from tocsin.client import BrokenSequence
from tocsin.feeds import beginning_hash, hash_of
from tocsin.schemas.subscriptions import FeedPosition

SUBSCRIPTION: dict[str, Any] = {
    "id": "sub_1",
    "source": {"kind": "http.json", "url": "https://example.org/price", "interval": "PT1M", "pointer": ""},
    "source_id": "src_1",
    "filter_id": "flt_1",
    "feed_id": "fed_1",
    "joins_after": {"seq": 0, "hash": beginning_hash},
    "state": "active",
    "created_at": "2026-11-22T09:00:00.000Z",
}


def feed(count: int, salt: str = "") -> list[str]:
    bodies = list[str]()
    prev = beginning_hash
    for seq in range(1, count + 1):
        data = {"feed_id": "fed_1", "seq": seq, "prev": prev, "event_id": f"evt_{seq}", "salt": salt}
        bodies.append(json.dumps({"type": "event.matched", "data": data}))
        prev = hash_of(bodies[-1].encode())
    return bodies


def relay(bodies: list[str]) -> httpx.MockTransport:
    """A relay with these entries, two to a page."""

    def answer(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/events"):
            return httpx.Response(200, json=SUBSCRIPTION)
        after = int(request.url.params["after_seq"])
        later = [body for body in bodies if json.loads(body)["data"]["seq"] > after]
        return httpx.Response(200, json={"items": [], "bodies": later[:2], "next": "x"})

    return httpx.MockTransport(answer)


def client(bodies: list[str]) -> Client:
    return Client("http://relay.test", PrivateKey.generate(), transport=relay(bodies))


def test_entries_come_in_order_page_after_page() -> None:
    followed = client(feed(5)).subscriptions.follow("sub_1", wait_seconds=0)
    assert [entry.body.decode() for entry in followed] == feed(5)


async def test_it_is_the_same_for_those_who_await() -> None:
    relaying = AsyncClient("http://relay.test", PrivateKey.generate(), transport=relay(feed(3)))
    assert [entry.seq async for entry in relaying.subscriptions.follow("sub_1", wait_seconds=0)] == [1, 2, 3]


def test_one_goes_on_from_where_one_was() -> None:
    last = FeedPosition(seq=2, hash=hash_of(feed(2)[-1].encode()))
    assert [entry.seq for entry in client(feed(4)).subscriptions.follow("sub_1", last, wait_seconds=0)] == [3, 4]


def test_another_story_is_found_out() -> None:
    followed = client([*feed(2), *feed(3, salt="other")[2:]]).subscriptions.follow("sub_1", wait_seconds=0)
    assert [next(followed).seq, next(followed).seq] == [1, 2]
    with pytest.raises(BrokenSequence, match="entry 3: its prev is not the hash of the entry before it"):
        next(followed)


def test_an_entry_that_was_kept_back_is_missed() -> None:
    bodies = feed(3)
    followed = client([bodies[0], bodies[2]]).subscriptions.follow("sub_1", wait_seconds=0)
    assert next(followed).seq == 1
    with pytest.raises(BrokenSequence, match="entry 2: it is missing: the relay goes on with 3"):
        next(followed)


def test_whoever_names_no_place_begins_with_the_oldest_that_is_kept() -> None:
    followed = client(feed(5)[3:]).subscriptions.follow("sub_1", wait_seconds=0)
    assert [entry.seq for entry in followed] == [4, 5]


def test_whoever_names_a_place_misses_what_is_not_kept() -> None:
    last = FeedPosition(seq=1, hash=hash_of(feed(1)[0].encode()))
    with pytest.raises(BrokenSequence, match="entry 2: it is missing"):
        next(client(feed(5)[3:]).subscriptions.follow("sub_1", last, wait_seconds=0))


def test_after_the_oldest_nothing_may_be_missing() -> None:
    bodies = feed(5)
    followed = client([bodies[2], bodies[4]]).subscriptions.follow("sub_1", wait_seconds=0)
    assert next(followed).seq == 3
    with pytest.raises(BrokenSequence, match="entry 4: it is missing"):
        next(followed)


def test_it_may_begin_after_a_number_alone() -> None:
    followed = client(feed(5)).subscriptions.follow("sub_1", 3, wait_seconds=0)
    assert [entry.seq for entry in followed] == [4, 5]


def test_from_a_number_on_the_sequence_has_to_hold() -> None:
    followed = client([feed(4)[3], feed(5, salt="other")[4]]).subscriptions.follow("sub_1", 3, wait_seconds=0)
    assert next(followed).seq == 4
    with pytest.raises(BrokenSequence, match="entry 5"):
        next(followed)


def test_where_the_number_is_that_of_the_beginning_nothing_is_believed() -> None:
    followed = client(feed(2, salt="other")[1:]).subscriptions.follow("sub_1", 0, wait_seconds=0)
    assert [entry.seq for entry in followed] == [2]  # the first is forgotten
    joined = client([feed(1)[0], feed(2, salt="other")[1]]).subscriptions.follow("sub_1", 0, wait_seconds=0)
    assert next(joined).seq == 1
    with pytest.raises(BrokenSequence, match="entry 2"):
        next(joined)
