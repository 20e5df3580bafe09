"""What is refused of proofs and of what they are made of, and with which words."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from app.kit.ids import derived_id
from tests.blocks import block_of
from tocsin import proofs
from tocsin.proofs.rlp import decode, encode

CHAIN = "eip155:1"
BLOCK, RECEIPTS = block_of(random.Random(7), 20)
INDEX = next(n for n, receipt in enumerate(RECEIPTS) if n > 2 and len(receipt["logs"]) > 2)


def proof(transaction_index: int = INDEX, log_index: int = 1) -> dict[str, Any]:
    where = {"transaction_index": transaction_index, "log_index": log_index}
    return proofs.prove(CHAIN, BLOCK, RECEIPTS, BLOCK["transactions"], **where).document()


def verified(document: Any, **members: Any) -> proofs.Proven:
    return proofs.verify(document, **({"trusted_chain": CHAIN, "trusted_block_hash": BLOCK["hash"]} | members))


def event() -> dict[str, Any]:
    payload = verified(proof()).payload | {"verified": "receipts-root", "replaced_by": None}
    return {"event_id": proof()["event_id"], "kind": "evm.log", "payload": payload}


# --- RLP


@pytest.mark.parametrize(
    ("item", "encoded"),
    [
        (b"", "80"),
        (b"\0", "00"),
        (b"\x7f", "7f"),
        (b"\x80", "8180"),
        (b"dog", "83646f67"),
        ([], "c0"),
        ([b"cat", b"dog"], "c88363617483646f67"),
        ([[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"),
        (b"a" * 55, "b7" + "61" * 55),
        (b"a" * 56, "b838" + "61" * 56),
        ([b"a"] * 56, "f838" + "61" * 56),
        (bytes(1024), "b90400" + "00" * 1024),
    ],
)
def test_items_have_one_encoding(item: Any, encoded: str) -> None:
    assert encode(item).hex() == encoded
    assert decode(bytes.fromhex(encoded)) == item


@pytest.mark.parametrize(
    "encoded",
    [
        "",  # nothing
        "8100",  # a byte that stands for itself, with a length
        "817f",
        "b800",  # a long length for what is short
        "b83761",
        "b90038" + "61" * 56,  # a length with a leading zero
        "f800",
        "83646f",  # shorter than it says
        "b8",
        "bfffffffffffffffff",
        "c3c2",  # an item that reaches beyond its list
        "c28361",
        "0000",  # something after it
        "c000",
        "c1" * 9 + "c0",  # nested deeper than any block
        "ff" + "ff" * 8,
    ],
)
def test_what_is_not_the_one_encoding_is_refused(encoded: str) -> None:
    with pytest.raises(proofs.Malformed):
        decode(bytes.fromhex(encoded))


# --- what nodes answer


def test_optional_fields_of_a_header_end_at_the_first_that_is_absent() -> None:
    early = {name: value for name, value in BLOCK.items() if name != "blobGasUsed"}
    assert len(decode(proofs.header_rlp(BLOCK))) == 21
    assert len(decode(proofs.header_rlp(early))) == 17
    assert len(decode(proofs.header_rlp({**BLOCK, "baseFeePerGas": None}))) == 15


LOGLESS: dict[str, Any] = {"status": "0x1", "cumulativeGasUsed": "0x5208", "logsBloom": "0x" + "00" * 256, "logs": []}
LOGLESS_TAIL = "825208b90100" + "00" * 256 + "c0"


@pytest.mark.parametrize(
    ("members", "value"),
    [
        ({}, "f90108" + "01" + LOGLESS_TAIL),
        ({"type": "0x0", "status": "0x0"}, "f90108" + "80" + LOGLESS_TAIL),
        ({"type": "0x2"}, "02f90108" + "01" + LOGLESS_TAIL),
        # Before Byzantium: the root of the state instead of a status.
        ({"status": None, "root": "0x" + "ab" * 32}, "f90128" + "a0" + "ab" * 32 + LOGLESS_TAIL),
        # Before Canyon a deposit has its nonce in JSON, but not in what is hashed.
        ({"type": "0x7e", "depositNonce": "0x5"}, "7ef90108" + "01" + LOGLESS_TAIL),
        (
            {"type": "0x7E", "depositNonce": "0x5", "depositReceiptVersion": "0x1"},
            "7ef9010a" + "01" + LOGLESS_TAIL + "0501",
        ),
    ],
)
def test_receipts_are_encoded_as_their_type_and_time_want_it(members: dict[str, Any], value: str) -> None:
    encoded = proofs.receipt_value(LOGLESS | members)
    assert encoded.hex() == value
    assert proofs.Receipt.parse(encoded).logs == ()


@pytest.mark.parametrize(
    "members",
    [
        {"status": "0x100"},
        {"status": 1},
        {"status": None},
        {"cumulativeGasUsed": "5208"},
        {"cumulativeGasUsed": "0x"},
        {"cumulativeGasUsed": "0x5_2"},
        {"cumulativeGasUsed": "0x" + "11" * 33},
        {"logsBloom": "0x00"},
        {"logsBloom": "0x" + "0 " * 256},
        {"type": "0xfff"},
        {"logs": None},
        {"logs": {}},
        {"logs": [None]},
        {"logs": [{"address": "0x" + "11" * 19, "topics": [], "data": "0x"}]},
        {"logs": [{"address": "0y" + "11" * 20, "topics": [], "data": "0x"}]},
        {"logs": [{"address": "0x" + "é" * 40, "topics": [], "data": "0x"}]},
        {"logs": [{"address": "0x" + "11" * 20, "topics": ["0x12"], "data": "0x"}]},
        {"logs": [{"address": "0x" + "11" * 20, "topics": ["0x" + "1" * 32 + "0x" + "1" * 30], "data": "0x"}]},
        {"logs": [{"address": "0x" + "11" * 20, "topics": ["0x" + "11" * 32] * 5, "data": "0x"}]},
        {"logs": [{"address": "0x" + "11" * 20, "topics": [], "data": "0x123"}]},
        {"logs": [{"address": "0x" + "11" * 20, "topics": [], "data": None}]},
    ],
)
def test_receipts_that_are_none_are_refused(members: dict[str, Any]) -> None:
    with pytest.raises(proofs.Malformed):
        proofs.receipt_value(LOGLESS | members)


def test_transactions_of_unknown_types_are_refused() -> None:
    with pytest.raises(proofs.Malformed, match="0x64"):
        proofs.transaction_value(BLOCK["transactions"][0] | {"type": "0x64"})


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields[:14],
        lambda fields: [*fields, b""],
        lambda fields: [b"\0", *fields[1:]],
        lambda fields: [[], *fields[1:]],
        lambda fields: [*fields[:8], b"\0" + fields[8], *fields[9:]],
        lambda fields: [*fields[:11], bytes([1] * 9), *fields[12:]],
        lambda fields: fields[0],
    ],
)
def test_headers_that_are_none_are_refused(change: Callable[[Any], Any]) -> None:
    with pytest.raises(proofs.Malformed):
        proofs.Header.parse(encode(change(decode(proofs.header_rlp(BLOCK)))))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0" + encode([b"\1", b"", bytes(256), []]),
        b"\x80" + encode([b"\1", b"", bytes(256), []]),
        encode([b"\1", b"", bytes(256)]),
        encode([b"\1", b"", bytes(256), [], b"", b""]),  # as a deposit has them, and no other
        b"\x7e" + encode([b"\1", b"", bytes(256), [], b""]),
        encode([b"\1", b"", bytes(255) + b"\1", []]),  # another bloom than that of its logs
        encode([b"\1", b"", bytes(256), b""]),
        encode([b"\1", b"", bytes(256), [b""]]),
        encode([b"\1", b"", bytes(256), [[bytes(19), [], b""]]]),
        encode([b"\1", b"", bytes(256), [[bytes(20), [bytes(31)], b""]]]),
        encode([b"\1", b"", bytes(256), [[bytes(20), [bytes(32)] * 5, b""]]]),
    ],
)
def test_what_is_no_receipt_is_refused(value: bytes) -> None:
    with pytest.raises(proofs.Malformed):
        proofs.Receipt.parse(value)


def test_an_agent_that_only_verifies_webhooks_loads_no_keccak() -> None:
    loaded = "import sys, tocsin, tocsin.webhooks; print(sorted({'sha3', 'tocsin.proofs'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, check=True).stdout == b"[]\n"


# --- proofs


def test_a_proof_tells_what_is_in_the_block() -> None:
    log = RECEIPTS[INDEX]["logs"][1]
    proven = verified(proof())
    assert proven.event_id == derived_id("evt", CHAIN, BLOCK["hash"], str(INDEX), "1")
    assert (proven.address, list(proven.topics), proven.data) == (log["address"], log["topics"], log["data"])
    assert proven.transaction_hash == log["transactionHash"]
    assert (hex(proven.block_number), proven.parent_hash) == (BLOCK["number"], BLOCK["parentHash"])


def test_what_an_event_says_beyond_its_log_is_named() -> None:
    told = event()
    told["payload"]["transaction"]["verified"] = "rpc"
    assert set(verified(proof(), event=told).unchecked) == {
        "payload.verified",
        "payload.replaced_by",
        "payload.transaction.verified",
    }


def test_the_block_that_is_trusted_may_be_written_in_capitals() -> None:
    assert verified(proof(), trusted_block_hash="0x" + BLOCK["hash"][2:].upper()) == verified(proof())


@pytest.mark.parametrize(
    ("members", "part"),
    [
        ({"trusted_chain": "eip155:10"}, "chain"),
        ({"trusted_block_hash": "0x" + "00" * 32}, "block.header"),
        ({"event": {}}, "event.event_id"),
        ({"event": {"event_id": proof()["event_id"], "kind": "evm.log"}}, "event.payload.chain"),
    ],
)
def test_a_proof_of_something_else_is_refused(members: dict[str, Any], part: str) -> None:
    with pytest.raises(proofs.Refuted) as refusal:
        verified(proof(), **members)
    assert refusal.value.part == part
    assert str(refusal.value).endswith(str(type(refusal.value).__doc__))


@pytest.mark.parametrize("kind", [*proofs.NO_PROOF, "evm.unheard-of"])
def test_what_no_block_commits_to_has_no_proof(kind: str) -> None:
    with pytest.raises(proofs.NoProof):
        verified(proof(), event={"event_id": proof()["event_id"], "kind": kind})


def replaced(**members: Any) -> Callable[[dict[str, Any]], Any]:
    def change(document: dict[str, Any]) -> Any:
        return document | {
            name: document[name] | value if isinstance(value, dict) else value for name, value in members.items()
        }

    return change


OTHER = proof(0 if RECEIPTS[0]["logs"] else next(n for n, r in enumerate(RECEIPTS) if r["logs"]), 0)


@pytest.mark.parametrize(
    ("change", "refusal", "part"),
    [
        (replaced(version=2), proofs.Malformed, "version"),
        (replaced(version=True), proofs.Malformed, "version"),
        (replaced(more=1), proofs.Malformed, "proof"),
        (replaced(block={"number": -1}), proofs.Malformed, "block.number"),
        (replaced(block={"number": 1}), proofs.WrongBlock, "block.number"),
        (replaced(block={"hash": "0x" + "00" * 32}), proofs.WrongBlock, "block.hash"),
        (replaced(block={"hash": BLOCK["hash"].upper()}), proofs.Malformed, "block.hash"),
        (replaced(block={"header": "0x"}), proofs.WrongBlock, "block.header"),
        (replaced(receipt=OTHER["receipt"]), proofs.WrongPath, "receipt.path[2]"),
        (replaced(receipt={"path": []}), proofs.WrongPath, "receipt.path"),
        (replaced(receipt={"path": proof()["receipt"]["path"][:-1]}), proofs.WrongPath, "receipt.path"),
        (replaced(receipt={"path": ["0x"] * 17}), proofs.Malformed, "receipt.path"),
        (replaced(receipt=proof()["transaction"] | {"index": 1}), proofs.Malformed, "receipt"),
        (replaced(receipt={"path": proof()["transaction"]["path"]}), proofs.WrongPath, "receipt.path[0]"),
        (replaced(transaction={"path": OTHER["transaction"]["path"]}), proofs.WrongPath, "transaction.path[2]"),
        (replaced(transaction={"hash": OTHER["transaction"]["hash"]}), proofs.WrongTransaction, "transaction.hash"),
        (replaced(transaction=OTHER["transaction"]), proofs.WrongPath, "receipt.path[2]"),
        (replaced(log={"index": 0}), proofs.WrongEvent, "event_id"),
        (replaced(log={"index": 99}), proofs.WrongLog, "log.index"),
        (replaced(event_id=OTHER["event_id"]), proofs.WrongEvent, "event_id"),
        (lambda document: [document], proofs.Malformed, "proof"),
        (lambda document: "{", proofs.Malformed, "proof"),
        (lambda document: "[" * 100_000, proofs.Malformed, "proof"),
    ],
)
def test_a_refusal_says_which_part_is_wrong(
    change: Callable[[Any], Any], refusal: type[proofs.ProofError], part: str
) -> None:
    with pytest.raises(refusal) as refused:
        verified(change(proof()))
    assert refused.value.part == part


@pytest.mark.parametrize(("transaction_index", "log_index"), [(20, 0), (-1, 0), (INDEX, 99), (INDEX, -1)])
def test_there_is_no_proof_of_what_is_not_there(transaction_index: int, log_index: int) -> None:
    with pytest.raises(proofs.Unprovable):
        proof(transaction_index, log_index)
