"""Receipts: what a transaction came to, as its block commits to it.

A receipt commits to its place in the block (by the trie), the transaction's type and whether it succeeded, and to its
logs, in order, with address, topics and data. It does not commit to the transaction's hash, its sender or recipient.
"""

from binascii import unhexlify
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
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
_ADDRESS_CHARS, _TOPIC_CHARS = 42, 66  # with 0x
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
        _logs_rlp(as_list(receipt.get("logs"), part), part),
    ]
    if type_ == bytes((_DEPOSIT,)) and present(receipt, "depositReceiptVersion"):
        fields += [rlp.string(quantity(receipt, name, part)) for name in ("depositNonce", "depositReceiptVersion")]
    return type_ + rlp.listed(fields)


def _outcome(receipt: Mapping[str, Any], part: str) -> bytes:
    """Whether it succeeded; before Byzantium the root of the state after it."""
    if present(receipt, "status"):
        return quantity(receipt, "status", part, 1)
    return octets(receipt, "root", part, 32)


def _logs_rlp(logs: Sequence[Any], part: str) -> bytes:
    """The list of these logs. Most of what there is to encode in a block, so it is put together before it is read as
    bytes: once a receipt, and not once a topic."""
    digits = "".join([_log_digits(log, part) for log in logs])
    try:
        return rlp.listed((unhexlify(digits),))
    except ValueError:
        raise Malformed(part, "address, topics or data of a log are no hexadecimal") from None


def _log_digits(log: object, part: str) -> str:
    """A log's encoding, in hexadecimal; whether what stands in it is hexadecimal is not looked at."""
    fields = as_object(log, part)
    address, topics, data = fields.get("address"), as_list(fields.get("topics"), part), fields.get("data")
    if len(topics) > topics_max:
        raise Malformed(part, f"a log has more than {topics_max} topics")
    if not isinstance(address, str) or len(address) != _ADDRESS_CHARS or address[:2] != "0x":
        raise Malformed(part, "address is not 20 bytes of hexadecimal after 0x")
    if not isinstance(data, str) or len(data) % 2 or data[:2] != "0x":
        raise Malformed(part, "data is no bytes of hexadecimal after 0x")
    content = f"{_ADDRESS_HEAD}{address[2:]}{_TOPICS_HEADS[len(topics)]}"
    for topic in topics:
        if not isinstance(topic, str) or len(topic) != _TOPIC_CHARS or topic[:2] != "0x":
            raise Malformed(part, "topic is not 32 bytes of hexadecimal after 0x")
        content += _TOPIC_HEAD + topic[2:]
    # One byte that stands for itself has nothing before it.
    head = "" if len(data) == 4 and data[2] in "01234567" else _string_head(len(data) // 2 - 1)
    return f"{_list_head((len(content) + len(head) + len(data)) // 2 - 1)}{content}{head}{data[2:]}"


# Sizes repeat: what is most often logged has 32 bytes of data.
@lru_cache(maxsize=1024)
def _string_head(size: int) -> str:
    return rlp.string_head(size).hex()


@lru_cache(maxsize=1024)
def _list_head(size: int) -> str:
    return rlp.list_head(size).hex()


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
