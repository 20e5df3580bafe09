"""Signatures of events and functions, read as people write them. A refusal says where, and what was expected there.

event     = ["event"] name "(" [parameter {"," parameter}] ")" [";"]
parameter = type ["indexed"] [name]
function  = ["function"] name "(" [value {"," value}] ")" {"external" | "public" | "view" | "pure"}
            "returns" "(" value {"," value} ")" [";"]
value     = type ["memory" | "calldata"] [name]
type      = (elementary | ["tuple"] "(" value {"," value} ")") {"[" [size] "]"}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

__all__ = ["BadSignature", "Event", "Function", "Kind", "Parameter", "is_dynamic", "read_event", "read_function"]

parameters_max = 32
depth_max = 4  # of tuples and arrays in one another
array_size_max = 1_024
indexed_max = 3  # the fourth topic names the event


class BadSignature(ValueError):
    """The signature cannot be read. `position` counts characters from 0."""

    def __init__(self, position: int, detail: str) -> None:
        super().__init__(f"at character {position + 1}: {detail}")
        self.position = position


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of the ABI: an elementary one, a tuple or an array. Exactly one of the three members is set.

    `size` is that of a fixed array; None where the array says its own.
    """

    elementary: str | None = None
    members: tuple[Parameter, ...] | None = None
    element: Kind | None = None
    size: int | None = None

    @property
    def canonical(self) -> str:
        """The type as hashes know it."""
        if self.elementary is not None:
            return self.elementary
        if self.members is not None:
            return _listed(self.members)
        assert self.element is not None
        return f"{self.element.canonical}[{'' if self.size is None else self.size}]"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A type and its name. What was written without a name has `value` and its place for one."""

    kind: Kind
    name: str
    indexed: bool = False
    named: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a contract."""

    name: str
    inputs: tuple[Parameter, ...]

    @property
    def canonical(self) -> str:
        """What its first topic is the hash of."""
        return self.name + _listed(self.inputs)

    def __str__(self) -> str:
        """The one spelling of what was read."""
        return f"{self.name}({', '.join(_written(each) for each in self.inputs)})"


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a contract that answers."""

    name: str
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]

    @property
    def canonical(self) -> str:
        """What its selector is the beginning of the hash of."""
        return self.name + _listed(self.inputs)

    def __str__(self) -> str:
        """The one spelling of what was read."""
        taken, given = (", ".join(_written(each) for each in side) for side in (self.inputs, self.outputs))
        return f"{self.name}({taken}) returns ({given})"


def read_event(text: str) -> Event:
    """The event that a signature describes."""
    reader = _Reader(text)
    reader.skip("event")
    name = reader.name("the name of the event")
    inputs = reader.parameters(may_be_indexed=True)
    if reader.at("anonymous"):
        reader.refuse("anonymous events have no topic to find them by; give the address and topics instead")
    reader.end()
    if sum(each.indexed for each in inputs) > indexed_max:
        raise BadSignature(0, f"an event has at most {indexed_max} indexed parameters")
    return Event(name, inputs)


def read_function(text: str) -> Function:
    """The function that a signature describes."""
    reader = _Reader(text)
    reader.skip("function")
    name = reader.name("the name of the function")
    inputs = reader.parameters(may_be_indexed=False)
    while reader.skip("external", "public", "view", "pure"):
        pass
    if not reader.skip("returns"):
        reader.refuse("expected 'returns (…)': what the function answers")
    outputs = reader.parameters(may_be_indexed=False)
    if not outputs:
        reader.refuse("a function that answers nothing cannot change what it answers")
    reader.end()
    return Function(name, inputs, outputs)


def is_dynamic(kind: Kind) -> bool:
    """Whether a value of this type has its length in the data, and so is written behind the others."""
    if kind.elementary is not None:
        return kind.elementary in {"string", "bytes"}
    if kind.members is not None:
        return any(is_dynamic(each.kind) for each in kind.members)
    assert kind.element is not None
    return kind.size is None or is_dynamic(kind.element)


_TOKEN = re.compile(r"\s*(?:([A-Za-z_$][A-Za-z0-9_$]*|[0-9]+|[()\[\],;])|(\S))")
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_SIZED = re.compile(r"(uint|int|bytes)([1-9][0-9]{0,2})")
_PLAIN = {
    "address": "address",
    "bool": "bool",
    "string": "string",
    "bytes": "bytes",
    "uint": "uint256",
    "int": "int256",
}
_ACCEPTED = "address, bool, string, bytes, bytes1 to bytes32, uint8 to uint256, int8 to int256, or a tuple (…)"
_WORDS = frozenset({"indexed", "memory", "calldata", "storage", "payable"})


class _Reader:
    """The text as tokens, and where we are in it."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, int]] = []
        place = 0
        while match := _TOKEN.match(text, place):
            if match[2]:
                raise BadSignature(match.start(2), f"{match[2]!r} has no place in a signature")
            self._tokens.append((match[1], match.start(1)))
            place = match.end()
        self._tokens.append(("", len(text)))
        self._next = 0

    def at(self, token: str) -> bool:
        return self._tokens[self._next][0] == token

    def skip(self, *tokens: str) -> bool:
        """Step over one of these tokens; whether there was one."""
        if self._tokens[self._next][0] not in tokens:
            return False
        self._next += 1
        return True

    def refuse(self, detail: str) -> NoReturn:
        token, position = self._tokens[self._next]
        found = f"found {token!r}" if token else "found the end"
        raise BadSignature(position, f"{detail}; {found}")

    def expect(self, token: str) -> None:
        if not self.skip(token):
            self.refuse(f"expected {token!r}")

    def end(self) -> None:
        self.skip(";")
        if not self.at(""):
            self.refuse("expected the end")

    def name(self, what: str) -> str:
        token = self._tokens[self._next][0]
        if not _NAME.fullmatch(token):
            self.refuse(f"expected {what}")
        self._next += 1
        return token

    def parameters(self, *, may_be_indexed: bool, depth: int = 0) -> tuple[Parameter, ...]:
        self.expect("(")
        found: list[Parameter] = []
        names: set[str] = set()
        while not self.at(")"):
            if found:
                self.expect(",")
            if len(found) == parameters_max:
                self.refuse(f"there are at most {parameters_max} parameters")
            found.append(self._parameter(len(found), names, may_be_indexed=may_be_indexed, depth=depth))
        self.expect(")")
        return tuple(found)

    def _parameter(self, place: int, names: set[str], *, may_be_indexed: bool, depth: int) -> Parameter:
        kind = self._kind(depth)
        self.skip("memory", "calldata")
        indexed = may_be_indexed and self.skip("indexed")
        named = bool(_NAME.fullmatch(self._tokens[self._next][0]))
        name = f"value{place}"
        if named:
            if self._tokens[self._next][0] in _WORDS:
                self.refuse("expected a name, ',' or ')'")
            name = self._tokens[self._next][0]
            if name in names:
                self.refuse("two parameters have the same name")
            self._next += 1
        names.add(name)
        return Parameter(kind, name, indexed, named)

    def _kind(self, depth: int) -> Kind:
        """A type that so many others are around."""
        # `(…)` is what a tuple is in canonical signatures, and `tuple(…)` what people write.
        if self.at("(") or (self.at("tuple") and self._tokens[self._next + 1][0] == "("):
            self._deeper(depth)
            position = self._tokens[self._next][1]
            self.skip("tuple")
            members = self.parameters(may_be_indexed=False, depth=depth + 1)
            if not members:
                raise BadSignature(position, "a tuple has at least one member")
            kind = Kind(members=members)
        else:
            kind = Kind(elementary=self._elementary())
        while self.at("["):
            self._deeper(depth)
            self.skip("[")
            depth += 1
            kind = Kind(element=kind, size=self._size())
        return kind

    def _deeper(self, depth: int) -> None:
        if depth == depth_max:
            self.refuse(f"tuples and arrays are nested at most {depth_max} deep")

    def _elementary(self) -> str:
        token = self._tokens[self._next][0]
        kind = _PLAIN.get(token)
        if kind is None and (sized := _SIZED.fullmatch(token)):
            size = int(sized[2])
            fits = size <= 32 if sized[1] == "bytes" else size <= 256 and size % 8 == 0
            kind = token if fits else None
        if kind is None:
            self.refuse(f"expected a type: {_ACCEPTED}")
        self._next += 1
        if token == "address":
            self.skip("payable")
        return kind

    def _size(self) -> int | None:
        if self.skip("]"):
            return None
        token = self._tokens[self._next][0]
        if not token.isdecimal() or len(token) > 5 or not 1 <= int(token) <= array_size_max:
            self.refuse(f"an array has 1 to {array_size_max} elements, or none named: [3] or []")
        self._next += 1
        self.expect("]")
        return int(token)


def _listed(parameters: tuple[Parameter, ...]) -> str:
    return f"({','.join(each.kind.canonical for each in parameters)})"


def _written(parameter: Parameter) -> str:
    words = [_spelt(parameter.kind), *(["indexed"] if parameter.indexed else [])]
    return " ".join([*words, parameter.name] if parameter.named else words)


def _spelt(kind: Kind) -> str:
    """The type with the names of its members."""
    if kind.members is not None:
        return f"({', '.join(_written(each) for each in kind.members)})"
    if kind.element is not None:
        return f"{_spelt(kind.element)}[{'' if kind.size is None else kind.size}]"
    return kind.canonical
