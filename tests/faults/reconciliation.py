"""What was accepted, held against what the database says and what the receiver heard: id by id.

accepted = delivered + failed + cancelled + pending, and nothing else is there: lost = 0
delivered: the receiver has answered it with 2xx
heard again after such an answer: only what was claimed, and had been heard, when a conclusion may have been cut off
attempts on record = requests heard, but for those cut off
nothing is heard twice sooner than the first retry may come
nothing is due that nobody takes
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypedDict

from tests.faults.ear import Heard
from tests.faults.relay import Relay, until

__all__ = ["Case", "Cut", "Row", "table"]

# The first retry comes 5 s after an attempt, and a lease ends 5 s after the deadline of its attempt at the earliest.
apart_seconds_min = 4.9
# What a process had written to a socket when it was killed is heard a moment later.
residue_seconds = 0.5
overdue_seconds_max = 10
# Attempts that end with these never reached anybody.
UNHEARD = {"bad_url", "https_required", "no_public_address", "connection_failed", "tls_error"}

WEBHOOK_ID = "d.endpoint_id || '_' || d.message_id"


class Row(TypedDict):
    """One line of the table."""

    case: str
    accepted: int
    delivered: int
    failed: int
    pending: int
    received: int
    allowed: int
    repeated: int
    lost: int
    seconds: float


@dataclass(frozen=True)
class Cut:
    """A moment at which conclusions may have been cut off, and what was claimed and not concluded then."""

    at: float
    claimed: frozenset[str]

    def covers(self, id: str, first_heard: float) -> bool:
        return id in self.claimed and first_heard <= self.at + residue_seconds


@dataclass
class Case:
    """One case while it runs: what was accepted, and the cuts."""

    name: str
    relay: Relay
    tell: Callable[[Row], None]
    accepted: set[str] = field(default_factory=set[str])
    cuts: list[Cut] = field(default_factory=list[Cut])
    started_at: float = field(default_factory=time.monotonic)

    async def cut(self) -> None:
        """From here on what is claimed may be heard again: its process was killed."""
        question = f"select {WEBHOOK_ID} from deliveries d where state = 'pending' and attempts > 0"
        claimed = await asyncio.to_thread(self.relay.ask, question)
        self.cuts.append(Cut(time.monotonic(), frozenset(row[0] for row in claimed)))

    async def reconcile(self, heard: Iterable[Heard]) -> Row:
        """Hold everything against everything, and tell the result; raises with all that does not agree."""
        await until(self._nothing_is_stuck, lambda: f"stuck: {self.relay.states()}\n{self.relay.logs()}")
        states, recorded = await asyncio.to_thread(self._written)
        times = _by_id(heard)
        allowed = {id: self._allowance(rings, recorded.get(id, 0)) for id, rings in times.items()}
        repeated = {id: count for id, rings in times.items() if (count := _repeats(rings))}
        lost = _lost(self.accepted, states, times)
        complaints = [
            *(f"lost: {id} {why}" for id, why in lost.items()),
            *(f"nobody published {id}" for id in states.keys() - self.accepted),
            *(f"nobody accepted {id}, which was heard" for id in times.keys() - self.accepted),
            *(
                f"{id} was heard {count} times too often"
                for id, count in repeated.items()
                if count > allowed.get(id, 0)
            ),
            *_miscounted(times, recorded, allowed),
            *_hasty(times),
        ]
        tally = Counter(states.values())
        row = Row(
            case=self.name,
            accepted=len(self.accepted),
            delivered=tally["delivered"],
            failed=tally["failed"] + tally["cancelled"],
            pending=tally["pending"],
            received=sum(map(len, times.values())),
            allowed=sum(allowed.values()),
            repeated=sum(repeated.values()),
            lost=len(lost),
            seconds=round(time.monotonic() - self.started_at, 1),
        )
        self.tell(row)
        assert not complaints, "\n".join([f"{row}", *complaints[:20], self.relay.logs()])
        return row

    def _allowance(self, rings: Sequence[Heard], recorded: int) -> int:
        """How often this may be heard again: once for each cut that it was in the middle of, and left no trace of."""
        covering = sum(cut.covers(rings[0].id, rings[0].at) for cut in self.cuts)
        return min(covering, max(0, len(rings) - recorded))

    async def _nothing_is_stuck(self) -> bool:
        late = f"due_at < clock_timestamp() - interval '{overdue_seconds_max} seconds'"
        return await self.relay.count(f"state = 'pending' and {late}") == 0

    def _written(self) -> tuple[Mapping[str, str], Mapping[str, int]]:
        """The state of each delivery, and how many of its attempts are on record that may have been heard."""
        unheard = ", ".join(f"'{category}'" for category in sorted(UNHEARD))
        rows = self.relay.ask(
            f"""
            select {WEBHOOK_ID}, d.state,
                (select count(*) from attempts a
                    where a.delivery_id = d.id and (a.error is null or a.error not in ({unheard})))
            from deliveries d
            """
        )
        return {id: state for id, state, _ in rows}, {id: count for id, _, count in rows}


def _by_id(heard: Iterable[Heard]) -> Mapping[str, Sequence[Heard]]:
    times: dict[str, list[Heard]] = defaultdict(list)
    for one in sorted(heard, key=lambda each: each.at):
        times[one.id].append(one)
    return times


def _repeats(rings: Sequence[Heard]) -> int:
    """How often this was heard after it had been answered. What was never answered is no duplicate, but a retry."""
    answered = next((number for number, ring in enumerate(rings) if ring.answered), len(rings))
    return max(0, len(rings) - answered - 1)


def _lost(
    accepted: Collection[str], states: Mapping[str, str], times: Mapping[str, Sequence[Heard]]
) -> Mapping[str, str]:
    gone = {id: "is not in the database" for id in accepted if id not in states}
    taken = {id for id, rings in times.items() if any(ring.answered is not False for ring in rings)}
    return gone | {
        id: "is delivered, and nobody took it"
        for id, state in states.items()
        if state == "delivered" and id not in taken
    }


def _miscounted(
    times: Mapping[str, Sequence[Heard]], recorded: Mapping[str, int], allowed: Mapping[str, int]
) -> Iterable[str]:
    """Requests without an attempt on record, and the other way round; but for those that were cut off."""
    for id in times.keys() | recorded.keys():
        heard, written = len(times.get(id, ())), recorded.get(id, 0)
        if not written <= heard <= written + allowed.get(id, 0):
            yield f"{id} was heard {heard} times, and has {written} attempts on record"


def _hasty(times: Mapping[str, Sequence[Heard]]) -> Iterable[str]:
    for id, rings in times.items():
        for former, latter in pairwise(rings):
            if latter.at - former.at < apart_seconds_min:
                yield f"{id} was heard again after {latter.at - former.at:.2f} s"


def table(rows: Sequence[Row]) -> str:
    """The rows, as a table for people."""
    head = ["case", "accepted", "delivered", "failed", "pending", "received", "duplicates", "lost", "seconds"]
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]

    def shown(line: Sequence[str]) -> str:
        first, *others = zip(line, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([shown(head), rule, *(shown(line) for line in lines[1:])])


def _cells(row: Row) -> list[str]:
    counts = [str(row[name]) for name in ("accepted", "delivered", "failed", "pending", "received")]
    return [row["case"], *counts, f"{row['allowed']} / {row['repeated']}", str(row["lost"]), f"{row['seconds']:.1f}"]
