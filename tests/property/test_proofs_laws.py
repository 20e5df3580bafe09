"""Every proof verifies, and no altered proof does."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.blocks import block_of
from tocsin import proofs
from tocsin.proofs import trie
from tocsin.proofs.rlp import decode, encode

CHAIN = "eip155:1"
BLOCK, RECEIPTS = block_of(random.Random(11), 19)
PLACES = [(index, place) for index, receipt in enumerate(RECEIPTS) for place in range(len(receipt["logs"]))]
INDEX, PLACE = PLACES[-1]


def made(place: tuple[int, int]) -> dict[str, Any]:
    index, log = place
    return proofs.prove(
        CHAIN, BLOCK, RECEIPTS, BLOCK["transactions"], transaction_index=index, log_index=log
    ).document()


PROOF = made(PLACES[-1])
TEXT = orjson.dumps(PROOF)


def verified(document: Any, **members: Any) -> proofs.Proven:
    return proofs.verify(document, trusted_chain=CHAIN, trusted_block_hash=BLOCK["hash"], **members)


def event(place: tuple[int, int] = PLACES[-1]) -> dict[str, Any]:
    proven = verified(made(place))
    return {"event_id": proven.event_id, "kind": "evm.log", "payload": proven.payload}


@given(st.sampled_from(PLACES))
def test_every_log_of_a_block_has_a_proof(place: tuple[int, int]) -> None:
    index, number = place
    proven = verified(orjson.dumps(made(place)), event=event(place))
    log = RECEIPTS[index]["logs"][number]
    assert (proven.address, list(proven.topics), proven.data) == (log["address"], log["topics"], log["data"])
    assert proven.unchecked == ()


@pytest.mark.parametrize("flipped", [0x01, 0x08])
def test_each_byte_of_the_text_counts(flipped: int) -> None:
    for at in range(len(TEXT)):
        altered = bytearray(TEXT)
        altered[at] ^= flipped
        with pytest.raises(proofs.ProofError):
            verified(bytes(altered))


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 255))
def test_no_byte_of_the_text_can_be_another(at: int, byte: int) -> None:
    assume(TEXT[at] != byte)
    with pytest.raises(proofs.ProofError):
        verified(TEXT[:at] + bytes([byte]) + TEXT[at + 1 :])


def members(value: Any, *way: Any) -> Iterator[tuple[Any, ...]]:
    """Where every member and element is."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield (*way, name)
        yield from members(each, *way, name)


WAYS = list(members(PROOF))
anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([]) | st.just({})


def changed(document: Any, way: tuple[Any, ...], change: Any) -> Any:
    """The document with something done to the object or list that holds the member."""
    altered = copy.deepcopy(document)
    holder = altered
    for name in way[:-1]:
        holder = holder[name]
    change(holder, way[-1])
    return altered


@given(st.sampled_from(WAYS), anything)
def test_no_member_can_be_something_else(way: tuple[Any, ...], value: Any) -> None:
    with pytest.raises(proofs.ProofError):
        verified(changed(PROOF, way, lambda holder, name: holder.__setitem__(name, value)))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: ".".join(map(str, way)))
def test_no_member_can_be_missing(way: tuple[Any, ...]) -> None:
    with pytest.raises(proofs.ProofError):
        verified(changed(PROOF, way, lambda holder, name: holder.__delitem__(name)))


@given(st.sampled_from(PLACES[:-1]), st.sampled_from(WAYS))
def test_no_part_can_come_from_another_proof(place: tuple[int, int], way: tuple[Any, ...]) -> None:
    value: Any = made(place)
    try:
        for name in way:
            value = value[name]
    except IndexError:
        assume(False)
    altered = changed(PROOF, way, lambda holder, name: holder.__setitem__(name, value))
    assume(altered != PROOF)
    with pytest.raises(proofs.ProofError):
        verified(altered)


@given(st.sampled_from(list(members(event()))), anything)
def test_an_event_that_says_something_else_is_refused(way: tuple[Any, ...], value: Any) -> None:
    told = changed(event(), way, lambda holder, name: holder.__setitem__(name, value))
    assume(told != event() or orjson.dumps(told) != orjson.dumps(event()))
    with pytest.raises(proofs.WrongEvent):
        verified(PROOF, event=told)


@given(st.sampled_from(list(members(event()))))
def test_an_event_that_says_less_is_refused(way: tuple[Any, ...]) -> None:
    with pytest.raises(proofs.WrongEvent):
        verified(PROOF, event=changed(event(), way, lambda holder, name: holder.__delitem__(name)))


# --- RLP and tries


@given(st.binary(max_size=60))
def test_bytes_are_refused_or_are_the_encoding_of_what_they_stand_for(data: bytes) -> None:
    try:
        item = decode(data)
    except proofs.Malformed:
        return
    assert encode(item) == data


values = st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=40)


@given(values, st.data())
def test_a_path_leads_to_its_value_and_to_no_other(of: list[bytes], data: st.DataObject) -> None:
    index, elsewhere = data.draw(st.integers(0, len(of) - 1)), data.draw(st.integers(0, 2**20))
    nodes = trie.path(of, index)
    assert trie.value_at(proofs.root(of), index, nodes) == of[index]
    assume(elsewhere != index)
    try:
        # Small values stand in the nodes above them, so one path may lead to several.
        assert trie.value_at(proofs.root(of), elsewhere, nodes) == of[elsewhere]
    except proofs.WrongPath:
        return


@given(values, st.data())
def test_an_altered_value_has_another_root(of: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(of) - 1))
    value = data.draw(st.binary(min_size=1, max_size=50))
    assume(value != of[index])
    assert proofs.root([*of[:index], value, *of[index + 1 :]]) != proofs.root(of)
