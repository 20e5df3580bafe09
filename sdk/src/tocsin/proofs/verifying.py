"""Checking proofs. Nothing is believed but what the caller says is trusted: that a chain has this block."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from tocsin.proofs.documents import Proof, hexadecimal
from tocsin.proofs.errors import WrongBlock, WrongEvent, WrongLog, WrongTransaction
from tocsin.proofs.event_ids import event_id
from tocsin.proofs.headers import Header
from tocsin.proofs.keccak import keccak
from tocsin.proofs.receipts import Log, Receipt
from tocsin.proofs.trie import value_at

__all__ = ["Proven", "verify"]


@dataclass(frozen=True, slots=True)
class Proven:
    """What is true of the chain if it has the block. Hexadecimal is lower case, after 0x."""

    event_id: str
    chain: str
    block_number: int
    block_hash: str
    parent_hash: str
    timestamp: int
    transaction_hash: str
    transaction_index: int
    log_index: int
    """The log's place among those of its transaction."""
    address: str
    topics: tuple[str, ...]
    data: str
    unchecked: tuple[str, ...] = ()
    """Members of the event's payload that are the relay's word only, such as `verified`."""

    @property
    def payload(self) -> dict[str, Any]:
        """What the payload of an event of kind `evm.log` says of this."""
        return {
            "chain": self.chain,
            "block": {
                "number": self.block_number,
                "hash": self.block_hash,
                "parent_hash": self.parent_hash,
                "timestamp": self.timestamp,
            },
            "transaction": {"hash": self.transaction_hash, "index": self.transaction_index},
            "log": {
                "index": self.log_index,
                "address": self.address,
                "topics": list(self.topics),
                "data": self.data,
            },
        }


def verify(
    proof: Proof | str | bytes | Mapping[str, Any],
    *,
    trusted_chain: str,
    trusted_block_hash: str,
    event: Mapping[str, Any] | None = None,
) -> Proven:
    """What this proves; a `ProofError`, which says what is wrong, if it does not prove all that it claims.

    `trusted_block_hash` is of a block that you know to be on `trusted_chain`: from a node, a light client or a contract
    that you believe. `event` is a ring's `data`, or that of an event that was read: then it must say what the log says.
    """
    claim = proof if isinstance(proof, Proof) else Proof.parse(proof)
    header = _header(claim, trusted_chain, trusted_block_hash)
    value = value_at(header.transactions_root, claim.transaction_index, claim.transaction_path, "transaction.path")
    if keccak(value) != claim.transaction_hash:
        raise WrongTransaction("transaction.hash", "it is not that of the transaction which the path leads to")
    log = _log(claim, header)
    proven = Proven(
        event_id=event_id(claim.chain, hexadecimal(header.hash), claim.transaction_index, claim.log_index),
        chain=claim.chain,
        block_number=header.number,
        block_hash=hexadecimal(header.hash),
        parent_hash=hexadecimal(header.parent_hash),
        timestamp=header.timestamp,
        transaction_hash=hexadecimal(claim.transaction_hash),
        transaction_index=claim.transaction_index,
        log_index=claim.log_index,
        address=hexadecimal(log.address),
        topics=tuple(map(hexadecimal, log.topics)),
        data=hexadecimal(log.data),
    )
    if claim.event_id != proven.event_id:
        raise WrongEvent("event_id", f"the event at this place is {proven.event_id}")
    return proven if event is None else _telling(proven, event)


def _header(claim: Proof, trusted_chain: str, trusted_block_hash: str) -> Header:
    if claim.chain != trusted_chain:
        raise WrongBlock("chain", f"it is {claim.chain!r}, not {trusted_chain!r}")
    # Before it is taken apart: what is not the trusted block's may be made to take long.
    hashed = hexadecimal(keccak(claim.header))
    if hashed != trusted_block_hash.lower():
        raise WrongBlock("block.header", f"its hash is {hashed}, not {trusted_block_hash}")
    header = Header.parse(claim.header, "block.header")
    if claim.block_hash != header.hash:
        raise WrongBlock("block.hash", "it is not the hash of the header")
    if claim.block_number != header.number:
        raise WrongBlock("block.number", f"the header says {header.number}")
    return header


def _log(claim: Proof, header: Header) -> Log:
    value = value_at(header.receipts_root, claim.transaction_index, claim.receipt_path, "receipt.path")
    logs = Receipt.parse(value, "receipt").logs
    if claim.log_index >= len(logs):
        raise WrongLog("log.index", f"the transaction has {len(logs)} logs")
    return logs[claim.log_index]


# --- what was told


def _telling(proven: Proven, event: Mapping[str, Any]) -> Proven:
    """The same, if the event tells it."""
    for name, expected in (("event_id", proven.event_id), ("kind", "evm.log")):
        if event.get(name) != expected:
            raise WrongEvent(f"event.{name}", f"it is {str(event.get(name))[:80]!r}, not {expected!r}")
    unchecked = tuple(_unchecked(event.get("payload"), proven.payload, "payload"))
    return replace(proven, unchecked=unchecked)


def _unchecked(said: object, expected: Mapping[str, object], part: str) -> Iterator[str]:
    """Names of members that are said beyond what is expected; all that is expected must be said, exactly."""
    members: Mapping[str, object] = cast(Mapping[str, object], said) if isinstance(said, Mapping) else {}
    for name, value in expected.items():
        here = f"{part}.{name}"
        if isinstance(value, dict):
            yield from _unchecked(members.get(name), cast(Mapping[str, object], value), here)
        elif not _same(members.get(name), value):
            told, true = str(members.get(name))[:80], str(value)[:80]
            raise WrongEvent(f"event.{here}", f"it is {told!r}, and on the chain {true!r}")
    yield from (f"{part}.{name}" for name in members if name not in expected)


def _same(said: object, expected: object) -> bool:
    # Python takes True, 1 and 1.0 for equal.
    return type(said) is type(expected) and said == expected
