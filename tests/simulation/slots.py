"""What a spec means, read once more: plain sets of whole seconds, with nothing of the relay's own evaluator.

Only what the simulation uses: intervals, instants, cron texts in UTC whose day fields are stars, unions, exclusions.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

Spec = dict[str, Any] | list[dict[str, Any]]

_INTERVAL = re.compile(r"PT([0-9]+)S")


@dataclass(frozen=True)
class Timing:
    """When a schedule is to fire: its spec between two bounds, both of them included. Jitter makes it another timing,
    but no other slots."""

    spec: Spec
    starts_at: int | None = None
    ends_at: int | None = None
    jitter: str | None = None

    def slots(self, after: int, until: int) -> Sequence[int]:
        """Every slot later than `after` and not later than `until`, in order."""
        low = after + 1 if self.starts_at is None else max(after + 1, self.starts_at)
        high = until if self.ends_at is None else min(until, self.ends_at)
        known = self._known(low, high)
        return known[bisect_left(known, low) : bisect_right(known, high)]

    def _known(self, low: int, high: int) -> Sequence[int]:
        """At least the slots between these; those of a longer stretch are kept, as the law asks again and again."""
        known_low, known_high, slots = self._stretch
        if low < known_low or high > known_high:
            known_low, known_high = min(low, known_low), max(high + 600, known_high)
            slots = sorted(_named(self.spec, known_low, known_high))
            self._stretch[:] = [known_low, known_high, slots]
        return slots

    @cached_property
    def _stretch(self) -> list[Any]:
        return [1 << 62, -(1 << 62), ()]


def _named(spec: Spec, low: int, high: int) -> set[int]:
    if isinstance(spec, list):
        return {slot for member in spec for slot in _named(member, low, high)}
    excluded = {slot for member in spec.get("exclude", ()) for slot in _covered(member, low, high)}
    return _of_one(spec, low, high) - excluded


def _covered(spec: dict[str, Any], low: int, high: int) -> set[int]:
    """What an excluded spec takes away: five cron fields, which know no seconds, all of each minute."""
    if "cron" in spec and len(spec["cron"].split()) == 5:
        return _of_cron(f"* {spec['cron']}", low, high)
    return _of_one(spec, low, high)


def _of_one(spec: dict[str, Any], low: int, high: int) -> set[int]:
    if "union" in spec:
        return _named(spec["union"], low, high)
    if "at" in spec:
        at = _seconds(spec["at"])
        return {at} if low <= at <= high else set()
    if "every" in spec:
        step, anchor = _interval(spec["every"]), _seconds(spec["anchor"]) if "anchor" in spec else 0
        return set(range(low + (anchor - low) % step, high + 1, step))
    return _of_cron(spec["cron"], low, high)


def _of_cron(cron: str, low: int, high: int) -> set[int]:
    fields = cron.split()
    assert fields[-3:] == ["*", "*", "*"], "the simulation asks for no days"
    seconds = _numbers(fields[0], 60) if len(fields) == 6 else {0}
    minutes, hours = _numbers(fields[-5], 60), _numbers(fields[-4], 24)
    starts = (minute for minute in range(low - low % 60, high + 1, 60) if minute // 60 % 60 in minutes)
    return {start + second for start in starts if start // 3600 % 24 in hours for second in seconds}


def _numbers(field: str, size: int) -> set[int]:
    """The numbers that one field of a cron text stands for."""
    return {number for part in field.split(",") for number in _of_part(part, size)}


def _of_part(part: str, size: int) -> range:
    span, _, step = part.partition("/")
    first, _, last = span.partition("-")
    if span == "*":
        return range(0, size, int(step or 1))
    return range(int(first), int(last or first) + 1, int(step or 1))


def _interval(text: str) -> int:
    found = _INTERVAL.fullmatch(text)
    assert found, "the simulation asks for seconds only"
    return int(found[1])


def _seconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp())
