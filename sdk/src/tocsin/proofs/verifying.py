"""Checking proofs. Nothing is believed but what the caller says is trusted: that a chain has this block."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from tocsin.proofs.documents import Inclusion, Proof, hexadecimal
from tocsin.proofs.errors import WrongBlock, WrongEvent, WrongLog, WrongTransaction
from tocsin.proofs.event_ids import event_id
from tocsin.proofs.headers import Header
from tocsin.proofs.keccak import keccak
from tocsin.proofs.proven import Proven
from tocsin.proofs.receipts import Receipt
from tocsin.proofs.telling import compared
from tocsin.proofs.trie import value_at

__all__ = ["verify"]


def verify(
    proof: Proof | str | bytes | Mapping[str, Any] | BaseModel,
    *,
    trusted_chain: str,
    trusted_block_hash: str,
    event: Mapping[str, Any] | BaseModel | None = None,
    signature: str | None = None,
) -> Proven:
    """What this proves; a `ProofError`, which says what is wrong, if it does not prove all that it claims.

    `trusted_block_hash` is of a block that you know to be on `trusted_chain`: from a node, a light client or a contract
    that you believe. `event` is a ring's `data`, or that of an event that was read: then it must say what the chain
    says. `signature` is that of the event which your filter names; what a log was decoded to is checked with it.
    """
    claim = proof if isinstance(proof, Proof) else Proof.parse(proof)
    header = _header(claim, trusted_chain, trusted_block_hash)
    proven = Proven(
        event_id=event_id(claim.chain, hexadecimal(header.hash), *claim.place),
        chain=claim.chain,
        block_number=header.number,
        block_hash=hexadecimal(header.hash),
        parent_hash=hexadecimal(header.parent_hash),
        timestamp=header.timestamp,
    )
    if claim.transaction is not None:
        proven = _with_transaction(proven, claim.transaction, header)
    if claim.log_index is not None:
        proven = _with_log(proven, claim.log_index)
    if claim.event_id != proven.event_id:
        raise WrongEvent("event_id", f"the event at this place is {proven.event_id}")
    if event is None:
        return proven
    told = event.model_dump(mode="json", by_alias=True) if isinstance(event, BaseModel) else event
    return replace(proven, unchecked=compared(proven, told, signature))


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


def _with_transaction(proven: Proven, claim: Inclusion, header: Header) -> Proven:
    value = value_at(header.transactions_root, claim.index, claim.path, "transaction.path")
    if keccak(value) != claim.hash:
        raise WrongTransaction("transaction.hash", "it is not that of the transaction which the path leads to")
    receipt = Receipt.parse(value_at(header.receipts_root, claim.index, claim.receipt_path, "receipt.path"), "receipt")
    return replace(
        proven,
        transaction_hash=hexadecimal(claim.hash),
        transaction_index=claim.index,
        transaction_value=value,
        receipt=receipt,
        succeeded=receipt.succeeded,
    )


def _with_log(proven: Proven, log_index: int) -> Proven:
    logs = proven.receipt.logs if proven.receipt is not None else ()
    if log_index >= len(logs):
        raise WrongLog("log.index", f"the transaction has {len(logs)} logs")
    log = logs[log_index]
    return replace(
        proven,
        log_index=log_index,
        address=hexadecimal(log.address),
        topics=tuple(map(hexadecimal, log.topics)),
        data=hexadecimal(log.data),
    )
