"""Transactions, as they are hashed: the Keccak-256 of what stands in the trie for one is its hash.

Who sent one is not in it, and follows from its signature: the sender's address is the end of a hash of the public key.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tocsin.proofs import rlp
from tocsin.proofs.errors import Malformed
from tocsin.proofs.fields import as_bytes, as_list, as_object, octets, present, quantity, quantity_bytes_max
from tocsin.proofs.keccak import keccak
from tocsin.proofs.secp256k1 import recovered

__all__ = ["Transaction", "transaction_value"]

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
_LEGACY, _DEPOSIT = 0x00, 0x7E
_TYPE_MAX = 0x7F  # EIP-2718


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction, as a block commits to it."""

    type: int
    sender: bytes
    nonce: int | None
    """None of a deposit, which has none of its own."""
    to: bytes | None
    """None of one that creates a contract."""
    value: int

    @classmethod
    def parse(cls, value: bytes, part: str = "transaction") -> "Transaction":
        """The transaction that stands so in the trie of transactions; `Malformed` if it is none of a known type."""
        type_ = value[0] if value and value[0] <= _TYPE_MAX else _LEGACY
        names = _TYPES.get(type_)
        if names is None:
            raise Malformed(part, f"how transactions of type {type_:#04x} are encoded is not known here")
        items = rlp.decode(value[1:] if type_ else value, part)
        if not isinstance(items, list) or len(items) != len(names):
            raise Malformed(part, f"it is no list of {len(names)} members")
        fields = dict(zip(names, items, strict=True))
        to = fields["to"]
        if not isinstance(to, bytes) or len(to) not in (0, 20):
            raise Malformed(part, "to is no address")
        return cls(
            type=type_,
            sender=_sender(type_, items, fields, part),
            nonce=None if type_ == _DEPOSIT else _integer(fields, "nonce", part),
            to=to or None,
            value=_integer(fields, "value", part),
        )

    def created(self, nonce: int | None = None) -> bytes | None:
        """The contract that it creates, if it does and succeeds; of a deposit, by the `nonce` that its receipt says."""
        nonce = self.nonce if nonce is None else nonce
        if self.to is not None or nonce is None:
            return None
        return keccak(rlp.encode([self.sender, rlp.integer(nonce)]))[12:]


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


# --- who sent it


def _sender(type_: int, items: list[rlp.Item], fields: Mapping[str, rlp.Item], part: str) -> bytes:
    if type_ == _DEPOSIT:
        sender = fields["from"]
        if not isinstance(sender, bytes) or len(sender) != 20:
            raise Malformed(part, "from is no address")
        return sender
    v = _integer(fields, "v" if type_ == _LEGACY else "yParity", part)
    signed, y_is_odd = _signed(type_, items, v)
    key = recovered(keccak(signed), _integer(fields, "r", part), _integer(fields, "s", part), y_is_odd)
    if key is None:
        raise Malformed(part, "its signature is nobody's")
    return keccak(key)[12:]


def _signed(type_: int, items: list[rlp.Item], v: int) -> tuple[bytes, bool]:
    """What its sender signed, and which of two keys with such a signature is meant."""
    body = cast(list[bytes], items[:-3])
    if type_ != _LEGACY:
        return bytes((type_,)) + rlp.encode(body), v == 1
    if v < 35:
        return rlp.encode(body), v == 28
    # EIP-155: the chain is signed, too.
    return rlp.encode([*body, rlp.integer((v - 35) // 2), b"", b""]), v % 2 == 0


def _integer(fields: Mapping[str, rlp.Item], name: str, part: str) -> int:
    value = fields[name]
    if not isinstance(value, bytes) or len(value) > quantity_bytes_max or value.startswith(b"\0"):
        raise Malformed(part, f"{name} is no number of at most {quantity_bytes_max} bytes")
    return int.from_bytes(value, "big")
