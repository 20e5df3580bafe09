"""Proofs that something happened on a chain, which need nobody to be believed but whoever names the block.

    proven = verify(proof, trusted_chain="eip155:8453", trusted_block_hash="0x…", event=ring.data)
    print(proven.address, proven.topics, proven.data)

A block's hash is that of its header; the header holds the roots of its transactions and receipts; a path of nodes leads
from a root to one of them; and a receipt holds the logs. `verify` recomputes all of it, and raises a `ProofError` that
says which part is wrong. `prove` makes proofs, out of what any node answers. Neither does any I/O.

The same code checks whole blocks in the relay: `header_rlp`, `receipt_value` and `transaction_value` encode what a node
answers, `root` and `bloom` make of it what a header must say. The format is in docs/protocol/event-proofs.md.

Needs `pip install tocsin[proofs]`, for Keccak-256.
"""

from tocsin.proofs.blooms import bloom
from tocsin.proofs.documents import Proof
from tocsin.proofs.errors import (
    Malformed,
    ProofError,
    Refuted,
    Unprovable,
    WrongBlock,
    WrongEvent,
    WrongLog,
    WrongPath,
    WrongTransaction,
)
from tocsin.proofs.event_ids import event_id
from tocsin.proofs.headers import Header, header_rlp
from tocsin.proofs.keccak import keccak
from tocsin.proofs.proving import prove
from tocsin.proofs.receipts import Log, Receipt, receipt_value
from tocsin.proofs.transactions import transaction_value
from tocsin.proofs.trie import EMPTY_ROOT, root
from tocsin.proofs.verifying import Proven, verify

__all__ = [
    "EMPTY_ROOT",
    "Header",
    "Log",
    "Malformed",
    "Proof",
    "ProofError",
    "Proven",
    "Receipt",
    "Refuted",
    "Unprovable",
    "WrongBlock",
    "WrongEvent",
    "WrongLog",
    "WrongPath",
    "WrongTransaction",
    "bloom",
    "event_id",
    "header_rlp",
    "keccak",
    "prove",
    "receipt_value",
    "root",
    "transaction_value",
    "verify",
]
