"""RLP, the encoding of everything that Ethereum hashes: strings of bytes, and lists of such items.

Every item has exactly one encoding. What is not in it is refused: two encodings of one thing would have two hashes.
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from tocsin.proofs.errors import Malformed

__all__ = ["Item", "decode", "encode", "integer", "list_head", "listed", "string", "string_head"]

Item: TypeAlias = "bytes | list[Item]"

depth_max = 8  # of lists in lists; an access list in a transaction is the deepest that blocks have, with three

_STRING, _LIST = 0x80, 0xC0
_SHORT_MAX = 55


def encode(item: "bytes | Sequence[bytes | Sequence[object]]") -> bytes:
    """The encoding of a string, or of a list of items."""
    if isinstance(item, bytes):
        return string(item)
    return listed(encode(each) for each in item)  # pyright: ignore[reportArgumentType]


def string(value: bytes) -> bytes:
    """The encoding of a string of bytes."""
    size = len(value)
    if size == 1 and value[0] < _STRING:
        return value
    if size <= _SHORT_MAX:
        return _SHORT_STRINGS[size] + value
    return string_head(size) + value


def listed(encoded: Iterable[bytes]) -> bytes:
    """The encoding of a list of items that are encoded already."""
    body = b"".join(encoded)
    return list_head(len(body)) + body


def string_head(size: int) -> bytes:
    """What stands before a string of so many bytes, unless it is one byte that stands for itself."""
    return _head(_STRING, size)


def list_head(size: int) -> bytes:
    """What stands before a list whose items are so many bytes long when they are encoded."""
    return _head(_LIST, size)


def integer(value: int) -> bytes:
    """The string of bytes that stands for a number: most significant first, none leading in vain."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode(data: bytes, part: str = "RLP") -> Item:
    """The item that these bytes are the encoding of, all of them; `Malformed` if they are not. Takes linear time."""
    item, end = _item(data, 0, len(data), depth_max, part)
    if end != len(data):
        raise Malformed(part, f"{len(data) - end} bytes follow the item")
    return item


def _head(kind: int, size: int) -> bytes:
    if size <= _SHORT_MAX:
        return bytes((kind + size,))
    written = integer(size)
    return bytes((kind + _SHORT_MAX + len(written),)) + written


_SHORT_STRINGS = [_head(_STRING, size) for size in range(_SHORT_MAX + 1)]


def _item(data: bytes, at: int, end: int, depth: int, part: str) -> tuple[Item, int]:
    """The item that begins at `at`, and where it ends, which is not after `end`."""
    if at >= end:
        raise Malformed(part, "an item is missing")
    first = data[at]
    if first < _STRING:
        return data[at : at + 1], at + 1
    kind = _STRING if first < _LIST else _LIST
    start, stop = _extent(data, at, end, first - kind, part)
    if kind == _STRING:
        if stop - start == 1 and data[start] < _STRING:
            raise Malformed(part, "a byte that stands for itself has a length before it")
        return data[start:stop], stop
    if depth == 0:
        raise Malformed(part, f"lists are nested more than {depth_max} deep")
    items: list[Item] = []
    while start < stop:
        item, start = _item(data, start, stop, depth - 1, part)
        items.append(item)
    return items, stop


def _extent(data: bytes, at: int, end: int, size: int, part: str) -> tuple[int, int]:
    """Where the content of an item begins and ends."""
    start = at + 1
    if size > _SHORT_MAX:
        start += size - _SHORT_MAX
        written = data[at + 1 : start]
        size = int.from_bytes(written, "big")
        if start > end or written[0] == 0 or size <= _SHORT_MAX:
            raise Malformed(part, "a length is not written in its shortest form")
    if start + size > end:
        raise Malformed(part, "an item is longer than what holds it")
    return start, start + size
