"""What each kind of event says is computed again from its proof, and nothing else is let pass."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
from eth_account import Account

from tests.blocks import holding, log_of, receipt_of, signed
from tocsin import proofs
from tocsin.proofs import meanings
from tocsin.proofs.meanings import topic_of

CHAIN = "eip155:1"
KEY, OTHER_KEY = "0x" + "4c" * 32, "0x" + "4d" * 32
ALICE, BOB = Account.from_key(KEY).address.lower(), "0x" + "b0" * 20
TOKEN, POOL, COLLECTION = ("0x" + digit * 40 for digit in "abc")


def topic(address: str) -> str:
    return "0x" + "0" * 24 + address[2:]


def topics(event: Any, *addresses: str) -> list[str]:
    return [topic_of(event.canonical), *map(topic, addresses)]


NOBODY = "0x" + "0" * 40
LOGS = [
    log_of(TOKEN, topics(meanings.TRANSFER, ALICE, BOB), 1_500_000),
    log_of(COLLECTION, topics(meanings.MINTED, NOBODY, BOB, "0x" + "7" * 40)),
    log_of(COLLECTION, topics(meanings.MINTED_MULTI, ALICE, NOBODY, BOB), 8, 3),
    log_of(COLLECTION, topics(meanings.MINTED_BATCH, ALICE, NOBODY, BOB), 64, 160, 2, 8, 9, 2, 3, 4),
    log_of(POOL, topics(meanings.ADDED_V2, ALICE), 1, 2),
    log_of(POOL, topics(meanings.REMOVED_V3, ALICE, "0x" + "0" * 39 + "1", "0x" + "0" * 39 + "2"), 5, 6, 7),
    log_of(POOL, topics(meanings.PRICED_V2), 3 * 10**18, 7 * 10**6),
    log_of(POOL, topics(meanings.PRICED_V3, ALICE, BOB), 1, 2, 3 * 2**95, 4, 5),
    log_of(TOKEN, [topic_of("Flagged(bool[])")], 32, 2, 1, 0),
]
# A payment with logs, a contract, a payment that failed, one of nothing.
TRANSACTIONS = [
    signed(KEY, to=BOB, value=2 * 10**18, nonce=0),
    signed(KEY, to=None, value=5, nonce=1, data=b"\x60\x00"),
    signed(KEY, to=BOB, value=1, nonce=2),
    signed(OTHER_KEY, to=None, value=0, nonce=7),
]
RECEIPTS = [receipt_of(0, *LOGS), receipt_of(1), receipt_of(2, status="0x0"), receipt_of(3)]
BLOCK, RECEIPTS = holding(random.Random(5), TRANSACTIONS, RECEIPTS)


def contract_of(index: int) -> str:
    made = proofs.Transaction.parse(proofs.transaction_value(TRANSACTIONS[index])).created()
    assert made is not None
    return "0x" + made.hex()


CONTENTS = proofs.Contents.read(BLOCK, RECEIPTS, TRANSACTIONS)


def verified(*place: int, **members: Any) -> proofs.Proven:
    trusted = {"trusted_chain": CHAIN, "trusted_block_hash": BLOCK["hash"]}
    return proofs.verify(CONTENTS.proof(CHAIN, *place), **trusted, **members)


def sent(index: int) -> dict[str, Any]:
    sender = Account.from_key(OTHER_KEY if index == 3 else KEY).address.lower()
    value = str(int(TRANSACTIONS[index]["value"], 16))
    return {"from": sender, "to": TRANSACTIONS[index]["to"], "value": value, "verified": "rpc"}


def event(kind: str, place: tuple[int, ...], **members: Any) -> dict[str, Any]:
    """An event as the relay tells it."""
    proven = verified(*place)
    payload: dict[str, Any] = proven.payload | {"verified": "receipts-root", "replaced_by": None}
    for name, value in members.items():
        payload[name] = {**payload[name], **value} if name in payload else value
    return {"event_id": proven.event_id, "kind": kind, "payload": payload}


PAID = {"asset": "native", "from": ALICE, "to": BOB, "amount": "2", "units": str(2 * 10**18)}
CREATING = {"asset": "native", "from": ALICE, "to": contract_of(1), "amount": "0.000000000000000005", "units": "5"}
TRANSFER = {"asset": TOKEN, "from": ALICE, "to": BOB, "amount": "1.5", "units": "1500000"}
MINT = {"collection": COLLECTION, "to": BOB}
PRICE = {"pool": POOL, "previous": "1", "change_percent": "9"}
EVENTS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "evm.block": ((), event("evm.block", ())),
    "evm.log": ((0, 1), event("evm.log", (0, 1))),
    "evm.log with its transaction": ((0, 0), event("evm.log", (0, 0), transaction=sent(0))),
    "evm.transfer": ((0, 0), event("evm.transfer", (0, 0), transfer=TRANSFER)),
    "evm.transfer native": ((0,), event("evm.transfer", (0,), transaction=sent(0), transfer=PAID)),
    "evm.transfer to what it creates": ((1,), event("evm.transfer", (1,), transaction=sent(1), transfer=CREATING)),
    "evm.contract_created": (
        (3,),
        event(
            "evm.contract_created",
            (3,),
            transaction=sent(3),
            created={"contract": contract_of(3), "creator": sent(3)["from"]},
        ),
    ),
    "evm.nft_mint 721": (
        (0, 1),
        event(
            "evm.nft_mint",
            (0, 1),
            mint=MINT | {"standard": "erc721", "ids": [str(int("7" * 40, 16))], "amounts": ["1"]},
        ),
    ),
    "evm.nft_mint 1155": (
        (0, 2),
        event("evm.nft_mint", (0, 2), mint=MINT | {"standard": "erc1155", "ids": ["8"], "amounts": ["3"]}),
    ),
    "evm.nft_mint batch": (
        (0, 3),
        event("evm.nft_mint", (0, 3), mint=MINT | {"standard": "erc1155", "ids": ["8", "9"], "amounts": ["3", "4"]}),
    ),
    "evm.liquidity v2": (
        (0, 4),
        event(
            "evm.liquidity",
            (0, 4),
            liquidity={
                "pool": POOL,
                "change": "added",
                "version": "v2",
                "amount0": "1",
                "amount1": "2",
                "liquidity": None,
            },
        ),
    ),
    "evm.liquidity v3": (
        (0, 5),
        event(
            "evm.liquidity",
            (0, 5),
            liquidity={
                "pool": POOL,
                "change": "removed",
                "version": "v3",
                "amount0": "6",
                "amount1": "7",
                "liquidity": "5",
            },
        ),
    ),
    "evm.price v2": (
        (0, 6),
        event("evm.price", (0, 6), price=PRICE | {"version": "v2", "price": "2.33333333333333333333333"}, since={}),
    ),
    "evm.price v2 inverted": (
        (0, 6),
        event("evm.price", (0, 6), price=PRICE | {"version": "v2", "price": "428571428571.428571428571"}, since={}),
    ),
    "evm.price v3": ((0, 7), event("evm.price", (0, 7), price=PRICE | {"version": "v3", "price": "225"}, since={})),
}
# What the relay says, and no block commits to.
SAID = {
    "payload.verified",
    "payload.replaced_by",
    "payload.transaction.verified",
    "payload.price.previous",
    "payload.price.change_percent",
    "payload.since",
}


# Where no log says where the point is.
IN_PART = {"evm.transfer": {"payload.transfer.amount"}, "evm.price": {"payload.price.price"}}


@pytest.mark.parametrize("name", EVENTS)
def test_what_the_relay_tells_is_computed_again(name: str) -> None:
    place, told = EVENTS[name]
    proven = verified(*place, event=told)
    in_part = IN_PART.get(told["kind"], set[str]()) if len(place) == 2 else set[str]()
    assert set(proven.unchecked) - SAID == in_part
    assert {"payload.verified", "payload.replaced_by"} <= set(proven.unchecked)


def ways(value: Any, *way: Any) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        if f"payload.{'.'.join(map(str, (*way, name)))}" not in SAID:
            yield (*way, name)
            yield from ways(each, *way, name)


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("value", ["0x" + "00" * 20, 1, None, [], True])
def test_no_member_can_say_something_else(name: str, value: Any) -> None:
    place, told = EVENTS[name]
    for way in ways(told["payload"]):
        altered = copy.deepcopy(told)
        holder = altered["payload"]
        for step in way[:-1]:
            holder = holder[step]
        holder[way[-1]] = (value,) if repr(holder[way[-1]]) == repr(value) else value
        with pytest.raises(proofs.WrongEvent):
            verified(*place, event=altered)


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("evm.block", (0,)),
        ("evm.block", (0, 0)),
        ("evm.log", ()),
        ("evm.log", (0,)),
        ("evm.transfer", ()),
        ("evm.transfer", (2,)),  # it failed
        ("evm.transfer", (3,)),  # it paid nothing
        ("evm.transfer", (0, 1)),  # of a token with an id
        ("evm.contract_created", (0,)),
        ("evm.contract_created", (0, 0)),
        ("evm.contract_created", ()),
        ("evm.nft_mint", (0, 0)),
        ("evm.liquidity", (0, 0)),
        ("evm.price", (0, 4)),
    ],
)
def test_what_is_of_another_kind_is_refused(kind: str, place: tuple[int, ...]) -> None:
    with pytest.raises(proofs.WrongEvent) as refusal:
        verified(*place, event=event(kind, place))
    assert refusal.value.part == "event.kind"


@pytest.mark.parametrize("amount", ["15", "1.50", "01.5", "1.6", "-1.5", "1500000.0", "", "1.5e0"])
def test_an_amount_is_its_units_with_the_point_moved(amount: str) -> None:
    told = event("evm.transfer", (0, 0), transfer=TRANSFER | {"amount": amount})
    if amount == "15":
        assert verified(0, 0, event=told)
        return
    with pytest.raises(proofs.WrongEvent, match="amount"):
        verified(0, 0, event=told)


def test_a_native_amount_has_eighteen_decimals() -> None:
    with pytest.raises(proofs.WrongEvent, match="amount"):
        verified(0, event=event("evm.transfer", (0,), transaction=sent(0), transfer=PAID | {"amount": "20"}))


@pytest.mark.parametrize("price", ["2.34", "-2.33333333333333333333333", "0", "NaN", "Infinity", "much", ""])
def test_a_price_is_the_pools(price: str) -> None:
    with pytest.raises(proofs.WrongEvent, match="price"):
        verified(0, 6, event=event("evm.price", (0, 6), price=PRICE | {"version": "v2", "price": price}))


DECODED = {"from": ALICE, "to": BOB, "value": "1500000"}


def test_what_was_decoded_is_checked_with_the_signature() -> None:
    told = event("evm.log", (0, 0), event="Transfer", decoded=DECODED)
    assert {"payload.event", "payload.decoded"} <= set(verified(0, 0, event=told).unchecked)
    assert set(verified(0, 0, event=told, signature=str(meanings.TRANSFER)).unchecked) <= SAID
    for altered in ({"decoded": DECODED | {"value": "1"}}, {"decoded": None}, {"event": "Burned"}):
        with pytest.raises(proofs.WrongEvent):
            verified(
                0,
                0,
                event=told | {"payload": told["payload"] | altered},
                signature=str(meanings.TRANSFER),
            )


def test_what_was_told_without_its_event_is_not_refuted_by_a_signature() -> None:
    told = event("evm.log", (0, 0))
    assert set(verified(0, 0, event=told, signature=str(meanings.TRANSFER)).unchecked) <= SAID


def test_what_was_decoded_has_the_types_of_the_abi() -> None:
    told = event("evm.log", (0, 8), event="Flagged", decoded={"flags": [True, False]})
    assert set(verified(0, 8, event=told, signature="Flagged(bool[] flags)").unchecked) <= SAID
    told["payload"]["decoded"] = {"flags": [1, 0]}
    with pytest.raises(proofs.WrongEvent, match="flags"):
        verified(0, 8, event=told, signature="Flagged(bool[] flags)")


def test_a_signature_is_of_no_other_kind_than_a_log() -> None:
    with pytest.raises(ValueError, match=r"signature: .* told as evm\.transfer"):
        verified(0, 0, event=event("evm.transfer", (0, 0)), signature=str(meanings.TRANSFER))


def test_the_signature_has_to_be_that_of_the_log() -> None:
    told = event("evm.log", (0, 0), event="Transfer", decoded=DECODED)
    with pytest.raises(proofs.WrongEvent, match="Sync"):
        verified(0, 0, event=told, signature=str(meanings.PRICED_V2))
    with pytest.raises(ValueError, match="signature"):
        verified(0, 0, event=told, signature="Transfer(")


def test_what_could_not_be_decoded_is_said_so() -> None:
    signature = "Transfer(address indexed from, address indexed to, uint256 value, uint256 more)"
    with pytest.raises(proofs.WrongEvent):
        verified(0, 0, event=event("evm.log", (0, 0)), signature=signature)


def test_who_sent_a_transaction_cannot_be_told_otherwise_where_it_is_told() -> None:
    for name, value in (("from", BOB), ("to", ALICE), ("value", "1")):
        told = event("evm.log", (0, 0), transaction=sent(0) | {name: value})
        with pytest.raises(proofs.WrongEvent, match=name):
            verified(0, 0, event=told)
