"""How far an answer is checked against the hash of its block, and how far a chain's answers have to be.

    receipts-root   the header's fields make the block's hash, and all receipts make the header's receiptsRoot: no log
                    is left out, added or altered, and none is at another place
    bloom           the header's fields make the block's hash, and all logs make the header's logsBloom: no address or
                    topic is there that no other log has; data, order and repetitions are the node's word
    rpc             as the node answered

A chain is held to what its blocks have shown for a while, or to what its operator says. From then on an answer that
shows less is refused: whoever could lower the demand by answering worse would not be held to anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from app.kit import limits
from tocsin import proofs

Verified: TypeAlias = Literal["receipts-root", "bloom", "rpc"]

VerifiedHash: TypeAlias = Literal["transactions-root", "rpc"]
"""How far the hashes of transactions are checked, which no receipt commits to."""

_STRENGTH: Mapping[Verified, int] = {"rpc": 0, "bloom": 1, "receipts-root": 2}


@dataclass(frozen=True, slots=True)
class Capability:
    """What a chain's answers have to show, and how many in a row have shown so much."""

    demanded: Verified = "rpc"
    settled: bool = False
    """The operator has said it: nothing is learned any more."""
    rooted: int = 0
    """Blocks in a row that have shown `receipts-root`."""
    bloomed: int = 0
    """Blocks in a row that have shown at least `bloom`."""


def held_to(verified: Verified | None) -> Capability:
    """What is known of a chain to begin with: what its operator says, or nothing."""
    return Capability() if verified is None else Capability(demanded=verified, settled=True)


def committed(answer: Mapping[str, Any], block_hash: str) -> proofs.Header | None:
    """The header that the block's hash commits to; None where the fields given do not make this hash."""
    try:
        header = proofs.Header.parse(proofs.header_rlp(answer))
    except proofs.Malformed:
        return None
    return header if f"0x{header.hash.hex()}" == block_hash else None


def shown_by_receipts(header: proofs.Header | None, receipts: Sequence[Mapping[str, Any]]) -> Verified:
    """What these receipts show of themselves, as all those of the block."""
    if header is None:
        return "rpc"
    try:
        if proofs.root([proofs.receipt_value(receipt) for receipt in receipts]) == header.receipts_root:
            return "receipts-root"
        # They are well-formed: otherwise they could not be encoded.
        logs = (log for receipt in receipts for log in receipt["logs"])
        return shown_by_logs(header, (text for log in logs for text in (log["address"], *log["topics"])))
    except proofs.Malformed:
        return "rpc"


def shown_by_logs(header: proofs.Header | None, addresses_and_topics: Iterable[str]) -> Verified:
    """What all logs of the block show of themselves, by their addresses and topics."""
    if header is None:
        return "rpc"
    found = proofs.bloom(bytes.fromhex(text.removeprefix("0x")) for text in addresses_and_topics)
    return "bloom" if found == header.logs_bloom else "rpc"


def shown_by_transactions(header: proofs.Header | None, transactions: Sequence[Mapping[str, Any]]) -> VerifiedHash:
    """What these transactions show of themselves, as all those of the block."""
    if header is None:
        return "rpc"
    try:
        root = proofs.root([proofs.transaction_value(transaction) for transaction in transactions])
    except proofs.Malformed:
        return "rpc"
    return "transactions-root" if root == header.transactions_root else "rpc"


def lacking(capability: Capability, shown: Verified) -> str | None:
    """Why an answer that shows this much is refused; None where it is not."""
    if _STRENGTH[shown] >= _STRENGTH[capability.demanded]:
        return None
    return f"it shows only {shown!r}, and this chain's blocks are held to {capability.demanded!r}"


def learned(capability: Capability, shown: Verified) -> Capability:
    """What is known of a chain after one more block with transactions. What is demanded never becomes less."""
    if capability.settled:
        return capability
    rooted = capability.rooted + 1 if shown == "receipts-root" else 0
    bloomed = capability.bloomed + 1 if shown != "rpc" else 0
    enough = limits.chain_blocks_until_demanded
    earned: Verified = "receipts-root" if rooted >= enough else "bloom" if bloomed >= enough else "rpc"
    demanded = max(capability.demanded, earned, key=_STRENGTH.__getitem__)
    return replace(capability, demanded=demanded, rooted=min(rooted, enough), bloomed=min(bloomed, enough))
