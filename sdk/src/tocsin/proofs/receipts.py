"""Receipts: what a transaction came to, as its block commits to it.

A receipt commits to its place in the block (by the trie), the transaction's type and whether it succeeded, and to its
logs, in order, with address, topics and data. It does not commit to the transaction's hash, its sender or recipient.
"""

from binascii import unhexlify
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tocsin.proofs import rlp
from tocsin.proofs.blooms import bloom, bloom_bytes
from tocsin.proofs.errors import Malformed
from tocsin.proofs.fields import as_list, as_object, octets, present, quantity

__all__ = ["Log", "Receipt", "receipt_value"]

topics_max = 4
# What stands before an address, a topic, and lists of none to four topics, when they are encoded.
_ADDRESS_HEAD, _TOPIC_HEAD = "94", "a0"
_TOPICS_HEADS = ("c0", "e1", "f842", "f863", "f884")
_DEPOSIT = 0x7E  # OP Stack; since its upgrade Canyon with two members more
_TYPE_MAX = 0x7F  # EIP-2718


@dataclass(frozen=True, slots=True)
class Log:
    """A log, as a receipt commits to it."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt, as a block commits to it."""

    type: int
    logs: tuple[Log, ...]

    @classmethod
    def parse(cls, value: bytes, part: str = "receipt") -> "Receipt":
        """The receipt that stands so in the trie of receipts; `Malformed` if it is none."""
        type_ = value[0] if value and value[0] <= _TYPE_MAX else 0
        fields = rlp.decode(value[1:] if type_ else value, part)
        sizes = (4, 6) if type_ == _DEPOSIT else (4,)
        if not isinstance(fields, list) or len(fields) not in sizes:
            raise Malformed(part, f"it is no list of {' or '.join(map(str, sizes))} fields")
        logs = tuple(_logs(fields[3], part))
        # A receipt holds the bloom of its logs. One that does not is something else that only looks like it.
        if fields[2] != bloom(_bloomed(logs)):
            raise Malformed(part, "its bloom is not that of its logs")
        return cls(type_, logs)


def receipt_value(receipt: Mapping[str, Any], part: str = "receipt") -> bytes:
    """What stands in the trie of receipts for a receipt as `eth_getBlockReceipts` gives it."""
    type_ = quantity(receipt, "type", part, 1) if present(receipt, "type") else b""
    fields = [
        rlp.string(_outcome(receipt, part)),
        rlp.string(quantity(receipt, "cumulativeGasUsed", part)),
        rlp.string(octets(receipt, "logsBloom", part, bloom_bytes)),
        rlp.listed([_log_rlp(log, part) for log in as_list(receipt.get("logs"), part)]),
    ]
    if type_ == bytes((_DEPOSIT,)) and present(receipt, "depositReceiptVersion"):
        fields += [rlp.string(quantity(receipt, name, part)) for name in ("depositNonce", "depositReceiptVersion")]
    return type_ + rlp.listed(fields)


def _outcome(receipt: Mapping[str, Any], part: str) -> bytes:
    """Whether it succeeded; before Byzantium the root of the state after it."""
    if present(receipt, "status"):
        return quantity(receipt, "status", part, 1)
    return octets(receipt, "root", part, 32)


def _log_rlp(log: object, part: str) -> bytes:
    fields = as_object(log, part)
    topics = as_list(fields.get("topics"), part)
    if len(topics) > topics_max:
        raise Malformed(part, f"a log has more than {topics_max} topics")
    # Most of what there is to encode in a block. Sizes are fixed, so it is put together before it is read as bytes.
    digits = [_ADDRESS_HEAD, _digits(fields.get("address"), 20, part, "address"), _TOPICS_HEADS[len(topics)]]
    for topic in topics:
        digits += _TOPIC_HEAD, _digits(topic, 32, part, "topic")
    try:
        address_and_topics = unhexlify("".join(digits))
    except ValueError:
        raise Malformed(part, "address or topics are no hexadecimal") from None
    return rlp.listed((address_and_topics, rlp.string(octets(fields, "data", part))))


def _digits(value: object, size: int, part: str, name: str) -> str:
    """What follows 0x, for so many bytes; whether it is hexadecimal is not looked at."""
    if not isinstance(value, str) or len(value) != 2 + 2 * size or not value.startswith("0x"):
        raise Malformed(part, f"{name} is not {size} bytes of hexadecimal after 0x")
    return value[2:]


def _logs(items: rlp.Item, part: str) -> Iterator[Log]:
    if not isinstance(items, list):
        raise Malformed(part, "its logs are no list")
    for item in items:
        match item:
            case [bytes(address), [*topics], bytes(data)] if len(address) == 20 and len(topics) <= topics_max:
                if any(not isinstance(topic, bytes) or len(topic) != 32 for topic in topics):
                    raise Malformed(part, "a topic is not 32 bytes")
                yield Log(address, tuple(cast(Sequence[bytes], topics)), data)
            case _:
                raise Malformed(part, "a log is no address, list of at most four topics, and data")


def _bloomed(logs: Sequence[Log]) -> Iterator[bytes]:
    for log in logs:
        yield log.address
        yield from log.topics
