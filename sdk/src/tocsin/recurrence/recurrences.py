"""A recurrence: from a spec to its instants."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from itertools import islice
from typing import Any, Final, Protocol

from tocsin.recurrence.cron import Cron, DstRule
from tocsin.recurrence.errors import BadShape
from tocsin.recurrence.grammar import read_cron
from tocsin.recurrence.instants import Once, read_instant
from tocsin.recurrence.intervals import EPOCH, Every, read_interval
from tocsin.recurrence.occurrences import Occurrence
from tocsin.recurrence.zones import load_zone

_SHAPES: Final = {"cron": ("timezone", "dst"), "every": ("anchor",), "at": ()}
_FORMS: Final = (
    'one of {"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"}, {"every": "PT90S"}, {"at": "2026-11-22T09:00:00Z"}'
)


class Rule(Protocol):
    """One way of recurring."""

    def next_after(self, after: datetime) -> datetime | None: ...

    def occurrence(self, at: datetime, previous: datetime) -> Occurrence: ...

    def explain(self) -> str: ...


@dataclass(frozen=True)
class Recurrence:
    """When something happens, as a pure function of the spec."""

    rule: Rule

    @classmethod
    def parse(cls, spec: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> "Recurrence":
        """Read a spec. Raises an InvalidRecurrence that points at the field and says what to write instead."""
        if not isinstance(spec, Mapping):
            raise BadShape("a recurrence is an object", pointer="", hint=_FORMS)
        kind = _kind(spec)
        _refuse_unknown(spec, kind)
        return cls(_READERS[kind](spec))

    def next_after(self, after: datetime) -> datetime | None:
        """The first slot strictly later than `after` as an instant, in UTC; None when there is none any more."""
        if after.tzinfo is None:
            raise ValueError("`after` needs a time zone: without one it is not an instant")
        # In UTC from here: comparing and adding in local time is wrong across a change of the clock.
        return self.rule.next_after(after.astimezone(UTC))

    def slots_after(self, after: datetime) -> Iterator[datetime]:
        """Every slot strictly later than `after`, in order. Often without end."""
        while (slot := self.next_after(after)) is not None:
            yield slot
            after = slot

    def preview(self, after: datetime, n: int) -> list[Occurrence]:
        """The next `n` slots with their local time and what a change of the clock does to them."""
        occurrences: list[Occurrence] = []
        previous = after
        for slot in islice(self.slots_after(after), n):
            occurrences.append(self.rule.occurrence(slot, previous))
            previous = slot
        return occurrences

    def explain(self) -> str:
        """The spec in plain English."""
        return self.rule.explain()


def _kind(spec: Mapping[str, Any]) -> str:
    kinds = [kind for kind in _SHAPES if kind in spec]
    if len(kinds) != 1:
        detail = f"{' and '.join(kinds)} exclude each other" if kinds else "says neither cron, every nor at"
        raise BadShape(detail, pointer="", hint=_FORMS)
    return kinds[0]


def _refuse_unknown(spec: Mapping[str, Any], kind: str) -> None:
    accepted = (kind, *_SHAPES[kind])
    for name in spec:
        if name not in accepted:
            close = get_close_matches(str(name)[:32], accepted, n=1)
            hint = (
                f"did you mean {close[0]!r}?"
                if close
                else f"beside {kind!r} goes " + (" and ".join(map(repr, _SHAPES[kind])) or "nothing")
            )
            raise BadShape(f"unknown field {str(name)[:32]!r}", pointer=f"/{_escape(str(name)[:32])}", hint=hint)


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


_READERS: Final = {"cron": _read_cron, "every": _read_every, "at": _read_at}
