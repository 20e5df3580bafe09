"""Making proofs, out of what any node of the chain answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tocsin.proofs import trie
from tocsin.proofs.documents import Proof, hexadecimal
from tocsin.proofs.errors import Unprovable
from tocsin.proofs.event_ids import event_id
from tocsin.proofs.fields import as_object, octets
from tocsin.proofs.headers import Header, header_rlp
from tocsin.proofs.keccak import keccak
from tocsin.proofs.receipts import Receipt, receipt_value
from tocsin.proofs.transactions import transaction_value

__all__ = ["prove"]


def prove(
    chain: str,
    block: Mapping[str, Any],
    receipts: Sequence[object],
    transactions: Sequence[object],
    *,
    transaction_index: int,
    log_index: int,
) -> Proof:
    """The proof of a log: the one at `log_index` in its transaction, which is at `transaction_index` in the block.

    `block` is as `eth_getBlockByHash` gives it, `receipts` as `eth_getBlockReceipts`, all of them, and `transactions`
    are those of the block, whole. `Unprovable` where they do not make the block's hash and roots.
    """
    encoded = header_rlp(block)
    header = Header.parse(encoded, "block")
    if header.hash != octets(block, "hash", "block", 32):
        raise Unprovable("block.hash", f"it is not the hash of its header, which is {hexadecimal(header.hash)}")
    receipt_values = _values(receipts, receipt_value, header.receipts_root, "receipts")
    transaction_values = _values(transactions, transaction_value, header.transactions_root, "transactions")
    if not 0 <= transaction_index < len(transactions):
        raise Unprovable("transactions", f"the block has no transaction {transaction_index}")
    logs = Receipt.parse(receipt_values[transaction_index], f"receipts[{transaction_index}]").logs
    if not 0 <= log_index < len(logs):
        raise Unprovable(f"receipts[{transaction_index}].logs", f"the transaction has no log {log_index}")
    return Proof(
        event_id=event_id(chain, hexadecimal(header.hash), transaction_index, log_index),
        chain=chain,
        block_number=header.number,
        block_hash=header.hash,
        header=encoded,
        transaction_index=transaction_index,
        transaction_hash=keccak(transaction_values[transaction_index]),
        transaction_path=tuple(trie.path(transaction_values, transaction_index)),
        receipt_path=tuple(trie.path(receipt_values, transaction_index)),
        log_index=log_index,
    )


def _values(
    answers: Sequence[object], value_of: Callable[[Mapping[str, Any], str], bytes], expected_root: bytes, part: str
) -> list[bytes]:
    """What stands in the trie for each of these, if together they make the root."""
    values = [value_of(as_object(each, f"{part}[{n}]"), f"{part}[{n}]") for n, each in enumerate(answers)]
    if trie.root(values) != expected_root:
        raise Unprovable(part, "they do not make the root in the block's header")
    return values
