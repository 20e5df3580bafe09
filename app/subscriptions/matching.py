"""Which filters a log satisfies: equal filters are one, and a log meets only the filters that could match it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
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


Anchor: TypeAlias = tuple[object, object]
"""A place, such as a position among the topics, and the value there."""


def log_filter(addresses: str | Sequence[str] | None, topics: Sequence[str | Sequence[str] | None] | None) -> LogFilter:
    """The filter in its one canonical form, however it was spelt: a single value is a list of one, `[]` allows any."""
    return LogFilter(addresses=_one_of(addresses), topics=tuple(_one_of(values) for values in topics or ()))


def matches(wanted: LogFilter, log: Log) -> bool:
    """Whether the log is wanted."""
    if wanted.addresses is not None and log.address not in wanted.addresses:
        return False
    topics = log.topics
    if len(wanted.topics) > len(topics):
        return False
    for position, values in enumerate(wanted.topics):
        if values is not None and topics[position] not in values:
            return False
    return True


@dataclass(slots=True)
class _Listed:
    """The filters under one anchor: those that the anchor alone decides, and those that have to be looked at."""

    always: dict[str, None]
    others: dict[str, list[LogFilter]]


class Matcher:
    """Many filters, asked all at once. The time for a log hardly depends on how many there are.

    A filter has one shape or several: a log satisfies it by any of them.
    """

    def __init__(self, filters: Mapping[str, Sequence[LogFilter]]) -> None:
        self._shapes: dict[str, Sequence[LogFilter]] = {}
        # One table for each kind of anchor: nothing has to be made to look something up.
        self._listed: dict[object, dict[object, _Listed]] = {place: {} for place in (0, 1, 2, 3, *_PLACES)}
        self._topics = tuple(self._listed[position] for position in range(4))
        self._addresses, self._events, self._anything = (self._listed[place] for place in _PLACES)
        for filter_id, shapes in filters.items():
            self.add(filter_id, shapes)

    @property
    def ids(self) -> Set[str]:
        """The filters that are asked for."""
        return self._shapes.keys()

    def add(self, filter_id: str, shapes: Sequence[LogFilter]) -> None:
        """Ask for one filter more, which is not among them yet."""
        assert filter_id not in self._shapes
        self._shapes[filter_id] = shapes
        for shape in shapes:
            decides = _decides(shape)
            for place, value in anchors(shape):
                listed = self._listed[place].get(value)
                if listed is None:
                    listed = self._listed[place][value] = _Listed({}, {})
                if decides:
                    listed.always[filter_id] = None
                else:
                    listed.others.setdefault(filter_id, []).append(shape)

    def drop(self, filter_id: str) -> None:
        """Ask for one filter less."""
        for shape in self._shapes.pop(filter_id):
            for place, value in anchors(shape):
                if listed := self._listed[place].get(value):
                    listed.always.pop(filter_id, None)
                    listed.others.pop(filter_id, None)
                    if not listed.always and not listed.others:
                        del self._listed[place][value]

    def match(self, log: Log) -> list[str]:
        """The ids of the filters that the log satisfies, in order."""
        topics, address = log.topics, log.address
        met = [self._addresses.get(address), self._anything.get(None)]
        if topics:
            met.append(self._events.get((address, topics[0])))
            met += [table.get(topic) for table, topic in zip(self._topics, topics, strict=False)]
        # A set, because a filter of several shapes may be met by two of them.
        found: set[str] = set()
        for listed in met:
            if listed is not None:
                found.update(listed.always)
                for filter_id, shapes in listed.others.items():
                    if any(matches(shape, log) for shape in shapes):
                        found.add(filter_id)
        return sorted(found) if len(found) > 1 else list(found)


# Where filters are listed that name no argument: by a contract, by an event of a contract, and by nothing.
_PLACES = ("address", "event", "any")
# No filter is found by it: tokens are made out of nothing all the time.
_NOBODY = "0x" + "0" * 64


def anchors(wanted: LogFilter) -> Iterator[Anchor]:
    """Where a filter is listed: under its most selective part, once for each value that part allows.

    An indexed argument is rarer than a contract's event, which is rarer than a contract, which is rarer than an event.
    The rarest of all is not looked for: among several arguments, the first will do.
    """
    for position in (1, 2, 3):
        if position < len(wanted.topics) and (values := wanted.topics[position]) is not None and _NOBODY not in values:
            yield from ((position, value) for value in values)
            return
    events = wanted.topics[0] if wanted.topics else None
    if wanted.addresses is not None and events is not None:
        yield from (("event", (address, event)) for address in wanted.addresses for event in events)
    elif wanted.addresses is not None:
        yield from (("address", address) for address in wanted.addresses)
    elif events is not None:
        yield from ((0, event) for event in events)
    else:
        yield ("any", None)


def _decides(wanted: LogFilter) -> bool:
    """Whether its anchor says all that the filter says, so that nothing is left to be looked at."""
    if len(wanted.topics) > 1:
        *before, last = wanted.topics
        nothing_else = wanted.addresses is None and not any(before)
        return nothing_else and last is not None and _NOBODY not in last
    return not wanted.topics or wanted.topics[0] is not None


def _one_of(values: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if isinstance(values, str):
        return (values.lower(),)
    return tuple(sorted({value.lower() for value in values})) if values else None
