"""What a feed says next, and to whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from app.subscriptions.feeds import (
    Entry,
    Feed,
    Hearer,
    Portion,
    Retracting,
    Seen,
    Step,
    Terms,
    View,
    level_of,
    portion,
    step,
)
from tocsin.feeds import beginning_hash, hash_of

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


def feed(**members: Any) -> Feed:
    terms = Terms(**{name: members.pop(name) for name in ("finality", "batch", "heartbeat_blocks") if name in members})
    new = Feed("fed_1", "src_1", "flt_1", terms, 0, beginning_hash, 0, 0, 0, "", None)
    return replace(new, **members)


def seen(seq: int, number: int | None = 1, payload: str = "{}") -> Seen:
    hash = None if number is None else f"0x{number:x}"
    return Seen(seq, f"evt_{seq}", "evm.log", payload, NOW, number, hash)


def gone(told_seq: int, number: int = 1) -> Retracting:
    return Retracting(told_seq, f"evt_{told_seq}", "evm.log", '{"replaced_by":null}', NOW, number, f"0x{number:x}")


def at(number: int, **heads: int | None) -> dict[str, Any]:
    return {"number": number, "hash": f"0x{number:x}", **heads}


def said(
    feed: Feed, *things: Seen | Retracting, position: Any = None, items_max: int = 10, bytes_max: int = 1000
) -> Step:
    retracting = [each for each in things if isinstance(each, Retracting)]
    standing = [each for each in things if isinstance(each, Seen)]
    view = View(99, position, retracting, standing)
    return step(feed, view, NOW, items_max=items_max, batch_bytes_max=bytes_max)


def data(entry: Entry) -> dict[str, Any]:
    return orjson.loads(entry.body)["data"]


@pytest.mark.parametrize(
    ("finality", "position", "head"),
    [
        ("latest", at(100), 100),
        ("confirmations:0", at(100), 100),
        ("confirmations:12", at(100), 88),
        ("safe", at(100, safe=90, finalized=80), 90),
        ("finalized", at(100, safe=90, finalized=80), 80),
        ("finalized", at(100, safe=90, finalized=None), None),  # the node does not say
        ("finalized", at(100), None),
        ("latest", None, None),  # nobody has looked yet
        ("latest", {"fetched_at": "2026-11-22T09:00:00.000Z"}, None),  # no chain
    ],
)
def test_a_level_has_a_head(finality: str, position: Any, head: int | None) -> None:
    assert level_of(finality).head(position) == head


def test_each_entry_says_its_number_and_the_hash_of_the_one_before() -> None:
    after = said(feed(seq=7, hash="ab" * 32), seen(1), seen(2), position=at(1))
    first, second = after.entries
    assert [data(each)["seq"] for each in after.entries] == [8, 9]
    assert data(first)["prev"] == "ab" * 32
    assert data(second)["prev"] == hash_of(first.body.encode())
    assert (after.feed.seq, after.feed.hash) == (9, hash_of(second.body.encode()))


def test_a_payload_is_said_as_it_was_kept() -> None:
    payload = '{"wei":115792089237316195423570985008687907853269984665640564039457584007913129639935,"name":"é"}'
    [entry] = said(feed(), seen(1, None, payload)).entries
    assert payload in entry.body


def test_what_is_taken_back_is_said_first_and_names_the_entry_that_told_it() -> None:
    after = said(feed(seq=5), gone(5, 3), gone(4, 2), seen(6, 2), position=at(3))
    assert [each.type for each in after.entries] == ["event.retracted", "event.retracted", "event.matched"]
    assert [data(each)["retracts_seq"] for each in after.entries[:2]] == [5, 4]
    assert [each.event_id for entry in after.entries for each in entry.retracted] == ["evt_5", "evt_4"]
    assert [each.event_id for entry in after.entries for each in entry.told] == ["evt_6"]


def test_an_event_waits_until_its_block_is_deep_enough() -> None:
    deep = feed(finality="confirmations:3")
    after = said(deep, seen(1, 7), seen(2, 8), seen(3, 9), position=at(10))
    assert [entry.told[0].event_id for entry in after.entries] == ["evt_1"]
    # The next one is looked for again, and there will be something to say at block 11.
    assert (after.feed.released_seq, after.feed.read_seq, after.attention_at) == (1, 99, 11)
    assert not after.more


def test_nothing_is_final_while_nobody_says_what_is() -> None:
    after = said(feed(finality="finalized"), seen(1, 7), position=at(1000, finalized=None))
    assert after.entries == []
    assert (after.feed.released_seq, after.attention_at) == (0, 7)


def test_what_is_on_no_chain_does_not_wait() -> None:
    after = said(feed(), seen(1, None), seen(2, None))
    assert len(after.entries) == 2
    assert (after.feed.released_seq, after.attention_at, after.more) == (99, None, False)


def test_more_than_one_step_should_say_is_said_in_several() -> None:
    after = said(feed(), seen(1), seen(2), seen(3), position=at(1), items_max=2)
    assert [data(each)["event_id"] for each in after.entries] == ["evt_1", "evt_2"]
    assert (after.feed.released_seq, after.more) == (2, True)


def test_while_there_may_be_more_to_take_back_nothing_is_passed_over() -> None:
    after = said(feed(seq=9, read_seq=3, released_seq=3), gone(9), gone(8), seen(10), position=at(1), items_max=2)
    assert [each.type for each in after.entries] == ["event.retracted"] * 2
    assert (after.feed.read_seq, after.feed.released_seq, after.more) == (3, 3, True)


def test_what_is_too_large_to_be_said_at_once_is_said_in_several_steps() -> None:
    view = View(99, at(5), [], [seen(1, 1), seen(2, 2)], seen_more=True)
    after = step(feed(), view, NOW, items_max=10, batch_bytes_max=1000)
    assert len(after.entries) == 2
    assert (after.feed.released_seq, after.more) == (2, True)
    # What waits for its block does so whether or not more was read.
    waits = step(feed(finality="confirmations:4"), view, NOW, items_max=10, batch_bytes_max=1000)
    assert (waits.feed.released_seq, waits.more, waits.attention_at) == (1, False, 6)


def test_what_is_too_large_to_be_taken_back_at_once_comes_first_and_in_several_steps() -> None:
    view = View(99, at(5), [gone(9)], [seen(10)], retracting_more=True)
    after = step(feed(seq=9, read_seq=3, released_seq=3), view, NOW, items_max=10, batch_bytes_max=1000)
    assert [each.type for each in after.entries] == ["event.retracted"]
    assert (after.feed.read_seq, after.feed.released_seq, after.more) == (3, 3, True)


def test_a_batch_holds_all_of_a_block() -> None:
    after = said(feed(batch="block"), gone(3, 1), seen(4, 1), seen(5, 1), seen(6, 2), position=at(2))
    batches = [data(each) for each in after.entries]
    assert {each.type for each in after.entries} == {"event.batch"}
    assert [[item["event_id"] for item in each["items"]] for each in batches] == [
        ["evt_3"],
        ["evt_4", "evt_5"],
        ["evt_6"],
    ]
    assert [each["block"]["number"] for each in batches] == [1, 1, 2]
    assert batches[0]["items"][0]["type"] == "event.retracted"


def test_a_batch_that_grows_too_large_is_split() -> None:
    large = '{"data":"' + "0" * 400 + '"}'
    after = said(feed(batch="block"), *(seen(n, 1, large) for n in range(1, 6)), position=at(1))
    assert [len(data(each)["items"]) for each in after.entries] == [2, 2, 1]
    huge = '{"data":"' + "0" * 4_000 + '"}'
    assert len(said(feed(batch="block"), seen(1, 1, huge), position=at(1)).entries) == 1


def test_a_heartbeat_says_that_nothing_was_there_to_say() -> None:
    beating = feed(heartbeat_blocks=5)
    begun = said(beating, position=at(100))
    assert (begun.entries, begun.attention_at) == ([], 105)
    early = said(begun.feed, position=at(104))
    assert (early.entries, early.attention_at) == ([], 105)
    [beat] = (due := said(early.feed, position=at(106))).entries
    assert beat.type == "subscription.heartbeat"
    assert data(beat)["after"] == 100
    assert data(beat)["through"] == {"number": 106, "hash": "0x6a"}
    assert (data(beat)["seq"], due.attention_at) == (1, 111)


def test_what_was_said_stands_for_a_heartbeat() -> None:
    after = said(feed(heartbeat_blocks=5, spoke_at=100), seen(1, 105), position=at(105))
    assert [each.type for each in after.entries] == ["event.matched"]
    assert after.attention_at == 110


def test_a_heartbeat_of_deep_blocks_says_only_what_is_deep() -> None:
    beating = feed(heartbeat_blocks=5, finality="confirmations:10", spoke_at=90)
    assert said(beating, position=at(104)).attention_at == 105
    [beat] = said(beating, position=at(105)).entries
    assert data(beat)["through"] == {"number": 95, "hash": None}


def entries(*seqs: int) -> list[Entry]:
    return [Entry(seq, "event.matched", "{}") for seq in seqs]


def hearers(*names: str, after: int = 0) -> list[Hearer]:
    return [Hearer(name, after) for name in names]


def sent(portion: Portion) -> list[tuple[int, list[str]]]:
    return [(entry.seq, list(names)) for entry, names in portion.outgoing]


def test_all_hear_all() -> None:
    out = portion(feed(), entries(1, 2), hearers("a", "b"), room=10)
    assert sent(out) == [(1, ["a", "b"]), (2, ["a", "b"])]
    assert (out.sent_seq, out.sent_to, out.deliveries) == (2, "", 4)


def test_who_joined_later_hears_only_what_came_after() -> None:
    out = portion(feed(), entries(1, 2), [Hearer("a", 0), Hearer("b", 1)], room=10)
    assert sent(out) == [(1, ["a"]), (2, ["a", "b"])]


def test_as_many_entries_go_out_as_there_is_room_for() -> None:
    out = portion(feed(), entries(1, 2, 3), hearers("a", "b"), room=5)
    assert [seq for seq, _ in sent(out)] == [1, 2]
    assert (out.sent_seq, out.sent_to) == (2, "")


def test_an_entry_with_many_hearers_goes_out_in_parts() -> None:
    first = portion(feed(), entries(1, 2), hearers("a", "b", "c"), room=2)
    assert sent(first) == [(1, ["a", "b"])]
    assert (first.sent_seq, first.sent_to) == (0, "b")
    # Those who are left are asked for after "b"; what comes next is for all again.
    rest = portion(feed(sent_to="b"), entries(1, 2), hearers("c"), room=2)
    assert sent(rest) == [(1, ["c"])]
    assert (rest.sent_seq, rest.sent_to) == (1, "")


def test_an_entry_whose_last_hearers_have_left_is_done() -> None:
    out = portion(feed(sent_to="b"), entries(1, 2), [], room=2)
    assert (sent(out), out.sent_seq, out.sent_to) == ([], 1, "")


def test_without_room_nothing_goes_out() -> None:
    out = portion(feed(sent_seq=4), entries(5), hearers("a"), room=0)
    assert (sent(out), out.sent_seq, out.deliveries) == ([], 4, 0)


def test_a_feed_that_rings_nobody_is_sent_at_once() -> None:
    assert portion(feed(), entries(1, 2, 3), [], room=0).sent_seq == 3
