"""Proofs of events: what shows that something is in a block. `tocsin.proofs` verifies them."""

from typing import Literal

from pydantic import Field

from tocsin.schemas.webhooks import Told
from tocsin.schemas.wire import Query, Wire

__all__ = ["BlockProof", "EventProof", "LogProof", "ProofDocument", "ProofQuery", "TransactionProof"]

_PATH = "Nodes of the trie, from the root down, as hexadecimal; the last holds what is proven."


class ProvenBlock(Wire):
    """A block."""

    number: int
    hash: str
    header: str = Field(description="As it is hashed.")


class ProvenTransaction(Wire):
    """A transaction of the block."""

    index: int = Field(description="Its place in the block, from 0, and that of its receipt.")
    hash: str
    path: list[str] = Field(description=_PATH)


class ProvenReceipt(Wire):
    """The transaction's receipt."""

    path: list[str] = Field(description=_PATH)


class ProvenLog(Wire):
    """A log of the receipt."""

    index: int = Field(description="Its place among the logs of its transaction, from 0.")


class BlockProof(Wire):
    """The proof of an event that is of a whole block."""

    version: Literal[1] = 1
    event_id: str
    chain: str = Field(description="CAIP-2 id.")
    block: ProvenBlock


class TransactionProof(BlockProof):
    """The proof of an event that is of a transaction."""

    transaction: ProvenTransaction
    receipt: ProvenReceipt


class LogProof(TransactionProof):
    """The proof of an event that is of a log."""

    log: ProvenLog


ProofDocument = LogProof | TransactionProof | BlockProof
"""A document as docs/protocol/event-proofs.md describes it."""


class EventProof(Wire):
    """An event that you were told, and the proof of it. What has to be trusted is the block's hash, and nobody here."""

    event: Told = Field(description="As `subscription_id` was told it last, or that it was taken back.")
    retracted: bool = Field(
        description="Whether it was taken back: the proof then shows that it was in a block which is not on the chain."
    )
    subscription_id: str | None = Field(
        default=None,
        description="Whose telling this is: the one you asked for, or the oldest of yours that was told the event.",
    )
    also_told_to: list[str] = Field(
        default_factory=list[str],
        description="Other subscriptions of yours that were told the event, oldest first, 20 at most. Each may have "
        "been told it in another form: of another kind, or decoded by another signature.",
    )
    proof: ProofDocument


class ProofQuery(Query):
    """Whose telling of the event."""

    subscription_id: str | None = Field(
        default=None,
        max_length=64,
        description="As this subscription of yours was told it; absent: the oldest of yours that was.",
    )
