"""A proof as a JSON document. Reading is strict: whatever is not written as it should be is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from tocsin.proofs.errors import Malformed
from tocsin.proofs.fields import as_bytes, as_list, as_object
from tocsin.proofs.trie import nodes_max

__all__ = ["Proof", "hexadecimal"]

version = 1
document_bytes_max = 64 * 1024 * 1024
index_max = 2**32 - 1
number_max = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Proof:
    """What shows that a log is in a block. By itself it proves nothing: see `verify`."""

    event_id: str
    chain: str
    block_number: int
    block_hash: bytes
    header: bytes
    transaction_index: int
    transaction_hash: bytes
    transaction_path: tuple[bytes, ...]
    receipt_path: tuple[bytes, ...]
    log_index: int

    @classmethod
    def parse(cls, document: str | bytes | Mapping[str, Any]) -> "Proof":
        """The proof that a document is, as text or as JSON read already; `Malformed` if it is none."""
        members = _members(
            _read(document), "proof", "version", "event_id", "chain", "block", "transaction", "receipt", "log"
        )
        if _number(members["version"], "version") != version:
            raise Malformed("version", f"it is not {version}, the only one known here")
        block = _members(members["block"], "block", "number", "hash", "header")
        transaction = _members(members["transaction"], "transaction", "index", "hash", "path")
        receipt = _members(members["receipt"], "receipt", "path")
        log = _members(members["log"], "log", "index")
        return cls(
            event_id=_text(members["event_id"], "event_id"),
            chain=_text(members["chain"], "chain"),
            block_number=_number(block["number"], "block.number", number_max),
            block_hash=_bytes(block["hash"], "block.hash", 32),
            header=_bytes(block["header"], "block.header"),
            transaction_index=_number(transaction["index"], "transaction.index"),
            transaction_hash=_bytes(transaction["hash"], "transaction.hash", 32),
            transaction_path=_path(transaction["path"], "transaction.path"),
            receipt_path=_path(receipt["path"], "receipt.path"),
            log_index=_number(log["index"], "log.index"),
        )

    def document(self) -> dict[str, Any]:
        """The document, ready to be written as JSON."""
        return {
            "version": version,
            "event_id": self.event_id,
            "chain": self.chain,
            "block": {
                "number": self.block_number,
                "hash": hexadecimal(self.block_hash),
                "header": hexadecimal(self.header),
            },
            "transaction": {
                "index": self.transaction_index,
                "hash": hexadecimal(self.transaction_hash),
                "path": [hexadecimal(node) for node in self.transaction_path],
            },
            "receipt": {"path": [hexadecimal(node) for node in self.receipt_path]},
            "log": {"index": self.log_index},
        }


def _read(document: str | bytes | Mapping[str, Any]) -> object:
    if not isinstance(document, (str, bytes)):
        return document
    if len(document) > document_bytes_max:
        raise Malformed("proof", f"it has more than {document_bytes_max} bytes")
    try:
        # Bounds the nesting by itself.
        return from_json(document, allow_inf_nan=False)
    except ValueError:
        raise Malformed("proof", "it is no JSON") from None


def _members(value: object, part: str, *names: str) -> Mapping[str, Any]:
    found = as_object(value, part)
    if set(found) != set(names):
        raise Malformed(part, f"its members are not exactly {', '.join(names)}")
    return found


def _number(value: object, part: str, at_most: int = index_max) -> int:
    # A bool is an int, too.
    if type(value) is not int or not 0 <= value <= at_most:
        raise Malformed(part, f"it is no number from 0 to {at_most}")
    return value


def _text(value: object, part: str) -> str:
    if not isinstance(value, str):
        raise Malformed(part, "it is no text")
    return value


def _bytes(value: object, part: str, size: int | None = None) -> bytes:
    found = as_bytes(value, part, "it", size)
    if hexadecimal(found) != value:
        raise Malformed(part, "its hexadecimal is not in lower case")
    return found


def _path(value: object, part: str) -> tuple[bytes, ...]:
    nodes = as_list(value, part)
    if len(nodes) > nodes_max:
        raise Malformed(part, f"it has more than {nodes_max} nodes")
    return tuple(_bytes(node, f"{part}[{place}]") for place, node in enumerate(nodes))


def hexadecimal(value: bytes) -> str:
    """As JSON-RPC writes bytes."""
    return "0x" + value.hex()
