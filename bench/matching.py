"""The logs of a block asked of many filters: ours beside a linear scan, and beside the conditions of what it found.

Measured in processor time: on a machine with nothing else to do, that is the time it takes.

Filters and logs are made up, with Zipf's law for tokens: 20,000 contracts, 200 events, 200,000 holders. No two filters
are equal, as equal ones are one. Two in three name a holder, one in six a contract and an event, one in six several.
"""

import random
import time
from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate

from app.subscriptions.conditions import Condition
from app.subscriptions.matching import Log, LogFilter, Matcher, log_filter, matches
from bench import report
from bench.stage import Stage

logs_count = 750
rounds = 30
_contracts, _events, _holders = 20_000, 200, 200_000


def report_matching(on: Stage, workers: int) -> None:
    """Print what a block of logs takes, by the number of filters, and what a condition takes."""
    made = _World(random.Random(1))
    logs = [made.log(index) for index in range(logs_count)]
    for count in (1_000, 10_000, 100_000):
        _report_filters(made.filters(count), logs)
    condition = Condition("decoded.value > 1000000000000000000000 && decoded.to == '0xab'")
    payload = {"decoded": {"value": 2**200, "to": "0xab"}}
    asked = _milliseconds(lambda: [condition.verdict(payload) for _ in range(10_000)])
    report.line("a condition", f"{asked / 10:.1f} us")


def _report_filters(filters: Sequence[LogFilter], logs: Sequence[Log]) -> None:
    began = time.process_time()
    matcher = Matcher({f"flt_{n}": [each] for n, each in enumerate(filters)})
    built = (time.process_time() - began) * 1000
    hits = sum(len(matcher.match(log)) for log in logs)
    report.line(f"{len(filters):,} filters", f"{hits:,} matches of {len(logs)} logs; built in {built:.0f} ms")
    ours = [_milliseconds(lambda: [matcher.match(log) for log in logs]) for _ in range(rounds)]
    report.show("ours, a block", ours)
    part = logs[: 7_500_000 // len(filters) // 10]
    scanned = _milliseconds(lambda: [matches(each, log) for log in part for each in filters])
    report.line(
        "a linear scan, a block", f"{scanned * len(logs) / len(part):,.0f} ms, going by {len(part)} of its logs"
    )


class _World:
    """Contracts, events and holders, some of which are met much more often."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._weights = {count: list(accumulate(1 / (n + 1) for n in range(count))) for count in (_contracts, _events)}

    def filters(self, count: int) -> Sequence[LogFilter]:
        found: dict[LogFilter, None] = {}
        while len(found) < count:
            found[self._filter()] = None
        return list(found)

    def log(self, index: int) -> Log:
        topics = (self._event(), self._holder(), self._holder())
        return Log(self._contract(), topics, "0x", f"0x{index:064x}", index, 0)

    def _filter(self) -> LogFilter:
        kind = self._chance.randrange(6)
        if kind < 2:
            return log_filter(None, [self._event(), None, self._holder()])
        if kind < 4:
            return log_filter(self._contract(), [self._event(), self._holder()])
        if kind < 5:
            return log_filter(f"0x{self._chance.randrange(_contracts):040x}", [self._event()])
        contracts = [f"0x{self._chance.randrange(_contracts):040x}" for _ in range(3)]
        return log_filter(contracts, [[self._event(), self._event()]])

    def _contract(self) -> str:
        return f"0x{self._common(_contracts):040x}"

    def _event(self) -> str:
        return f"0x{10**9 + self._common(_events):064x}"

    def _holder(self) -> str:
        return f"0x{2 * 10**9 + self._chance.randrange(_holders):064x}"

    def _common(self, count: int) -> int:
        weights = self._weights[count]
        return bisect(weights, self._chance.random() * weights[-1])


def _milliseconds(once: Callable[[], object]) -> float:
    began = time.process_time()
    once()
    return (time.process_time() - began) * 1000
