"""Values as the ABI lays them out. Whoever wrote the data may be hostile: reading it ends, and says what was wrong.

Integers are `int`, addresses and bytes are lower-case hexadecimal, tuples are dicts by the names of their members.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

from tocsin.abi.signatures import Kind, Parameter, is_dynamic

__all__ = ["Malformed", "Unencodable", "decode", "encode"]

# Offsets may overlap: without a bound, a few kilobytes of data could name billions of values.
values_max = 10_000
word_bytes = 32

Value: TypeAlias = Any


class Malformed(ValueError):
    """The data is none of these types. The text says where it stops being so."""


class Unencodable(ValueError):
    """A value is none of its type. `path` says which: the places of arguments and elements, the names of members."""

    def __init__(self, path: tuple[str | int, ...], detail: str) -> None:
        super().__init__(detail)
        self.path = path


def decode(parameters: Sequence[Parameter], data: bytes) -> dict[str, Value]:
    """The values by name, as a contract wrote them. Raises Malformed for anything else."""
    return _Decoder(data).members(parameters, 0, "")


class _Decoder:
    """Reads one piece of data, and counts the values that it reads."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._values = 0
        self._bytes = 0

    def members(self, parameters: Sequence[Parameter], base: int, path: str) -> dict[str, Value]:
        values: dict[str, Value] = {}
        place = base
        for each in parameters:
            values[each.name] = self._value(each.kind, base, place, f"{path}.{each.name}" if path else each.name)
            place += _head_bytes(each.kind)
        return values

    def _value(self, kind: Kind, base: int, place: int, path: str) -> Value:
        self._values += 1
        if self._values > values_max:
            raise Malformed(f"{path}: there are more than {values_max} values")
        if not is_dynamic(kind):
            return self._at(kind, place, path)
        return self._at(kind, base + self._length(place, path), path)

    def _at(self, kind: Kind, place: int, path: str) -> Value:
        """The value that begins at a place."""
        if kind.members is not None:
            return self.members(kind.members, place, path)
        if kind.element is not None:
            return self._elements(kind.element, kind.size, place, path)
        assert kind.elementary is not None
        if kind.elementary in {"bytes", "string"}:
            length = self._length(place, path)
            content = self._data[place + word_bytes : place + word_bytes + length]
            if len(content) != length:
                raise Malformed(f"{path}: {length} bytes are announced, {len(content)} are there")
            self._bytes += length
            if self._bytes > len(self._data):
                raise Malformed(f"{path}: the values are longer than the data, so they overlap")
            return "0x" + content.hex() if kind.elementary == "bytes" else _text(content, path)
        return elementary(kind.elementary, self._word(place, path), path)

    def _elements(self, element: Kind, size: int | None, place: int, path: str) -> list[Value]:
        if size is None:
            size = self._length(place, path)
            place += word_bytes
        step = _head_bytes(element)
        if place + size * step > len(self._data):
            raise Malformed(f"{path}: {size} elements are announced, and the data ends before")
        return [self._value(element, place, place + n * step, f"{path}[{n}]") for n in range(size)]

    def _length(self, place: int, path: str) -> int:
        """A length or an offset, which never leads out of the data."""
        number = int.from_bytes(self._word(place, path))
        if number > len(self._data):
            raise Malformed(f"{path}: a length or an offset leads out of the data")
        return number

    def _word(self, place: int, path: str) -> bytes:
        word = self._data[place : place + word_bytes]
        if len(word) != word_bytes:
            raise Malformed(f"{path}: the data ends before it")
        return word


def elementary(kind: str, word: bytes, path: str) -> Value:
    """A value that one word holds."""
    number = int.from_bytes(word)
    if kind == "uint256":
        return number
    if kind == "address":
        if number >> 160:
            raise Malformed(f"{path}: an address has 20 bytes, and there are more")
        return "0x" + word[12:].hex()
    if kind == "bool":
        if number > 1:
            raise Malformed(f"{path}: a bool is 0 or 1")
        return number == 1
    if kind.startswith("bytes"):
        size = int(kind[5:])
        if any(word[size:]):
            raise Malformed(f"{path}: {kind} has more than {size} bytes")
        return "0x" + word[:size].hex()
    signed = kind.startswith("int")
    bits = int(kind.removeprefix("u")[3:])
    value = int.from_bytes(word, signed=signed)
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    if not low <= value < high:
        raise Malformed(f"{path}: {value} is no {kind}")
    return value


def _text(content: bytes, path: str) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"{path}: byte {error.start} of the text is not UTF-8") from None
    if "\0" in text:
        raise Malformed(f"{path}: the text holds U+0000, which cannot be stored")
    return text


def _head_bytes(kind: Kind) -> int:
    """How much of the head a value takes: all of it, or the offset of where it is."""
    if is_dynamic(kind) or kind.elementary is not None:
        return word_bytes
    if kind.members is not None:
        return sum(_head_bytes(each.kind) for each in kind.members)
    assert kind.element is not None
    assert kind.size is not None
    return kind.size * _head_bytes(kind.element)


def encode(parameters: Sequence[Parameter], values: Sequence[Value]) -> bytes:
    """The values laid out as a contract reads them. Integers may be decimal text. Raises Unencodable."""
    if len(values) != len(parameters):
        raise Unencodable((), f"the function takes {len(parameters)} arguments, and {len(values)} are given")
    kinds = [each.kind for each in parameters]
    pairs = zip(kinds, values, strict=True)
    return _laid_out(kinds, [_encoded(kind, value, (n,)) for n, (kind, value) in enumerate(pairs)])


_Path: TypeAlias = tuple[str | int, ...]


def _laid_out(kinds: Sequence[Kind], contents: Sequence[bytes]) -> bytes:
    """Heads first; what is dynamic goes behind them, and its offset into the head."""
    offset = sum(_head_bytes(kind) for kind in kinds)
    heads: list[bytes] = []
    tails: list[bytes] = []
    for kind, content in zip(kinds, contents, strict=True):
        if is_dynamic(kind):
            heads.append(offset.to_bytes(word_bytes))
            tails.append(content)
            offset += len(content)
        else:
            heads.append(content)
    return b"".join([*heads, *tails])


def _encoded(kind: Kind, value: Value, path: _Path) -> bytes:
    if kind.members is not None:
        return _encoded_tuple(kind.members, value, path)
    if kind.element is not None:
        return _encoded_array(kind.element, kind.size, value, path)
    assert kind.elementary is not None
    return _encoded_elementary(kind.elementary, value, path)


def _encoded_tuple(members: Sequence[Parameter], value: Value, path: _Path) -> bytes:
    if not isinstance(value, dict) or set(cast(dict[str, Value], value)) != {each.name for each in members}:
        raise Unencodable(path, f"a tuple is an object with {', '.join(each.name for each in members)}")
    given = cast(dict[str, Value], value)
    kinds = [each.kind for each in members]
    return _laid_out(kinds, [_encoded(each.kind, given[each.name], (*path, each.name)) for each in members])


def _encoded_array(element: Kind, size: int | None, value: Value, path: _Path) -> bytes:
    if not isinstance(value, list):
        raise Unencodable(path, "an array is a list")
    elements = cast(list[Value], value)
    if size is not None and len(elements) != size:
        raise Unencodable(path, f"the array has {size} elements, and {len(elements)} are given")
    laid_out = _laid_out([element] * len(elements), [_encoded(element, e, (*path, n)) for n, e in enumerate(elements)])
    return laid_out if size is not None else len(elements).to_bytes(word_bytes) + laid_out


_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_BYTES = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_INTEGER = re.compile(r"-?[0-9]{1,80}")


def _encoded_elementary(kind: str, value: Value, path: _Path) -> bytes:
    if kind == "bool":
        if not isinstance(value, bool):
            raise Unencodable(path, "a bool is true or false")
        return int(value).to_bytes(word_bytes)
    if kind in {"uint256", "int256"} or kind.startswith(("uint", "int")):
        return _encoded_integer(kind, value, path)
    if not isinstance(value, str):
        raise Unencodable(path, f"{kind} is a string")
    if kind == "string":
        return _with_length(value.encode())
    if kind == "address":
        if not _ADDRESS.fullmatch(value):
            raise Unencodable(path, "an address is 0x and 40 hexadecimal digits")
        return bytes.fromhex(value[2:]).rjust(word_bytes, b"\0")
    if not _BYTES.fullmatch(value):
        raise Unencodable(path, f"{kind} is 0x and two hexadecimal digits for each byte")
    content = bytes.fromhex(value[2:])
    if kind == "bytes":
        return _with_length(content)
    if len(content) != int(kind[5:]):
        raise Unencodable(path, f"{kind} has {kind[5:]} bytes, and {len(content)} are given")
    return content.ljust(word_bytes, b"\0")


def _encoded_integer(kind: str, value: Value, path: _Path) -> bytes:
    if isinstance(value, bool) or not (
        isinstance(value, int) or (isinstance(value, str) and _INTEGER.fullmatch(value))
    ):
        raise Unencodable(path, f"{kind} is an integer, or its decimal digits as a string")
    number = int(value)
    signed = kind.startswith("int")
    bits = int(kind.removeprefix("u")[3:])
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    if not low <= number < high:
        raise Unencodable(path, f"the number does not fit into {kind}")
    return number.to_bytes(word_bytes, signed=signed)


def _with_length(content: bytes) -> bytes:
    padding = -len(content) % word_bytes
    return len(content).to_bytes(word_bytes) + content + b"\0" * padding
