"""Our RLP, tries, receipts and transactions beside those of libraries that are not ours."""

from __future__ import annotations

import random
import re
from typing import Any

import orjson
import pytest
import rlp
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes
from hypothesis import given
from hypothesis import strategies as st
from trie.hexary import HexaryTrie
from web3 import Web3

from docs.generate import PROTOCOL
from tests.blocks import block_of
from tocsin import proofs
from tocsin.proofs import trie
from tocsin.proofs.rlp import decode, encode

KEY = "0x" + "4c" * 32
TO = "0x" + "51" * 20
COMMON = {"nonce": 7, "gas": 100_000, "to": TO, "value": 10**18, "data": b"\x01\x02"}
FEES = {"chainId": 1, "maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**9}
ACCESS = [{"address": TO, "storageKeys": ["0x" + "01" * 32, "0x" + "02" * 32]}, {"address": TO, "storageKeys": []}]

items = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=20), max_leaves=40)


def depth(item: Any) -> int:
    return 0 if isinstance(item, bytes) else 1 + max(map(depth, item), default=0)


@given(items.filter(lambda item: depth(item) <= 8))
def test_what_we_encode_is_what_pyrlp_encodes(item: Any) -> None:
    assert encode(item) == rlp.encode(item)


@given(st.binary(max_size=80) | items.map(rlp.encode))
def test_what_pyrlp_refuses_we_refuse(data: bytes) -> None:
    try:
        expected = rlp.decode(data)
    except rlp.DecodingError:
        expected = None
    try:
        found = decode(data)
    except proofs.Malformed:
        found = None
    # Ours refuses deeper nesting than blocks have.
    assert found == expected or (found is None and depth(expected) > 8)


values = st.lists(st.binary(min_size=1, max_size=90), max_size=40)


def theirs(of: list[bytes]) -> HexaryTrie:
    made = HexaryTrie({})
    for index, value in enumerate(of):
        made[rlp.encode(index)] = value
    return made


@given(values)
def test_roots_are_those_of_py_trie(of: list[bytes]) -> None:
    assert proofs.root(of) == theirs(of).root_hash


@given(values.filter(bool), st.randoms(use_true_random=False))
def test_py_trie_verifies_our_paths(of: list[bytes], chance: random.Random) -> None:
    index = chance.randrange(len(of))
    nodes = [rlp.decode(node) for node in trie.path(of, index)]
    assert HexaryTrie.get_from_proof(proofs.root(of), rlp.encode(index), nodes) == of[index]


@given(values.filter(bool), st.randoms(use_true_random=False))
def test_we_verify_the_paths_of_py_trie(of: list[bytes], chance: random.Random) -> None:
    index = chance.randrange(len(of))
    made = theirs(of)
    # Theirs names embedded nodes, too; ours stand in the node before.
    nodes = [encoded for node in made.get_proof(rlp.encode(index)) if len(encoded := rlp.encode(node)) >= 32]
    root_node = rlp.encode(made.get_proof(rlp.encode(index))[0])
    nodes = nodes if nodes and nodes[0] == root_node else [root_node, *nodes]
    assert trie.value_at(made.root_hash, index, nodes) == of[index]


@pytest.mark.parametrize("count", [0, 1, 2, 16, 127, 128, 129, 255, 256, 257, 400])
def test_lists_of_any_length_have_the_root_that_py_trie_finds(count: int) -> None:
    of = [random.Random(n).randbytes(40) for n in range(count)]
    assert proofs.root(of) == theirs(of).root_hash


# --- whole blocks


@pytest.mark.parametrize("seed", range(3))
def test_a_proof_is_verified_without_our_code(seed: int) -> None:
    """As docs/protocol/event-proofs.md says, with public libraries only."""
    block, receipts = block_of(random.Random(seed), 140)
    index = max(range(140), key=lambda n: len(receipts[n]["logs"]))
    told = receipts[index]["logs"][-1]
    made = proofs.prove(
        "eip155:1",
        block,
        receipts,
        block["transactions"],
        transaction_index=index,
        log_index=len(receipts[index]["logs"]) - 1,
    ).document()

    header = rlp.decode(raw(made["block"]["header"]))
    assert Web3.keccak(raw(made["block"]["header"])) == raw(block["hash"])
    key = rlp.encode(made["transaction"]["index"])
    transaction = found(header[4], key, made["transaction"]["path"])
    assert Web3.keccak(transaction) == raw(told["transactionHash"])
    receipt = found(header[5], key, made["receipt"]["path"])
    logs = rlp.decode(receipt[1:] if receipt[0] < 0x80 else receipt)[3]
    address, topics, data = logs[made["log"]["index"]]
    assert (address, topics, data) == (raw(told["address"]), [raw(each) for each in told["topics"]], raw(told["data"]))


def found(root: bytes, key: bytes, path: list[str]) -> bytes:
    return HexaryTrie.get_from_proof(root, key, [rlp.decode(raw(node)) for node in path])


def raw(text: str) -> bytes:
    return bytes.fromhex(text[2:])


# --- transactions


SIGNED: dict[str, dict[str, Any]] = {
    "legacy, of a chain": COMMON | {"gasPrice": 10**10, "chainId": 1},
    "legacy, of any chain": COMMON | {"gasPrice": 10**10},
    "legacy, creating": COMMON | {"gasPrice": 10**10, "to": ""},
    "access list": COMMON | {"type": 1, "chainId": 10, "gasPrice": 10**10, "accessList": ACCESS},
    "fees": COMMON | FEES | {"type": 2, "accessList": ACCESS},
    "fees, nothing else": {**COMMON, **FEES, "type": 2, "nonce": 0, "value": 0, "data": b"", "accessList": []},
    "blobs": COMMON
    | FEES
    | {"type": 3, "accessList": [], "maxFeePerBlobGas": 5, "blobVersionedHashes": ["0x01" + "ab" * 31] * 2},
    "delegation": COMMON | FEES | {"type": 4, "accessList": ACCESS, "authorizationList": "two"},
}


@pytest.mark.parametrize("name", SIGNED)
def test_transactions_are_encoded_as_eth_account_does(name: str) -> None:
    account = Account.from_key(KEY)
    wanted = dict(SIGNED[name])
    if "authorizationList" in wanted:
        authorizations = [{"chainId": chain, "address": TO, "nonce": chain} for chain in (0, 1)]
        wanted["authorizationList"] = [account.sign_authorization(each) for each in authorizations]
    signed = account.sign_transaction(wanted)
    as_answered = answered(bytes(signed.raw_transaction), wanted)
    assert proofs.transaction_value(as_answered) == bytes(signed.raw_transaction)
    assert proofs.keccak(proofs.transaction_value(as_answered)) == bytes(signed.hash)


def answered(signed: bytes, wanted: dict[str, Any]) -> dict[str, Any]:
    """As a node answers with it."""
    if signed[0] > 0x7F:
        names = ("nonce", "gasPrice", "gas", "to", "value", "input", "v", "r", "s")
        return {"type": "0x0", **as_json(dict(zip(names, rlp.decode(signed), strict=True)))}
    fields: dict[str, Any] = TypedTransaction.from_bytes(HexBytes(signed)).as_dict()
    fields["input"] = fields.pop("data")
    fields["yParity"] = fields.pop("v")
    return as_json(fields)


def as_json(value: Any, name: str = "") -> Any:
    match value:
        case dict():
            return {key: as_json(each, key) for key, each in value.items()}
        case list() | tuple():
            return [as_json(each, name) for each in value]
        case bytes() if name in ("to", "input", "address", "storageKeys", "blobVersionedHashes"):
            return "0x" + value.hex() if value or name != "to" else None
        case bytes():
            return hex(int.from_bytes(value, "big"))
        case int() if name == "storageKeys":
            return f"0x{value:064x}"
        case int():
            return hex(value)
        case _:
            return value


def test_the_published_proof_is_one() -> None:
    page = (PROTOCOL / "event-proofs.md").read_text(encoding="utf-8")
    published = (PROTOCOL / "event-proof.json").read_bytes()
    [trusted] = re.findall(r"0x[0-9a-f]{64}", page)
    proven = proofs.verify(published, trusted_chain="eip155:1", trusted_block_hash=trusted)
    assert proven.event_id == orjson.loads(published)["event_id"]
