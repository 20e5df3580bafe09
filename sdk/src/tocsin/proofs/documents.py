"""A proof as a JSON document. Reading is strict: whatever is not written as it should be is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json

from tocsin.proofs.errors import Malformed
from tocsin.proofs.fields import as_bytes, as_list, as_object
from tocsin.proofs.trie import nodes_max

__all__ = ["Inclusion", "Proof", "hexadecimal"]

version = 1
document_bytes_max = 64 * 1024 * 1024
index_max = 2**32 - 1
number_max = 2**64 - 1


# What a document says of an event that is of a whole block, of a transaction, or of a log.
_OF_BLOCK = ("version", "event_id", "chain", "block")
_OF_TRANSACTION = (*_OF_BLOCK, "transaction", "receipt")
_OF_LOG = (*_OF_TRANSACTION, "log")


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The ways from a header to a transaction and to its receipt, which are at the same place."""

    index: int
    hash: bytes
    path: tuple[bytes, ...]
    receipt_path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """What shows that a log or a transaction is in a block, or what the block is. By itself it proves nothing."""

    event_id: str
    chain: str
    block_number: int
    block_hash: bytes
    header: bytes
    transaction: Inclusion | None = None
    """None of an event that is of the whole block."""
    log_index: int | None = None
    """The log's place among those of its transaction; None of an event that is of the transaction."""

    @property
    def place(self) -> tuple[int, ...]:
        """Where in its block the event is: nowhere in particular, a transaction's index, or also a log's."""
        if self.transaction is None:
            return ()
        return (self.transaction.index,) if self.log_index is None else (self.transaction.index, self.log_index)

    @classmethod
    def parse(cls, document: str | bytes | Mapping[str, Any] | BaseModel) -> "Proof":
        """The proof that a document is, as text, as JSON read already or as a relay's answer has it.

        `Malformed` if it is none.
        """
        found = as_object(_read(document), "proof")
        names = _OF_LOG if "log" in found else _OF_TRANSACTION if "transaction" in found else _OF_BLOCK
        members = _members(found, "proof", *names)
        if _number(members["version"], "version") != version:
            raise Malformed("version", f"it is not {version}, the only one known here")
        block = _members(members["block"], "block", "number", "hash", "header")
        return cls(
            event_id=_text(members["event_id"], "event_id"),
            chain=_text(members["chain"], "chain"),
            block_number=_number(block["number"], "block.number", number_max),
            block_hash=_bytes(block["hash"], "block.hash", 32),
            header=_bytes(block["header"], "block.header"),
            transaction=_inclusion(members) if names is not _OF_BLOCK else None,
            log_index=_number(_members(members["log"], "log", "index")["index"], "log.index")
            if names is _OF_LOG
            else None,
        )

    def document(self) -> dict[str, Any]:
        """The document, ready to be written as JSON."""
        block = {
            "number": self.block_number,
            "hash": hexadecimal(self.block_hash),
            "header": hexadecimal(self.header),
        }
        document: dict[str, Any] = {"version": version, "event_id": self.event_id, "chain": self.chain, "block": block}
        if self.transaction is not None:
            hashed, path = hexadecimal(self.transaction.hash), [hexadecimal(node) for node in self.transaction.path]
            document["transaction"] = {"index": self.transaction.index, "hash": hashed, "path": path}
            document["receipt"] = {"path": [hexadecimal(node) for node in self.transaction.receipt_path]}
        if self.log_index is not None:
            document["log"] = {"index": self.log_index}
        return document


def _inclusion(members: Mapping[str, Any]) -> Inclusion:
    transaction = _members(members["transaction"], "transaction", "index", "hash", "path")
    receipt = _members(members["receipt"], "receipt", "path")
    return Inclusion(
        index=_number(transaction["index"], "transaction.index"),
        hash=_bytes(transaction["hash"], "transaction.hash", 32),
        path=_path(transaction["path"], "transaction.path"),
        receipt_path=_path(receipt["path"], "receipt.path"),
    )


def _read(document: str | bytes | Mapping[str, Any] | BaseModel) -> object:
    if isinstance(document, BaseModel):
        return document.model_dump(mode="json")
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
