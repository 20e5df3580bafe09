"""What a block holds for each kind of filter."""

from __future__ import annotations

from typing import Any

import pytest

from app.subscriptions.matching import Log
from app.subscriptions.sources import taken_apart
from app.subscriptions.telling import Seen
from app.watchers import decoding
from app.watchers.blocks import REVERTED, ContractCall, Extra, Mined, Needs
from app.watchers.decoding import topic_of
from app.watchers.finding import Contents, Filters, found_in
from app.watchers.follower import Block
from app.watchers.wanted import wanted_of
from tocsin.schemas.subscriptions import NewSubscription

CHAIN = "eip155:1"
TOKEN, ALICE, BOB = ("0x" + digits * 20 for digits in ("aa", "a1", "b0"))
BLOCK = Block(100, "0x" + "01" * 32, "0x" + "00" * 32, 1_700_000_000)
TRANSFER = "Transfer(address indexed from, address indexed to, uint256 value)"


def topic(text: str) -> str:
    return "0x" + text.removeprefix("0x").rjust(64, "0")


def log(event: decoding.Event, *topics: str, data: str = "", address: str = TOKEN, index: int = 0) -> Log:
    return Log(address, (topic_of(event.canonical), *map(topic, topics)), f"0x{data}", "0x" + "07" * 32, 0, index)


def transferred(value: int, index: int = 0) -> Log:
    return log(decoding.TRANSFER, ALICE, BOB, data=f"{value:064x}", index=index)


def filters(**kinds: dict[str, Any]) -> Filters:
    made = Filters()
    for name, source in kinds.items():
        wish = taken_apart(NewSubscription.model_validate({"source": {"chain": CHAIN, **source}}).source)
        made.add(wanted_of(name, wish.params, wish.spec))
    return made


def found(made: Filters, *logs: Log, extra: Extra | None = None) -> list[Seen]:
    return list(found_in(CHAIN, Contents(BLOCK, logs, extra or Extra()), made, {}, ring_blocks=256).seen)


@pytest.mark.parametrize(
    ("data", "reason"),
    [("", "value: the data ends before it"), ("ff" * 31, "value: the data ends before it")],
)
def test_data_that_is_none_of_the_events_is_told_undecoded(data: str, reason: str) -> None:
    made = filters(it={"kind": "evm.log", "address": TOKEN, "event": TRANSFER})
    [seen] = found(made, log(decoding.TRANSFER, ALICE, BOB, data=data))
    assert (seen.payload["decoded"], seen.payload["undecoded"]) == (None, reason)


def test_an_event_of_the_same_hash_and_other_topics_is_another_event() -> None:
    made = filters(log={"kind": "evm.log", "event": TRANSFER}, paid={"kind": "evm.transfer", "asset": TOKEN})
    assert found(made, log(decoding.MINTED_721, ALICE, BOB, "0x1")) == []


def test_what_would_not_fit_into_a_topic_is_its_hash() -> None:
    made = filters(it={"kind": "evm.log", "event": "Named(string indexed name, int8 indexed rank, bytes2 tag)"})
    named = decoding.read_event("Named(string indexed name, int8 indexed rank, bytes2 tag)")
    [seen] = found(made, log(named, "0x12", "0x" + "ff" * 32, data="beef" + "0" * 60))
    assert seen.payload["decoded"] == {"name": topic("0x12"), "rank": "-1", "tag": "0xbeef"}


def test_filters_that_read_a_log_alike_share_what_is_told() -> None:
    made = filters(
        all={"kind": "evm.log", "address": TOKEN, "event": TRANSFER},
        much={"kind": "evm.log", "event": TRANSFER, "where": "decoded.value > 5"},
        most={"kind": "evm.log", "event": TRANSFER, "where": "decoded.value > 50"},
        raw={"kind": "evm.log", "address": TOKEN},
    )
    told = found(made, transferred(10))
    assert sorted(list(each.filter_ids) for each in told) == [["all", "much"], ["raw"]]
    # One event, told in two ways.
    assert len({each.event_id for each in told}) == 1


def test_a_condition_that_the_event_does_not_answer_is_counted_and_not_met() -> None:
    made = filters(it={"kind": "evm.log", "event": TRANSFER, "where": "!(decoded.vaule > 5)"})
    result = found_in(CHAIN, Contents(BLOCK, [transferred(1)]), made, {}, ring_blocks=256)
    assert (result.seen, result.unknown) == ([], 1)


@pytest.mark.parametrize(
    ("bounds", "values"),
    [
        ({}, ["0.000001", "1.5", "2"]),
        ({"min": "1.5"}, ["1.5", "2"]),
        ({"max": "1.5"}, ["0.000001", "1.5"]),
        ({"min": "0.000002", "max": "1.999999"}, ["1.5"]),
        ({"either": BOB, "from": BOB}, []),
        ({"either": BOB, "from": ALICE, "min": "2"}, ["2"]),
        ({"to": [ALICE, TOKEN]}, []),
    ],
)
def test_amounts_are_in_whole_tokens_and_exact(bounds: dict[str, Any], values: list[str]) -> None:
    made = filters(it={"kind": "evm.transfer", "asset": TOKEN, "decimals": 6, **bounds})
    told = found(made, *(transferred(units, place) for place, units in enumerate((1, 1_500_000, 2_000_000))))
    assert [each.payload["transfer"]["amount"] for each in told] == values


def test_what_failed_or_moved_nothing_is_no_transfer() -> None:
    made = filters(paid={"kind": "evm.transfer", "asset": "native"}, new={"kind": "evm.contract_created"})
    assert made.needs == Needs(full=True)
    mined = (
        Mined("0x1", 0, ALICE, BOB, 10**18, succeeded=False, created=None),
        Mined("0x2", 1, ALICE, BOB, 0, succeeded=True, created=None),
        Mined("0x3", 2, ALICE, None, 5, succeeded=True, created=BOB),
        Mined("0x4", 3, ALICE, None, 0, succeeded=False, created=BOB),
    )
    told = found(made, extra=Extra(mined))
    assert {(each.kind, each.payload["transaction"]["hash"]) for each in told} == {
        ("evm.transfer", "0x3"),
        ("evm.contract_created", "0x3"),
    }


def test_a_log_is_not_taken_for_what_a_transaction_does() -> None:
    made = filters(by_topic={"kind": "evm.log", "topics": [None, topic(ALICE)]})
    mined = (Mined("0x1", 0, ALICE, BOB, 1, succeeded=True, created=None),)
    assert found(made, extra=Extra(mined)) == []


def test_every_nth_block_is_told() -> None:
    made = filters(
        every={"kind": "evm.block"}, fifth={"kind": "evm.block", "every": 5}, no={"kind": "evm.block", "every": 7}
    )
    [seen] = found(made)
    assert list(seen.filter_ids) == ["every", "fifth"]


def test_an_answer_is_told_when_it_is_another() -> None:
    function = "get() returns (uint8 n)"
    made = filters(it={"kind": "evm.call", "address": TOKEN, "function": function})
    [call] = made.calls
    assert call == ContractCall(TOKEN, "0x6d4ce63c")
    one, large = f"0x{1:064x}", f"0x{256:064x}"
    assert found(made, extra=Extra(answers={call: (one, one)})) == []
    [seen] = found(made, extra=Extra(answers={call: (REVERTED, one)}))
    assert seen.payload["previous"] == {"reverted": True, "data": None}
    assert seen.payload["current"] == {"reverted": False, "data": one, "decoded": {"n": "1"}}
    [seen] = found(made, extra=Extra(answers={call: (one, large)}))
    assert seen.payload["current"]["undecoded"] == "n: 256 is no uint8"


def test_what_is_told_is_in_the_order_of_the_block() -> None:
    made = filters(
        block={"kind": "evm.block"},
        log={"kind": "evm.log", "address": TOKEN},
        native={"kind": "evm.transfer", "asset": "native"},
    )
    mined = (Mined("0x" + "07" * 32, 0, ALICE, BOB, 1, succeeded=True, created=None),)
    told = found(made, transferred(1, 0), transferred(2, 1), extra=Extra(mined))
    assert [each.kind for each in told] == ["evm.block", "evm.transfer", "evm.log", "evm.log"]


def test_a_filter_that_is_dropped_leaves_nothing() -> None:
    made = filters(
        log={"kind": "evm.log", "address": TOKEN},
        native={"kind": "evm.transfer", "asset": "native"},
        block={"kind": "evm.block"},
        call={"kind": "evm.call", "address": TOKEN, "data": "0x"},
        price={"kind": "evm.price", "pool": TOKEN, "when": {"rule": "crosses", "level": "1"}},
    )
    for name in list(made.by_id):
        made.drop(name)
    assert made.needs == Needs()
    assert not made.prices
    assert found(made, transferred(1)) == []
