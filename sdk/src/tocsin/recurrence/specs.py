"""Reading specs: which of the accepted shapes one has, and where and why it has none."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final, TypeVar

from tocsin.recurrence.cron import Cron, DstRule
from tocsin.recurrence.errors import BadShape, InvalidRecurrence, NeverMatches
from tocsin.recurrence.exclusions import Cover, Exclusion, Instants, WallClock
from tocsin.recurrence.grammar import read_cron
from tocsin.recurrence.instants import Once, read_instant
from tocsin.recurrence.intervals import EPOCH, Every, read_interval
from tocsin.recurrence.rules import TICK, Rule
from tocsin.recurrence.zones import load_zone

__all__ = ["Read", "Spec", "read", "union_specs_max"]

union_specs_max: Final = 16
"""How many specs a union has at most, and as many again may be excluded."""

Spec = Mapping[str, Any] | Sequence[Any]

_SHAPES: Final = {"cron": ("timezone", "dst"), "every": ("anchor",), "at": ()}
_FORMS: Final = (
    'one of {"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"}, {"every": "PT90S"}, {"at": "2026-11-22T09:00:00Z"}'
)
_UNION_FORM: Final = '{"union": [{"cron": "0 9 * * 1-5"}, {"cron": "0 12 * * 6"}]}, or only the list'
# Some moment: whether an exclude leaves anything depends on the calendar, not on when one looks.
_ANY_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)

_T = TypeVar("_T")


@dataclass(frozen=True)
class Read:
    """A spec that has been read."""

    rules: tuple[Rule, ...]
    exclusion: Exclusion | None


def read(spec: Spec) -> Read:
    """Read a spec. Raises InvalidRecurrence."""
    if _is_list(spec):
        return Read(_read_each(spec, "", _read_simple), None)
    if not isinstance(spec, Mapping):
        raise BadShape("a recurrence is an object, or a list of them", pointer="", hint=f"{_FORMS}; or {_UNION_FORM}")
    if "union" in spec:
        return _read_union(spec)
    exclusion = _read_exclusion(spec)
    rule = _read_simple(spec, also=("exclude",))
    _refuse_if_nothing_is_left([rule], exclusion)
    return Read((rule,), exclusion)


def _read_union(spec: Mapping[str, Any]) -> Read:
    if others := [kind for kind in _SHAPES if kind in spec]:
        raise BadShape(f"union and {' and '.join(others)} exclude each other", pointer="", hint=_UNION_FORM)
    _refuse_unknown(spec, "union", ("exclude",))
    rules = _read_each(spec["union"], "/union", _read_simple)
    exclusion = _read_exclusion(spec)
    _refuse_if_nothing_is_left(rules, exclusion)
    return Read(rules, exclusion)


def _read_exclusion(spec: Mapping[str, Any]) -> Exclusion | None:
    parts = _read_each(spec["exclude"], "/exclude", _read_cover) if "exclude" in spec else ()
    return Exclusion(parts) if parts else None


def _read_each(specs: Any, pointer: str, read_one: Callable[[Any], _T]) -> tuple[_T, ...]:
    """Each spec of a list, which complains about itself at its own place in it."""
    name = pointer.removeprefix("/") or "a union"
    if not _is_list(specs):
        raise BadShape(f"{name} is a list of specs", pointer=pointer, hint=f"put it in brackets: {_UNION_FORM}")
    if not specs:
        raise BadShape(f"{name} names no spec", pointer=pointer, hint=f"name at least one, or leave it out: {_FORMS}")
    if len(specs) > union_specs_max:
        raise BadShape(
            f"{name} has at most {union_specs_max} specs, this one has {len(specs)}",
            pointer=pointer,
            hint="a cron field takes lists and ranges: one spec often says what several do",
        )
    found: list[_T] = []
    for index, one in enumerate(specs):
        try:
            found.append(read_one(one))
        except InvalidRecurrence as refusal:
            refusal.pointer = f"{pointer}/{index}{refusal.pointer}"
            raise
    return tuple(found)


def _read_simple(spec: Any, *, also: tuple[str, ...] = ()) -> Rule:
    kind = _kind(spec)
    _refuse_unknown(spec, kind, (*_SHAPES[kind], *also))
    return _READERS[kind](spec)


def _read_cover(spec: Any) -> Cover:
    kind = _kind(spec)
    if kind != "cron":
        return Instants(_read_simple(spec))
    _refuse_unknown(spec, kind, ("timezone",))
    text = _text(spec, "cron", "")
    return WallClock(Cron(text, read_cron(text).as_cover(), load_zone(_text(spec, "timezone", "UTC"))))


def _refuse_if_nothing_is_left(rules: Sequence[Rule], exclusion: Exclusion | None) -> None:
    after = min((rule.at - TICK for rule in rules if isinstance(rule, Once)), default=_ANY_TIME)
    if exclusion is not None and exclusion.next_after(rules, min(after, _ANY_TIME)) is None:
        raise NeverMatches(
            "every slot is excluded",
            pointer="/exclude",
            hint="exclude less: five cron fields cover the whole of each minute that they match",
        )


def _is_list(spec: Any) -> bool:
    return isinstance(spec, Sequence) and not isinstance(spec, str | bytes | bytearray)


def _kind(spec: Any) -> str:
    if not isinstance(spec, Mapping):
        raise BadShape("a list holds simple specs, which are objects", pointer="", hint=_FORMS)
    kinds = [kind for kind in _SHAPES if kind in spec]
    if len(kinds) != 1:
        detail = f"{' and '.join(kinds)} exclude each other" if kinds else "says neither cron, every nor at"
        raise BadShape(detail, pointer="", hint=_FORMS)
    return kinds[0]


def _refuse_unknown(spec: Mapping[str, Any], kind: str, beside: tuple[str, ...]) -> None:
    for name in spec:
        if name != kind and name not in beside:
            shown = str(name)[:32]
            raise BadShape(f"unknown field {shown!r}", pointer=f"/{_escape(shown)}", hint=_instead(shown, kind, beside))


def _instead(name: str, kind: str, beside: Iterable[str]) -> str:
    if close := get_close_matches(name, (kind, *beside), n=1):
        return f"did you mean {close[0]!r}?"
    if name in ("union", "exclude"):
        return "lists are not nested: union and exclude stand side by side at the top, and hold simple specs"
    return f"beside {kind!r} goes " + (" and ".join(map(repr, beside)) or "nothing")


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _text(spec: Mapping[str, Any], name: str, default: str) -> str:
    value = spec.get(name, default)
    if not isinstance(value, str):
        raise BadShape(f"{name} is a string", pointer=f"/{name}", hint=_FORMS)
    return value


def _read_cron(spec: Mapping[str, Any]) -> Rule:
    text = _text(spec, "cron", "")
    fields = read_cron(text)
    return Cron(text, fields, load_zone(_text(spec, "timezone", "UTC")), _dst(spec))


def _dst(spec: Mapping[str, Any]) -> DstRule:
    match _text(spec, "dst", "debian"):
        case "debian":
            return "debian"
        case "skip_gap":
            return "skip_gap"
        case other:
            raise BadShape(
                f"{other[:32]!r} is not a daylight-saving rule",
                pointer="/dst",
                hint='"debian" (the default) or "skip_gap"',
            )


def _read_every(spec: Mapping[str, Any]) -> Rule:
    text = _text(spec, "every", "")
    interval = read_interval(text)
    anchor = read_instant(_text(spec, "anchor", ""), pointer="/anchor") if "anchor" in spec else EPOCH
    return Every(text, interval, anchor)


def _read_at(spec: Mapping[str, Any]) -> Rule:
    return Once(read_instant(_text(spec, "at", "")))


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Rule]]] = {
    "cron": _read_cron,
    "every": _read_every,
    "at": _read_at,
}
