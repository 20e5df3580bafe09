"""Making proofs, out of what any node of the chain answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.proofs import trie
from tocsin.proofs.documents import Inclusion, Proof, hexadecimal
from tocsin.proofs.errors import Unprovable
from tocsin.proofs.event_ids import event_id
from tocsin.proofs.fields import as_object, octets
from tocsin.proofs.headers import Header, header_rlp
from tocsin.proofs.keccak import keccak
from tocsin.proofs.receipts import Receipt, receipt_value
from tocsin.proofs.transactions import transaction_value

__all__ = ["Contents", "prove"]


@dataclass(frozen=True, slots=True)
class Contents:
    """A block, and all that its header commits to: whoever has it can prove whatever happened in it."""

    header: bytes
    hash: bytes
    number: int
    transactions: tuple[bytes, ...]
    receipts: tuple[bytes, ...]

    @classmethod
    def read(
        cls, block: Mapping[str, Any], receipts: Sequence[object] = (), transactions: Sequence[object] | None = None
    ) -> "Contents":
        """What a node's answers are, if they make the block's hash and roots; `Unprovable` where they do not.

        `block` is as `eth_getBlockByHash` gives it, `receipts` as `eth_getBlockReceipts`, all of them, and
        `transactions` are those of the block, whole. Without them, nothing but the block itself can be proven.
        """
        encoded = header_rlp(block)
        header = Header.parse(encoded, "block")
        if header.hash != octets(block, "hash", "block", 32):
            raise Unprovable("block.hash", f"it is not the hash of its header, which is {hexadecimal(header.hash)}")
        if transactions is None:
            return cls(encoded, header.hash, header.number, (), ())
        return cls(
            header=encoded,
            hash=header.hash,
            number=header.number,
            receipts=_values(receipts, receipt_value, header.receipts_root, "receipts"),
            transactions=_values(transactions, transaction_value, header.transactions_root, "transactions"),
        )

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self.header) + sum(map(len, self.transactions)) + sum(map(len, self.receipts))

    def proof(self, chain: str, *place: int) -> Proof:
        """The proof of what is at a place: of the block, of the transaction at an index, or of its log at another.

        `Unprovable` where there is nothing.
        """
        index, log_index = (*place, None, None)[:2]
        return Proof(
            event_id=event_id(chain, hexadecimal(self.hash), *place),
            chain=chain,
            block_number=self.number,
            block_hash=self.hash,
            header=self.header,
            transaction=None if index is None else self._inclusion(index, log_index),
            log_index=log_index,
        )

    def _inclusion(self, index: int, log_index: int | None) -> Inclusion:
        if not 0 <= index < len(self.transactions) or index >= len(self.receipts):
            raise Unprovable("transactions", f"the block has no transaction {index}")
        if log_index is not None:
            logs = Receipt.parse(self.receipts[index], f"receipts[{index}]").logs
            if not 0 <= log_index < len(logs):
                raise Unprovable(f"receipts[{index}].logs", f"the transaction has no log {log_index}")
        return Inclusion(
            index=index,
            hash=keccak(self.transactions[index]),
            path=tuple(trie.path(self.transactions, index)),
            receipt_path=tuple(trie.path(self.receipts, index)),
        )


def prove(
    chain: str,
    block: Mapping[str, Any],
    receipts: Sequence[object] = (),
    transactions: Sequence[object] | None = None,
    *,
    transaction_index: int | None = None,
    log_index: int | None = None,
) -> Proof:
    """The proof of a log: the one at `log_index` in its transaction, which is at `transaction_index` in the block.

    Without a log, of the transaction; without either, of the block. The answers are as `Contents.read` takes them.
    """
    contents = Contents.read(block, receipts, transactions)
    return contents.proof(chain, *(each for each in (transaction_index, log_index) if each is not None))


def _values(
    answers: Sequence[object], value_of: Callable[[Mapping[str, Any], str], bytes], expected_root: bytes, part: str
) -> tuple[bytes, ...]:
    """What stands in the trie for each of these, if together they make the root."""
    values = [value_of(as_object(each, f"{part}[{n}]"), f"{part}[{n}]") for n, each in enumerate(answers)]
    if trie.root(values) != expected_root:
        raise Unprovable(part, "they do not make the root in the block's header")
    return tuple(values)
