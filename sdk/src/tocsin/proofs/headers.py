"""The header of a block, whose Keccak-256 is the block's hash: all that one has to trust is those 32 bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from tocsin.proofs import rlp
from tocsin.proofs.errors import Malformed
from tocsin.proofs.fields import octets, present, quantity
from tocsin.proofs.keccak import keccak

__all__ = ["Header", "header_rlp"]

_Sizes: TypeAlias = int | range

# In the order in which they are hashed, by their names in JSON-RPC. A number has at most so many bytes and none leading
# in vain (a range); all others have exactly so many, but for extraData, which has any number.
_NUMBER, _LARGE = range(9), range(33)
_FIELDS: Mapping[str, _Sizes | None] = {
    "parentHash": 32,
    "sha3Uncles": 32,
    "miner": 20,
    "stateRoot": 32,
    "transactionsRoot": 32,
    "receiptsRoot": 32,
    "logsBloom": 256,
    "difficulty": _LARGE,
    "number": _NUMBER,
    "gasLimit": _NUMBER,
    "gasUsed": _NUMBER,
    "timestamp": _NUMBER,
    "extraData": None,
    "mixHash": 32,
    "nonce": 8,
}
# Added by one upgrade after the other: a block has those up to some place, and none after it.
_LATER: Mapping[str, _Sizes] = {
    "baseFeePerGas": _LARGE,
    "withdrawalsRoot": 32,
    "blobGasUsed": _NUMBER,
    "excessBlobGas": _NUMBER,
    "parentBeaconBlockRoot": 32,
    "requestsHash": 32,
}
_ALL = list({**_FIELDS, **_LATER}.items())


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says, as far as proofs need it."""

    hash: bytes
    parent_hash: bytes
    number: int
    timestamp: int
    transactions_root: bytes
    receipts_root: bytes
    logs_bloom: bytes

    @classmethod
    def parse(cls, encoded: bytes, part: str = "header") -> "Header":
        """The header that is encoded so; `Malformed` if it is none."""
        items = rlp.decode(encoded, part)
        if not isinstance(items, list) or not len(_FIELDS) <= len(items) <= len(_ALL):
            raise Malformed(part, f"it is no list of {len(_FIELDS)} to {len(_ALL)} fields")
        values: dict[str, bytes] = {}
        for (name, sizes), value in zip(_ALL, items, strict=False):
            if not isinstance(value, bytes) or not _fits(value, sizes):
                raise Malformed(part, f"{name} has not the form that it has in a header")
            values[name] = value
        return cls(
            hash=keccak(encoded),
            parent_hash=values["parentHash"],
            number=int.from_bytes(values["number"], "big"),
            timestamp=int.from_bytes(values["timestamp"], "big"),
            transactions_root=values["transactionsRoot"],
            receipts_root=values["receiptsRoot"],
            logs_bloom=values["logsBloom"],
        )


def header_rlp(block: Mapping[str, Any], part: str = "block") -> bytes:
    """The encoded header of a block as `eth_getBlockBy…` gives it."""
    later: dict[str, _Sizes] = {}
    for name, sizes in _LATER.items():
        if not present(block, name):
            break
        later[name] = sizes
    return rlp.listed(
        rlp.string(quantity(block, name, part) if isinstance(sizes, range) else octets(block, name, part, sizes))
        for name, sizes in (*_FIELDS.items(), *later.items())
    )


def _fits(value: bytes, sizes: _Sizes | None) -> bool:
    if isinstance(sizes, range):
        return len(value) in sizes and not value.startswith(b"\0")
    return sizes is None or len(value) == sizes
