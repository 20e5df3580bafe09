"""What a proof shows."""

from dataclasses import dataclass, field
from typing import Any

from tocsin.proofs.receipts import Receipt

__all__ = ["Proven"]


@dataclass(frozen=True, slots=True)
class Proven:
    """What is true of the chain if it has the block. Hexadecimal is lower case, after 0x.

    The proof of a transaction says nothing of a log, and that of a block nothing of either: what is None is not shown.
    """

    event_id: str
    chain: str
    block_number: int
    block_hash: str
    parent_hash: str
    timestamp: int
    transaction_hash: str | None = None
    transaction_index: int | None = None
    transaction_value: bytes = field(default=b"", repr=False)
    """The transaction as it is hashed, for `Transaction.parse`."""
    receipt: Receipt | None = field(default=None, repr=False)
    succeeded: bool | None = None
    """Whether the transaction did; None before Byzantium, too."""
    log_index: int | None = None
    """The log's place among those of its transaction."""
    address: str | None = None
    topics: tuple[str, ...] = ()
    data: str | None = None
    unchecked: tuple[str, ...] = ()
    """Members of the event's payload that are the relay's word, such as `verified`; or in part, such as an amount that
    is the token's units with the decimal point where the relay says."""

    @property
    def payload(self) -> dict[str, Any]:
        """What the payload of an event says of its place: of the block, and of transaction and log where they are."""
        block = {
            "number": self.block_number,
            "hash": self.block_hash,
            "parent_hash": self.parent_hash,
            "timestamp": self.timestamp,
        }
        said: dict[str, Any] = {"chain": self.chain, "block": block}
        if self.transaction_hash is not None:
            said["transaction"] = {"hash": self.transaction_hash, "index": self.transaction_index}
        if self.log_index is not None:
            topics = list(self.topics)
            said["log"] = {"index": self.log_index, "address": self.address, "topics": topics, "data": self.data}
        return said
