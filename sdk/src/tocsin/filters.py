"""Filters: which messages an endpoint wants, by their `data`. Without I/O, so that you can try one before you set it.

>>> wanted = Filter({"amount": {"$gte": 100}, "status": ["paid", "refunded"], "customer": {"country": "DE"}})
>>> wanted.takes({"amount": 250, "status": "paid", "customer": {"country": "DE"}})
True
>>> wanted.takes({"amount": 250, "status": "open", "customer": {"country": "DE"}})
False

A filter is an object. Each of its members must hold: a name says what the member of that name must be, an operator
(`$gte`, `$not`, …) what the value itself must be. What is asked of a value is a **condition**:

- a string, a number, true, false or null: the value is equal to it;
- a list: one of these conditions holds;
- an object: all of its members hold, as above.

Where the value is an array, one of its elements must meet the condition. What is not there meets none, except
`{"$exists": false}` and `$not` of what it does not meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

__all__ = ["BadFilter", "Filter"]

filter_nodes_max = 64
filter_depth_max = 8
filter_chars_max = 256
# Arrays make one condition many: a filter that would have to look further than this at one message takes none of it.
filter_steps_max = 2_000

_HINTS = {
    "$eq": "write the value itself",
    "$ne": 'write {"$not": value}',
    "$in": "write the values as a list",
    "$nin": 'write {"$not": [values]}',
    "$and": "members of one object must all hold",
    "$startsWith": "write $prefix",
    "$endsWith": "write $suffix",
}


class BadFilter(ValueError):
    """Correct the filter at `pointer`, an RFC 6901 pointer into it."""

    def __init__(self, path: tuple[str, ...], detail: str) -> None:
        super().__init__(detail)
        self.pointer = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)


class _TooFar(Exception):
    """This message would take more steps than a filter has."""


class _Steps:
    """How many conditions have been looked at, of those that may be."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self) -> None:
        if self.taken == filter_steps_max:
            raise _TooFar
        self.taken += 1


_Test: TypeAlias = Callable[[Any, _Steps], bool]
_Path: TypeAlias = tuple[str, ...]

_missing: Any = object()


class Filter:
    """A filter that has been read. Raises BadFilter for what is none."""

    def __init__(self, spec: Any) -> None:
        if not isinstance(spec, dict):
            raise BadFilter((), "a filter is an object")
        self._holds = _Reader().condition(spec, (), 1)

    def takes(self, data: Any) -> bool:
        """Whether a message with this `data` is wanted."""
        return self.looked(data)[0]

    def looked(self, data: Any) -> tuple[bool, int]:
        """Whether a message with this `data` is wanted, and how many steps it took to say so."""
        steps = _Steps()
        try:
            return self._holds(data, steps), steps.taken
        except _TooFar:
            return False, steps.taken


class _Reader:
    """Reads one filter, and counts what it is made of."""

    def __init__(self) -> None:
        self._nodes = 0

    def condition(self, spec: Any, path: _Path, depth: int) -> _Test:
        self._count(path, depth)
        if isinstance(spec, dict):
            return self._all(cast(dict[str, Any], spec), path, depth)
        if isinstance(spec, list):
            return self._any(cast(list[Any], spec), path, depth)
        if isinstance(spec, str):
            _short(spec, path)
        return _of_elements(lambda value: _equal(spec, value))

    def _count(self, path: _Path, depth: int) -> None:
        self._nodes += 1
        if self._nodes > filter_nodes_max:
            raise BadFilter(path, f"a filter has at most {filter_nodes_max} values, objects and lists")
        if depth > filter_depth_max:
            raise BadFilter(path, f"a filter is nested at most {filter_depth_max} deep")

    def _any(self, specs: list[Any], path: _Path, depth: int) -> _Test:
        if not specs:
            raise BadFilter(path, "an empty list is met by nothing; name at least one value")
        tests = [self.condition(spec, (*path, str(n)), depth + 1) for n, spec in enumerate(specs)]
        return lambda value, steps: any(test(value, steps) for test in tests)

    def _all(self, spec: Mapping[str, Any], path: _Path, depth: int) -> _Test:
        if not spec:
            raise BadFilter(path, "an empty object is met by everything; leave it out, or set null for no filter")
        whole = [self._whole(name, spec[name], (*path, name), depth) for name in spec if name in _WHOLE]
        each = [self._each(name, spec[name], (*path, name), depth) for name in spec if name not in _WHOLE]

        def holds(value: Any, steps: _Steps) -> bool:
            return all(test(value, steps) for test in whole) and (not each or _one(each, value, steps))

        return holds

    def _whole(self, name: str, spec: Any, path: _Path, depth: int) -> _Test:
        """What is asked of the value as a whole, an array too."""
        if name == "$exists":
            self._count(path, depth + 1)
            if not isinstance(spec, bool):
                raise BadFilter(path, "$exists is true or false")
            return lambda value, steps: (value is not _missing) is spec
        if name == "$not":
            test = self.condition(spec, path, depth + 1)
            return lambda value, steps: not test(value, steps)
        if not isinstance(spec, list):
            raise BadFilter(path, "$or is a list of conditions")
        return self.condition(spec, path, depth + 1)

    def _each(self, name: str, spec: Any, path: _Path, depth: int) -> _Test:
        """What is asked of the value, or of one element of it."""
        if not name.startswith("$"):
            _short(name, path)
            test = self.condition(spec, path, depth + 1)
            return lambda value, steps: test(_member(value, name), steps)
        if name not in _COMPARISONS:
            hint = _HINTS.get(name) or f"there are {', '.join(sorted([*_COMPARISONS, *_WHOLE]))}"
            raise BadFilter(path, f"there is no {name[:40]}: {hint}")
        self._count(path, depth + 1)
        kinds, what, compare = _COMPARISONS[name]
        if not _is(spec, kinds):
            raise BadFilter(path, f"{name} takes {what}")
        if isinstance(spec, str):
            _short(spec, path)
        return lambda value, steps: _comparable(value, spec) and compare(*_alike(value, spec))


_WHOLE = ("$exists", "$not", "$or")

_NUMBERS, _TEXTS = (int, float), (str,)

_COMPARISONS: Mapping[str, tuple[tuple[type, ...], str, Callable[[Any, Any], bool]]] = {
    "$gt": ((*_NUMBERS, *_TEXTS), "a number or a string", lambda value, bound: value > bound),
    "$gte": ((*_NUMBERS, *_TEXTS), "a number or a string", lambda value, bound: value >= bound),
    "$lt": ((*_NUMBERS, *_TEXTS), "a number or a string", lambda value, bound: value < bound),
    "$lte": ((*_NUMBERS, *_TEXTS), "a number or a string", lambda value, bound: value <= bound),
    "$prefix": (_TEXTS, "a string", lambda value, text: value.startswith(text)),
    "$suffix": (_TEXTS, "a string", lambda value, text: value.endswith(text)),
}


def _one(tests: list[_Test], value: Any, steps: _Steps) -> bool:
    """Whether the value, or one element of it, meets all of these."""
    return _of_elements(lambda one: all(test(one, steps) for test in tests))(value, steps)


def _of_elements(test: Callable[[Any], bool]) -> _Test:
    """The test, passed also by an array that has an element which passes it."""

    def holds(value: Any, steps: _Steps) -> bool:
        if not isinstance(value, list):
            steps.take()
            return test(value)
        for element in cast(list[Any], value):
            steps.take()
            if test(element):
                return True
        return False

    return holds


def _member(value: Any, name: str) -> Any:
    return cast(dict[str, Any], value).get(name, _missing) if isinstance(value, dict) else _missing


def _equal(wanted: Any, value: Any) -> bool:
    """Equality of JSON values: true is not 1, but 1 is 1.0."""
    if isinstance(wanted, bool) or wanted is None:
        return value is wanted
    if not _comparable(value, wanted):
        return False
    one, other = _alike(value, wanted)
    return one == other


def _alike(value: Any, other: Any) -> tuple[Any, Any]:
    """Both as they are compared. Beside a float, which may stand for a number with more digits, an integer is one, too:
    1e23 is what it is when it is written out. Two integers keep all of their digits."""
    if not (isinstance(value, float) or isinstance(other, float)):
        return value, other
    try:
        return float(value), float(other)
    except OverflowError:  # an integer beyond all floats, which Python compares as it is
        return value, other


def _comparable(value: Any, other: Any) -> bool:
    return _is(value, _TEXTS) if isinstance(other, str) else _is(value, _NUMBERS)


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _short(text: str, path: _Path) -> None:
    if len(text) > filter_chars_max:
        raise BadFilter(path, f"names and strings have at most {filter_chars_max} characters")
