"""What of a selected value is told: decided from the value, and from what its filter remembers of the looks before.

Each rule takes what it remembered (nothing at its first look, which tells nothing) and the value. It answers with what
it remembers from now on, what is to be told, and why it could not judge, if so. Then it remembers what it did before.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from app.kit import limits
from app.kit.foreign_json import Json, Written
from app.subscriptions.expressions import Unfit, expression
from app.watchers.selection import nothing, picked, shown
from app.watchers.syndication import Feed, Item
from tocsin.schemas.watchers import Selected

__all__ = ["Judged", "Memory", "Newcomers", "judge", "judge_feed", "newcomers", "side_of"]

Memory = Mapping[str, Any]
"""What a filter remembers between two looks, as JSON."""

number_chars_max = 100
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Judged:
    """What one look at one filter comes to. `told` are the members of payloads that the rule adds."""

    memory: Memory
    told: Sequence[Mapping[str, Any]] = ()
    trouble: str | None = None


def judge(document: Json, spec: Mapping[str, Any], memory: Memory | None) -> Judged:
    """What a document has to tell to one filter."""
    try:
        found, value = picked(document, spec)
        match spec.get("rule"):
            case {"kind": "threshold"} as rule:
                return _crossed(found, value, rule, memory)
            case {"kind": "appeared"} as rule:
                return _appeared(found, value, rule, memory)
            case _:
                return _changed(found, value, memory)
    except Unfit as unfit:
        return Judged(memory or {}, trouble=str(unfit))


def _changed(found: bool, value: Json, memory: Memory | None) -> Judged:
    current = shown(value) if found else nothing
    kept = current.model_dump(mode="json")
    if not memory:
        return Judged(kept)
    previous = Selected.model_validate(memory)
    if (previous.found, previous.sha256) == (current.found, current.sha256):
        return Judged(kept)
    return Judged(kept, [{"rule": "changed", "current": kept, "previous": previous.model_dump(mode="json")}])


# Threshold


def side_of(number: Decimal, above: Decimal, below: Decimal, before: str | None) -> str:
    """Where a number is: above, below, or where it was while it is neither; between while it was never either."""
    if number > above:
        return "above"
    if number < below:
        return "below"
    return before or "between"


def _crossed(found: bool, value: Json, rule: Mapping[str, Any], memory: Memory | None) -> Judged:
    number = _number(value)
    if number is None:
        # A price that is gone for a moment has crossed nothing.
        return Judged(memory or {}, trouble="the value is no number" if found else "there is no value")
    bounds = {"above": rule["above"] or rule["below"], "below": rule["below"] or rule["above"]}
    before: str | None = (memory or {}).get("side")
    side = side_of(number, Decimal(bounds["above"]), Decimal(bounds["below"]), before)
    kept = {"side": side, "number": str(number)}
    if before is None or side == before:
        return Judged(kept)
    crossed = {"rule": "threshold", "crossed": side, "bound": bounds[side], "number": str(number)}
    return Judged(kept, [crossed | {"previous": (memory or {}).get("number")}])


def _number(value: Json) -> Decimal | None:
    """The number, digit by digit; also one that is written as text, as prices often are. None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int):
        return Decimal(value) if abs(value) < 10**number_chars_max else None
    text = value if isinstance(value, str) else value.text if isinstance(value, Written) else repr(value)
    return Decimal(text) if len(text) <= number_chars_max and _NUMBER.fullmatch(text) else None


# Appeared


@dataclass(frozen=True, slots=True)
class Newcomers:
    """Which things to tell of, in their order, what is known from now on, and how many have to wait."""

    told: Sequence[str]
    known: Sequence[str]
    waiting: int


def newcomers(known: Sequence[str] | None, present: Sequence[str], *, told_max: int, known_max: int) -> Newcomers:
    """The things that were not known before, at most so many; the others stay unknown, and are told the next time.

    Where nothing is known yet, all of them are from now on, and nothing is told. Of what is gone the latest is
    remembered, as much as there is room for.
    """
    there = list(dict.fromkeys(present))
    if known is None:
        return Newcomers([], there, 0)
    before = set(known)
    new = [each for each in there if each not in before]
    told = new[:told_max]
    waiting = set(new[told_max:])
    now_known = [each for each in there if each not in waiting]
    here = set(there)
    gone = [each for each in known if each not in here]
    room = max(0, known_max - len(now_known))
    return Newcomers(told, [*gone[len(gone) - min(room, len(gone)) :], *now_known], len(waiting))


@dataclass(frozen=True, slots=True)
class _Item:
    key: Selected
    value: Json = field(repr=False)


def _appeared(found: bool, value: Json, rule: Mapping[str, Any], memory: Memory | None) -> Judged:
    if not isinstance(value, list):
        return Judged(memory or {}, trouble="the value is no list" if found else "there is no value")
    looked_at = cast(list[Json], value)[: limits.appeared_items_max]
    items: dict[str, _Item] = {}
    for item in _items(looked_at, rule["key"]):
        items.setdefault(_short(item.key), item)
    found_new = newcomers(
        (memory or {}).get("known"),
        list(items),
        told_max=limits.appeared_told_max,
        known_max=limits.appeared_known_max,
    )
    told = [
        {
            "rule": "appeared",
            "key": items[short].key.model_dump(mode="json"),
            "item": shown(items[short].value).model_dump(mode="json"),
            "waiting": found_new.waiting,
        }
        for short in found_new.told
    ]
    return Judged({"known": list(found_new.known), "waiting": found_new.waiting > 0}, told)


def _items(values: Sequence[Json], key: str | None) -> Iterator[_Item]:
    """The items with what makes each the same. One without a key is its own."""
    keys = expression(key).of_each(values) if key is not None else [None] * len(values)
    for value, found in zip(values, keys, strict=True):
        yield _Item(shown(value if found is None else found), value)


def _short(key: Selected) -> str:
    """A key as it is remembered: enough of its hash that two are never mistaken for one another."""
    assert key.sha256 is not None
    return key.sha256[:16]


# Feeds


def judge_feed(feed: Feed, spec: Mapping[str, Any], memory: Memory | None) -> Judged:
    """What a feed has to tell to one filter: its new items, the oldest first, and then those that were rewritten."""
    items = {_sha(item.id)[:16]: item for item in feed.items}
    versions = {short: item.fingerprint[:8] if spec["updates"] else "" for short, item in items.items()}
    known = None if memory is None else dict(each.split(":") for each in memory["known"])
    new = newcomers(
        None if known is None else list(known),
        _oldest_first(items, known or {}),
        told_max=limits.feed_told_max,
        known_max=limits.feed_known_max,
    )
    rewritten = [short for short, version in versions.items() if known and known.get(short, version) != version]
    updated = rewritten[: limits.feed_told_max - len(new.told)]
    waiting = new.waiting + len(rewritten) - len(updated)
    # One that has to wait is still known as it was.
    current = {**(known or {}), **versions, **{short: (known or {})[short] for short in rewritten[len(updated) :]}}
    told = [
        {"change": change, "waiting": waiting, **_said(items[short])}
        for change, shorts in (("new", new.told), ("updated", updated))
        for short in shorts
    ]
    return Judged({"known": [f"{short}:{current[short]}" for short in new.known], "waiting": waiting > 0}, told)


def _oldest_first(items: Mapping[str, Item], known: Collection[str]) -> Sequence[str]:
    """By their dates where all the new ones have one; else from the end of the feed, as feeds begin with the newest."""
    upwards = list(items)[::-1]
    dates = {short: items[short].published for short in upwards if short not in known}
    if known and all(dates.values()):
        return sorted(upwards, key=lambda short: dates.get(short) or datetime.min.replace(tzinfo=UTC))
    return upwards


def _said(item: Item) -> Mapping[str, Any]:
    return {
        "id": item.id,
        "url": item.url,
        "title": item.title,
        "published": item.published,
        "updated": item.updated,
        "summary": item.summary,
    }


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
