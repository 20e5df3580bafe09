"""Which filters a log satisfies: equal filters are one, and a log meets only the filters that could match it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Log:
    """One log of a mined transaction. Hexadecimal is lower case."""

    address: str
    topics: tuple[str, ...]
    data: str
    transaction_hash: str
    transaction_index: int
    index_in_receipt: int
    """Its place among the logs of its own transaction: unlike the place in the block, a receipt proves it."""
    verified: Literal["receipts-root", "bloom", "rpc"] = "rpc"
    """How far the block that it is in was checked. The transaction's hash is not part of it."""


@dataclass(frozen=True, slots=True)
class LogFilter:
    """An address out of some and, at each topic position, a value out of some; None stands for any.

    Positions count: a log with fewer topics than the filter names positions does not match, even where the position
    allows any value. Nodes read filters in the same way.
    """

    addresses: tuple[str, ...] | None
    topics: tuple[tuple[str, ...] | None, ...]


Anchor: TypeAlias = tuple[object, ...]


def log_filter(addresses: str | Sequence[str] | None, topics: Sequence[str | Sequence[str] | None] | None) -> LogFilter:
    """The filter in its one canonical form, however it was spelt: a single value is a list of one, `[]` allows any."""
    return LogFilter(addresses=_one_of(addresses), topics=tuple(_one_of(values) for values in topics or ()))


def matches(wanted: LogFilter, log: Log) -> bool:
    """Whether the log is wanted."""
    if wanted.addresses is not None and log.address not in wanted.addresses:
        return False
    if len(wanted.topics) > len(log.topics):
        return False
    # Not strict: topics beyond those that the filter names may be anything.
    return all(values is None or topic in values for values, topic in zip(wanted.topics, log.topics, strict=False))


class Matcher:
    """Many filters, asked all at once. The time for a log hardly depends on how many there are."""

    def __init__(self, filters: Mapping[str, LogFilter]) -> None:
        self._listed: dict[Anchor, list[tuple[str, LogFilter]]] = defaultdict(list)
        for filter_id, wanted in filters.items():
            for anchor in anchors(wanted):
                self._listed[anchor].append((filter_id, wanted))

    def match(self, log: Log) -> list[str]:
        """The ids of the filters that the log satisfies, in order."""
        # A filter with several values is listed under each, but a log carries one value a place: it is met once.
        found = (each for anchor in _probes(log) for each in self._listed.get(anchor, ()))
        return sorted(filter_id for filter_id, wanted in found if matches(wanted, log))


def anchors(wanted: LogFilter) -> Iterator[Anchor]:
    """Where a filter is listed: under its most selective part, once for each value that part allows.

    An indexed argument is rarer than a contract's event, which is rarer than a contract, which is rarer than an event.
    """
    for position in (1, 2, 3):
        if position < len(wanted.topics) and (values := wanted.topics[position]) is not None:
            yield from ((position, value) for value in values)
            return
    events = wanted.topics[0] if wanted.topics else None
    if wanted.addresses is not None and events is not None:
        yield from (("event", address, event) for address in wanted.addresses for event in events)
    elif wanted.addresses is not None:
        yield from (("address", address) for address in wanted.addresses)
    elif events is not None:
        yield from ((0, event) for event in events)
    else:
        yield ("any",)


def _probes(log: Log) -> Iterator[Anchor]:
    """Every anchor under which a filter for this log can be listed: at most seven."""
    yield from enumerate(log.topics)
    yield ("address", log.address)
    if log.topics:
        yield ("event", log.address, log.topics[0])
    yield ("any",)


def _one_of(values: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if isinstance(values, str):
        return (values.lower(),)
    return tuple(sorted({value.lower() for value in values})) if values else None
