"""Conditions: what else has to hold of an event that a filter lets through. A subset of CEL, with exact numbers.

    decoded.value > 1000000 && (transaction.to == '0x…' || !has(decoded.memo))

There is nothing to call but what stands here: comparison, `in`, `&&`, `||`, `!`, `+`, `-`, `*`, `has(…)`, and of
strings and lists `size()`, of strings `startsWith()`, `endsWith()`, `contains()`. Each part of a condition is looked at
once at most, numbers that it computes are no longer than any that it could need, and lists that it searches no longer
than some: so its length bounds what it costs. Integers have any size up to there, and fractions are decimal: nothing
overflows and nothing is rounded.

A field that is not there, or a value of another type than is asked for, makes no error but a condition that could not
be told: CEL's rules say what becomes of it (`false && unknown` is false, `true || unknown` is true).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, cast

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

__all__ = ["BadCondition", "Condition", "verdict"]

chars_max = 500
depth_max = 32
integer_digits_max = 80
computed_bits_max = 65_536  # of an integer; some 20,000 digits, as many as a fraction may have
searched_max = 1_000  # elements of a list, by `in`

Value: TypeAlias = Any
_Part: TypeAlias = Callable[[Value], Value]

GRAMMAR = r"""
    ?start: either
    ?either: both ("||" both)*
    ?both: relation ("&&" relation)*
    ?relation: sum [RELATION sum]
    ?sum: product (SIGN product)*
    ?product: unary (TIMES unary)*
    ?unary: NOT unary | SIGN unary | member
    ?member: primary
        | member "." NAME -> field
        | member "." NAME "(" [either ("," either)*] ")" -> method
        | member "[" either "]" -> item
    ?primary: NAME -> name
        | NAME "(" [either ("," either)*] ")" -> call
        | NUMBER -> number
        | STRING -> text
        | "[" [either ("," either)*] "]" -> list
        | "(" either ")"

    RELATION: "==" | "!=" | "<=" | ">=" | "<" | ">" | /in\b/
    SIGN: "+" | "-"
    TIMES: "*"
    NOT: "!"
    NAME: /[A-Za-z_][A-Za-z0-9_]*/
    NUMBER: /0x[0-9A-Fa-f]{1,64}(?![0-9A-Za-z_.])|[0-9]{1,80}(\.[0-9]{1,80})?(?![0-9A-Za-z_.])/
    STRING: /'[^'\\\n]*'|"[^"\\\n]*"/
    %ignore /[ \t\r\n]+/
"""


class BadCondition(ValueError):
    """The condition cannot be read. `position` counts characters from 0."""

    def __init__(self, position: int, detail: str) -> None:
        super().__init__(f"at character {position + 1}: {detail}")
        self.position = position


class _Unknown(Exception):
    """The event does not say: a field is missing, or has another type than is asked for."""


class Condition:
    """A condition that has been read. Raises BadCondition for what is none.

    Where the payload writes hexadecimal in lower case, `lower_hex` reads it so here as well.
    """

    def __init__(self, text: str, *, lower_hex: bool = False) -> None:
        self.text = text
        reader = _Reader(lower_hex)
        self._holds = reader.part(_parsed(text), 1)
        self.reads: frozenset[tuple[str, ...]] = frozenset(reader.reads)
        """The fields that are named, as far as they are spelt out."""

    def verdict(self, payload: Mapping[str, Value]) -> bool | None:
        """Whether it holds of this payload; None where the payload does not say."""
        try:
            held = self._holds(payload)
        except (_Unknown, Inexact, InvalidOperation, Overflow):
            return None
        return held if isinstance(held, bool) else None


def verdict(spec: Mapping[str, Value], payload: Mapping[str, Value]) -> bool | None:
    """Whether what a filter asks beside its kind holds of a payload; None where the payload does not say."""
    where: str | None = spec.get("where")
    return True if where is None else _read(where).verdict(payload)


@lru_cache(maxsize=1_000)
def _read(where: str) -> Condition:
    return Condition(where)


@cache
def _grammar() -> Lark:
    from lark import Lark  # read when the first condition is: most relays never need it

    return Lark(GRAMMAR, parser="lalr", maybe_placeholders=False)


_EXPECTED = {
    "RELATION": "a comparison or 'in'",
    "SIGN": "'+' or '-'",
    "TIMES": "'*'",
    "NOT": "'!'",
    "NAME": "a field",
    "NUMBER": "a number",
    "STRING": "a string",
    "VBAR": "'|'",
    "__ANON_0": "'||'",
    "__ANON_1": "'&&'",
    "DOT": "'.'",
    "COMMA": "','",
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "$END": "the end",
}


def _parsed(text: str) -> Tree[Token] | Token:
    from lark import UnexpectedCharacters, UnexpectedToken

    if len(text) > chars_max:
        raise BadCondition(chars_max, f"a condition has at most {chars_max} characters")
    try:
        return _grammar().parse(text)  # pyright: ignore[reportUnknownMemberType]
    except UnexpectedCharacters as bad:
        position = cast(int, bad.pos_in_stream)
        raise BadCondition(position, _hint(text, position)) from None
    except UnexpectedToken as bad:
        token = cast("Token", bad.token)
        at_end = token.type == "$END"
        expected = ", ".join(sorted(_EXPECTED.get(name, name) for name in bad.expected))
        found = "the end" if at_end else repr(str(token))
        raise BadCondition(
            len(text) if at_end else token.start_pos or 0, f"found {found}; expected {expected}"
        ) from None


def _hint(text: str, position: int) -> str:
    found = text[position]
    hints = {
        "=": "write == for equality",
        "&": "write && for and",
        "|": "write || for or",
        "/": "there is no division: multiply the other side",
        "%": "there is no remainder",
        "?": "there is no choice: write (a && b) || (!a && c)",
        "'": "a string ends on its line, with the quote that it began with, and holds no backslash",
        '"': "a string ends on its line, with the quote that it began with, and holds no backslash",
    }
    if found.isdigit():
        return f"a number is decimal, of at most {integer_digits_max} digits, such as 1000000 or 0.5, or 0x…"
    return f"{found!r} has no place here" + (f"; {hints[found]}" if found in hints else "")


class _Reader:
    """Makes functions of what was parsed, and notes the fields that they read."""

    def __init__(self, lower_hex: bool) -> None:
        self._lower_hex = lower_hex
        self.reads: set[tuple[str, ...]] = set()

    def part(self, tree: Tree[Token] | Token, depth: int) -> _Part:
        from lark import Tree

        assert isinstance(tree, Tree)
        if depth > depth_max:
            raise BadCondition(_position(tree), f"a condition is nested at most {depth_max} deep")
        path = _path(tree)
        if path is not None:
            return self._field(path, tree)
        kind, children = str(tree.data), tree.children
        if kind in {"either", "both"}:
            parts = [self.part(child, depth + 1) for child in children]
            return _any_of(parts) if kind == "either" else _all_of(parts)
        if kind in {"relation", "sum", "product", "unary"}:
            return getattr(self, f"_{kind}")(children, depth + 1)
        if kind in {"number", "text"}:
            return _constant(self._literal(kind, str(children[0])))
        if kind == "list":
            parts = [self.part(child, depth + 1) for child in children]
            return lambda payload: [part(payload) for part in parts]
        if kind in {"item", "field"}:
            return self._inner(kind, children, depth + 1)
        return self._called(kind, tree, depth + 1)

    def _relation(self, children: Sequence[Any], depth: int) -> _Part:
        left, right = self.part(children[0], depth), self.part(children[2], depth)
        compare = _RELATIONS[str(children[1])]
        return lambda payload: compare(left(payload), right(payload))

    def _sum(self, children: Sequence[Any], depth: int) -> _Part:
        """Also products: a first part, and then operators with one more part each."""
        first = self.part(children[0], depth)
        more = [
            (_ARITHMETIC[str(sign)], self.part(child, depth))
            for sign, child in zip(children[1::2], children[2::2], strict=True)
        ]

        def computed(payload: Value) -> Value:
            value = first(payload)
            for compute, part in more:
                value = compute(_number(value), _number(part(payload)))
            return value

        return computed

    _product = _sum

    def _unary(self, children: Sequence[Any], depth: int) -> _Part:
        sign, part = str(children[0]), self.part(children[1], depth)
        if sign == "!":
            return lambda payload: not _truth(part(payload))
        return lambda payload: _ARITHMETIC[sign](0, _number(part(payload)))

    def _inner(self, kind: str, children: Sequence[Any], depth: int) -> _Part:
        """A member of what is no plain path: of an item whose place is computed."""
        of = self.part(children[0], depth)
        key = _constant(str(children[1])) if kind == "field" else self.part(children[1], depth)
        return lambda payload: _member(of(payload), key(payload))

    def _field(self, path: tuple[str, ...], tree: Tree[Token]) -> _Part:
        if path in {("true",), ("false",), ("null",)}:
            return _constant({"true": True, "false": False, "null": None}[path[0]])
        if path == ("in",):
            raise BadCondition(_position(tree), "'in' stands between a value and a list")
        self.reads.add(path)

        def read(payload: Value) -> Value:
            for name in path:
                payload = _member(payload, name)
            return payload

        return read

    def _literal(self, kind: str, written: str) -> Value:
        if kind == "text":
            text = written[1:-1]
            return text.lower() if self._lower_hex and text[:2] in {"0x", "0X"} else text
        if written.startswith("0x"):
            return int(written, 16)
        return Decimal(written) if "." in written else int(written)

    def _called(self, kind: str, tree: Tree[Token], depth: int) -> _Part:
        children = tree.children
        name = str(children[1] if kind == "method" else children[0])
        arguments = children[2:] if kind == "method" else children[1:]
        if kind == "call" and name == "has" and len(arguments) == 1:
            return self._has(arguments[0], tree)
        if kind == "call" and name == "size" and len(arguments) == 1:
            of = self.part(arguments[0], depth)
            return lambda payload: _size(of(payload))
        if kind == "method" and name == "size" and not arguments:
            of = self.part(children[0], depth)
            return lambda payload: _size(of(payload))
        if kind == "method" and name in _METHODS and len(arguments) == 1:
            of, argument, ask = self.part(children[0], depth), self.part(arguments[0], depth), _METHODS[name]
            return lambda payload: ask(_string(of(payload)), _string(argument(payload)))
        raise BadCondition(
            _position(tree), f"there is no {name[:40]}() of this form; there are has(field), size(), {_METHODS_LISTED}"
        )

    def _has(self, argument: Any, tree: Tree[Token]) -> _Part:
        path = _path(argument)
        if path is None or len(path) < 2:
            raise BadCondition(_position(tree), "has() takes a field of something, such as has(decoded.memo)")
        read = self._field(path[:-1], tree)
        self.reads.add(path)
        return lambda payload: path[-1] in _mapping(read(payload))


def _path(tree: Any) -> tuple[str, ...] | None:
    """The names of a field that is spelt out, such as a.b or a['b']."""
    names: list[str] = []
    while tree.data in {"field", "item"}:
        of, key = tree.children
        if tree.data == "item":
            if key.data != "text":
                return None
            key = str(key.children[0])[1:-1]
        names.append(str(key))
        tree = of
    return (str(tree.children[0]), *reversed(names)) if tree.data == "name" else None


def _position(tree: Tree[Token]) -> int:
    token = next(iter(tree.scan_values(lambda _: True)), None)
    return getattr(token, "start_pos", None) or 0


def _constant(value: Value) -> _Part:
    return lambda _: value


def _any_of(parts: Sequence[_Part]) -> _Part:
    def holds(payload: Value) -> bool:
        unknown = False
        for part in parts:
            try:
                if _truth(part(payload)):
                    return True
            except _Unknown:
                unknown = True
        if unknown:
            raise _Unknown
        return False

    return holds


def _all_of(parts: Sequence[_Part]) -> _Part:
    def holds(payload: Value) -> bool:
        unknown = False
        for part in parts:
            try:
                if not _truth(part(payload)):
                    return False
            except _Unknown:
                unknown = True
        if unknown:
            raise _Unknown
        return True

    return holds


# Enough for a product of all the numbers that fit into a condition; more would raise, and not round.
_EXACT = Context(prec=20_000, traps=[Inexact, InvalidOperation, Overflow])
_ARITHMETIC: Mapping[str, Callable[[Value, Value], Value]] = {
    "+": lambda a, b: a + b if _are_short(a, b) else _EXACT.add(a, b),
    "-": lambda a, b: a - b if _are_short(a, b) else _EXACT.subtract(a, b),
    "*": lambda a, b: a * b if _are_short(a, b) else _EXACT.multiply(a, b),
}
_METHODS: Mapping[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": operator.contains,
}
_METHODS_LISTED = ", ".join(f"{name}(string)" for name in _METHODS)


def _are_short(a: Value, b: Value) -> bool:
    """Whether these are integers, of which the result is one as well. Payloads come from strangers."""
    if not (isinstance(a, int) and isinstance(b, int)):
        return False
    if a.bit_length() + b.bit_length() > computed_bits_max:
        raise _Unknown
    return True


def _equal(a: Value, b: Value) -> bool:
    """Values of two types are not equal, and true is not 1; but 1 is 1.0."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if _is_number(a) and _is_number(b):
        return _number(a) == _number(b)
    return type(a) is type(b) and a == b


def _ordered(compare: Callable[[Value, Value], bool]) -> Callable[[Value, Value], bool]:
    def compared(a: Value, b: Value) -> bool:
        if isinstance(a, str) and isinstance(b, str):
            return compare(a, b)
        return compare(_number(a), _number(b))

    return compared


def _within(a: Value, b: Value) -> bool:
    if isinstance(b, dict):
        return a in cast(dict[str, Value], b) if isinstance(a, str) else False
    if not isinstance(b, list) or len(cast(list[Value], b)) > searched_max:
        raise _Unknown
    return any(_equal(a, each) for each in cast(list[Value], b))


_RELATIONS: Mapping[str, Callable[[Value, Value], bool]] = {
    "==": _equal,
    "!=": lambda a, b: not _equal(a, b),
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
    "in": _within,
}


def _member(value: Value, key: Value) -> Value:
    if isinstance(value, dict) and isinstance(key, str):
        members = cast(dict[str, Value], value)
        if key in members:
            return members[key]
    elif isinstance(value, list) and isinstance(key, int) and not isinstance(key, bool):
        elements = cast(list[Value], value)
        if 0 <= key < len(elements):
            return elements[key]
    raise _Unknown


def _mapping(value: Value) -> Mapping[str, Value]:
    if not isinstance(value, dict):
        raise _Unknown
    return cast(Mapping[str, Value], value)


def _truth(value: Value) -> bool:
    if not isinstance(value, bool):
        raise _Unknown
    return value


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _number(value: Value) -> int | Decimal:
    if not _is_number(value):
        raise _Unknown
    # A fraction as it was written, not as the machine holds it.
    return Decimal(repr(value)) if isinstance(value, float) else value


def _string(value: Value) -> str:
    if not isinstance(value, str):
        raise _Unknown
    return value


def _size(value: Value) -> int:
    if not isinstance(value, str | list | dict):
        raise _Unknown
    return len(cast(Sequence[Value], value))
