"""Transactions, as they are hashed: the Keccak-256 of what stands in the trie for one is its hash."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tocsin.proofs import rlp
from tocsin.proofs.errors import Malformed
from tocsin.proofs.fields import as_bytes, as_list, as_object, octets, present, quantity

__all__ = ["transaction_value"]

_ACCESS = ("accessList",)
_SIGNED = ("yParity", "r", "s")
_CALL = ("to", "value", "input")
_FEES = ("maxPriorityFeePerGas", "maxFeePerGas")

# What is hashed of each type, in this order, by the names of JSON-RPC.
_TYPES: Mapping[int, Sequence[str]] = {
    0x00: ("nonce", "gasPrice", "gas", *_CALL, "v", "r", "s"),
    0x01: ("chainId", "nonce", "gasPrice", "gas", *_CALL, *_ACCESS, *_SIGNED),
    0x02: ("chainId", "nonce", *_FEES, "gas", *_CALL, *_ACCESS, *_SIGNED),
    0x03: (
        *("chainId", "nonce", *_FEES, "gas", *_CALL, *_ACCESS),
        *("maxFeePerBlobGas", "blobVersionedHashes", *_SIGNED),
    ),
    0x04: ("chainId", "nonce", *_FEES, "gas", *_CALL, *_ACCESS, "authorizationList", *_SIGNED),
    # A deposit of the OP Stack: nobody signs it.
    0x7E: ("sourceHash", "from", "to", "mint", "value", "gas", "isSystemTx", "input"),
}


def transaction_value(transaction: Mapping[str, Any], part: str = "transaction") -> bytes:
    """What stands in the trie of transactions for one as `eth_getBlockBy…` gives it when it is asked for them whole."""
    number = quantity(transaction, "type", part, 1) if present(transaction, "type") else b""
    names = _TYPES.get(int.from_bytes(number, "big"))
    if names is None:
        raise Malformed(part, f"how transactions of type 0x{number.hex()} are encoded is not known here")
    return number + rlp.listed(_member(transaction, name, part) for name in names)


def _member(fields: Mapping[str, Any], name: str, part: str) -> bytes:
    match name:
        case "to":
            # Creates a contract where there is none.
            return rlp.string(octets(fields, "to", part, 20) if present(fields, "to") else b"")
        case "from":
            return rlp.string(octets(fields, "from", part, 20))
        case "sourceHash":
            return rlp.string(octets(fields, "sourceHash", part, 32))
        case "input":
            return rlp.string(octets(fields, "input", part))
        case "mint":
            return rlp.string(quantity(fields, "mint", part) if present(fields, "mint") else b"")
        case "isSystemTx":
            return rlp.string(b"\1" if fields.get("isSystemTx") is True else b"")
        case "yParity":
            # Older nodes call it v, here too.
            return rlp.string(quantity(fields, "yParity" if present(fields, "yParity") else "v", part))
        case "accessList":
            return rlp.listed(_access(each, part) for each in as_list(fields.get("accessList"), part))
        case "authorizationList":
            return rlp.listed(_authorization(each, part) for each in as_list(fields.get("authorizationList"), part))
        case "blobVersionedHashes":
            return rlp.listed(_hashes(fields, "blobVersionedHashes", part))
        case _:
            return rlp.string(quantity(fields, name, part))


def _access(entry: object, part: str) -> bytes:
    fields = as_object(entry, part)
    keys = rlp.listed(_hashes(fields, "storageKeys", part))
    return rlp.listed((rlp.string(octets(fields, "address", part, 20)), keys))


def _authorization(entry: object, part: str) -> bytes:
    fields = as_object(entry, part)
    return rlp.listed(
        rlp.string(octets(fields, name, part, 20)) if name == "address" else _member(fields, name, part)
        for name in ("chainId", "address", "nonce", *_SIGNED)
    )


def _hashes(fields: Mapping[str, Any], name: str, part: str) -> Iterator[bytes]:
    return (rlp.string(as_bytes(each, part, name, 32)) for each in as_list(fields.get(name), part))
