"""What a block holds for all who want something of its chain: decided here, without I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from app.kit.ids import derived_id
from app.subscriptions.matching import Log, Matcher
from app.subscriptions.telling import Seen
from app.watchers.blocks import ContractCall, Extra, Mined, Needs
from app.watchers.decoding import exact
from app.watchers.follower import Block
from app.watchers.prices import Observation, changed, remembered
from app.watchers.wanted import Detail, Wanted, key_of, shown_as_logs

__all__ = ["Contents", "Filters", "Found", "Prices", "found_in"]

Prices: TypeAlias = dict[str, Sequence[Observation]]


@dataclass(frozen=True, slots=True)
class Contents:
    """All that was read of a block."""

    block: Block
    logs: Sequence[Log]
    extra: Extra = field(default_factory=Extra)


@dataclass(frozen=True, slots=True)
class Found:
    """What is to be told of a block, in its order, and how many conditions could not be told."""

    seen: Sequence[Seen]
    unknown: int


class Filters:
    """All that is wanted of one chain, ready to be asked."""

    def __init__(self, wanted: Collection[Wanted] = ()) -> None:
        self.by_id: dict[str, Wanted] = {}
        self.of_logs = Matcher({})
        self.of_transactions = Matcher({})
        self.calls: dict[ContractCall, dict[str, Wanted]] = {}
        self.blocks: dict[str, Wanted] = {}
        self.prices: set[str] = set()
        self._full: set[str] = set()
        for each in wanted:
            self.add(each)

    @property
    def needs(self) -> Needs:
        """What has to be asked for besides logs."""
        return Needs(full=bool(self._full), calls=frozenset(self.calls))

    def add(self, wanted: Wanted) -> None:
        """Ask for one filter more."""
        self.by_id[wanted.id] = wanted
        if wanted.full:
            self._full.add(wanted.id)
        if wanted.price is not None:
            self.prices.add(wanted.id)
        if wanted.of_log is not None:
            self.of_logs.add(wanted.id, wanted.shapes)
        elif wanted.of_transaction is not None:
            self.of_transactions.add(wanted.id, wanted.shapes)
        elif wanted.call is not None:
            self.calls.setdefault(wanted.call, {})[wanted.id] = wanted
        else:
            self.blocks[wanted.id] = wanted

    def drop(self, filter_id: str) -> None:
        """Ask for one filter less."""
        wanted = self.by_id.pop(filter_id)
        self._full.discard(filter_id)
        self.prices.discard(filter_id)
        self.blocks.pop(filter_id, None)
        if wanted.of_log is not None:
            self.of_logs.drop(filter_id)
        elif wanted.of_transaction is not None:
            self.of_transactions.drop(filter_id)
        elif wanted.call is not None:
            asked = self.calls[wanted.call]
            del asked[filter_id]
            if not asked:
                del self.calls[wanted.call]


def found_in(chain: str, contents: Contents, filters: Filters, prices: Prices, *, ring_blocks: int) -> Found:
    """What the block holds, in order. `prices` is what was observed before it, and goes on with it."""
    finder = _Finder(chain, contents, filters)
    told = [*finder.of_block(), *finder.of_transactions(), *finder.of_logs(), *finder.of_prices(prices, ring_blocks)]
    told += finder.of_calls()
    # In the order of the chain: a transaction before its logs, and what holds of the whole block after all of them.
    told.sort(key=lambda each: each[0])
    return Found([seen for _, seen in told], finder.unknown)


_Place: TypeAlias = tuple[int, int, int]
_Told: TypeAlias = tuple[_Place, Seen]
# Beyond every transaction of a block.
_LAST = 1 << 62


class _Finder:
    """One block, and all that is asked of it."""

    def __init__(self, chain: str, contents: Contents, filters: Filters) -> None:
        self._chain = chain
        self._contents = contents
        self._filters = filters
        self.unknown = 0
        block = contents.block
        self._block = {
            "number": block.number,
            "hash": block.hash,
            "timestamp": block.timestamp,
            "parent_hash": block.parent,
        }
        self._priced: dict[str, tuple[Log, Detail]] = {}

    def of_block(self) -> Iterator[_Told]:
        number = self._contents.block.number
        met = [each for each in self._filters.blocks.values() if each.every and number % each.every == 0]
        for told in self._told(met, self._payload(), {}, ()):
            yield (-1, -1, 0), told

    def of_transactions(self) -> Iterator[_Told]:
        for mined in self._contents.extra.mined or ():
            matcher = self._filters.of_transactions
            met = {filter_id for log in shown_as_logs(mined) for filter_id in matcher.match(log)}
            for group in self._views(met):
                assert group[0].of_transaction is not None
                detail = group[0].of_transaction(mined)
                if detail is not None:
                    payload = self._payload(transaction=_transaction(mined))
                    for told in self._told(group, payload, detail, (str(mined.index),)):
                        yield (mined.index, -1, 0), told

    def of_logs(self) -> Iterator[_Told]:
        for log in self._contents.logs:
            for group in self._views(self._filters.of_logs.match(log)):
                assert group[0].of_log is not None
                detail = group[0].of_log(log)
                if detail is None:
                    continue
                if group[0].price is not None:
                    # The last of the block counts.
                    self._priced[group[0].id] = log, detail
                    continue
                for told in self._told(group, self._of_log(group[0], log), detail, _place(log)):
                    yield (log.transaction_index, log.index_in_receipt, 0), told

    def of_prices(self, prices: Prices, ring_blocks: int) -> Iterator[_Told]:
        """Of each pool the price at the end of the block; all logs of the block have been looked at."""
        block = self._contents.block
        for filter_id, (log, detail) in self._priced.items():
            wanted = self._filters.by_id[filter_id]
            assert wanted.price is not None
            seen = prices.get(filter_id, ())
            now = Observation(block.number, block.timestamp, detail["price"]["price"])
            if (change := changed(wanted.price.when, seen, now)) is not None:
                more = detail["price"] | {"previous": change.before.price, "change_percent": change.percent}
                since = {"number": change.before.number, "timestamp": change.before.timestamp}
                payload = self._of_log(wanted, log) | {"since": since}
                for told in self._told([wanted], payload, {"price": more}, _place(log)):
                    now = replace(now, told=True)
                    yield (log.transaction_index, log.index_in_receipt, 1), told
            prices[filter_id] = remembered(wanted.price.when, [*seen, now], blocks=ring_blocks)

    def of_calls(self) -> Iterator[_Told]:
        for call, (before, now) in self._contents.extra.answers.items():
            if before == now:
                continue
            for group in self._views(self._filters.calls.get(call, {})):
                assert group[0].answer is not None
                detail = {"current": group[0].answer(now), "previous": group[0].answer(before)}
                payload = self._payload(call={"address": call.address, "data": call.data})
                for told in self._told(group, payload, detail, (key_of(call),)):
                    yield (_LAST, 0, 0), told

    def _views(self, filter_ids: Collection[str]) -> Collection[list[Wanted]]:
        """The filters in groups that say the same of an event."""
        groups: dict[str, list[Wanted]] = defaultdict(list)
        for filter_id in sorted(filter_ids):
            wanted = self._filters.by_id[filter_id]
            groups[wanted.view].append(wanted)
        return groups.values()

    def _told(self, group: Sequence[Wanted], payload: Detail, detail: Detail, place: tuple[str, ...]) -> Iterator[Seen]:
        """The event, for those of a group who want it after all; nothing where nobody does."""
        whole = payload | detail
        met = [each.id for each in group if self._meets(each, whole)]
        if met:
            # The same place in the same block is the same event, whoever sees it and how often.
            event_id = derived_id("evt", self._chain, self._contents.block.hash, *place)
            block = self._contents.block
            yield Seen(event_id, group[0].kind, met, _written(payload, detail), block.hash, block.number)

    def _meets(self, wanted: Wanted, payload: Detail) -> bool:
        if wanted.passes is not None and not wanted.passes(payload):
            return False
        if wanted.condition is None:
            return True
        verdict = wanted.condition.verdict(payload)
        self.unknown += verdict is None
        return verdict is True

    def _payload(self, **members: Detail) -> Detail:
        return {"chain": self._chain, "block": self._block, **members, "verified": "rpc"}

    def _of_log(self, wanted: Wanted, log: Log) -> Detail:
        shown = {"index": log.index_in_receipt, "address": log.address, "topics": list(log.topics), "data": log.data}
        transaction: Detail = {"hash": log.transaction_hash, "index": log.transaction_index, "verified": "rpc"}
        if wanted.full and self._contents.extra.mined is not None:
            transaction = _transaction(self._contents.extra.mined[log.transaction_index])
        return self._payload(transaction=transaction, log=shown) | {"verified": log.verified}


def _transaction(mined: Mined) -> Detail:
    return {
        "hash": mined.hash,
        "index": mined.index,
        "verified": mined.verified,
        "from": mined.sender,
        "to": mined.to,
        "value": mined.value,
    }


def _place(log: Log) -> tuple[str, str]:
    return str(log.transaction_index), str(log.index_in_receipt)


def _written(payload: Detail, detail: Detail) -> dict[str, Any]:
    """As JSON: numbers of contracts as text, those of the chain's own as numbers."""
    written = {**payload, "replaced_by": None, **exact(detail)}
    if "value" in payload.get("transaction", {}):
        written["transaction"] = {**payload["transaction"], "value": str(payload["transaction"]["value"])}
    return written
