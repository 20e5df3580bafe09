"""What was asked of each schedule, and when: all that the law needs to know beside the journal."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.simulation.slots import Timing

buffer_default = 100


@dataclass
class Era:
    """A time during which one timing was in force. All bounds are seconds since the epoch.

    Its slots are those later than `after`, up to `until`; of these, those up to `due_until` were due before it ended.
    A clock that was set back makes the difference: what has fired stays fired, what has not is not due any more.
    `settled` are slots that were in the journal already when it began, as skipped, whether it names them or not.
    """

    timing: Timing
    after: int
    settled: Collection[int] = ()
    due_until: int | None = None
    until: int | None = None


@dataclass(frozen=True)
class Standing:
    """How far a schedule has got at some moment, by its row and its journal."""

    state: str
    version: int
    next_fire: datetime | None
    fired: int  # of its own slots
    last_slot: datetime | None  # the latest of its own that has come or has been handed over
    settled: Collection[int]  # its own later than that, which were skipped in advance

    @property
    def is_done(self) -> bool:
        """Whether it has no slot to plan. It is completed as soon as what is planned has come, which may not be yet."""
        return self.state == "completed" or self.next_fire is None


@dataclass
class Life:
    """One schedule from its creation to its deletion."""

    id: str
    number: int
    terms: dict[str, Any]
    eras: list[Era] = field(default_factory=list)
    fires_max: int | None = None  # the most that it was ever allowed to fire; None: as many as it likes
    buffered_max: int = 0  # the most that it was ever allowed to buffer
    always_waits: bool = True  # for its own runs: it never had the policy that lets them overlap
    fired_when_paused: int | None = None  # while its agent has it paused
    skipped: set[int] = field(default_factory=set)  # slots that the agent did not want
    triggered: set[str] = field(default_factory=set)  # ids of fires
    backfilled: dict[str, Collection[int]] = field(default_factory=dict)  # slots by kind

    @classmethod
    def begun(cls, id: str, number: int, terms: Mapping[str, Any], now: datetime) -> "Life":
        """It is created. As the API says, an instant that passed less than a minute ago still counts."""
        timing, after = timing_of(terms), second(now)
        if not timing.slots(after, after + 86_400):
            after -= 60
        life = cls(id, number, dict(terms), [Era(timing, after)], fires_max=terms.get("max_fires"))
        life._allow(terms)
        return life

    @property
    def era(self) -> Era:
        """The one that is in force, or was when it was deleted."""
        return self.eras[-1]

    def end(self, now: datetime, standing: Standing) -> None:
        """It is deleted. What no planner had come to by then belongs to the relay's outage, and to no journal."""
        passed = second(now) if standing.next_fire is None else min(second(now), second(standing.next_fire) - 1)
        self.era.due_until = min(passed, _done(standing)) if standing.is_done else passed

    def change(self, terms: Mapping[str, Any], now: datetime, before: Standing, after: Standing) -> None:
        """Its terms are others from now on."""
        timing, most = timing_of(terms), terms.get("max_fires")
        was_taken_up = before.is_done and not after.is_done
        # A bound that is raised is no reason to write down what has passed since it was reached, not even where it
        # comes too late for any slot.
        was_released = _is_reached(self.terms.get("max_fires"), before) and not _is_reached(most, after)
        if timing != self.era.timing or was_taken_up or was_released:
            self.begin_anew(now, before, after, timing)
        self.fires_max = None if most is None else max(most, after.fired)
        self.terms = dict(terms)
        self._allow(terms)

    def begin_anew(self, now: datetime, before: Standing, after: Standing, timing: Timing | None = None) -> None:
        """From now on it goes by this timing (None: the same), whatever it would have done otherwise.

        Slots that are to come again, after the clock was set back, count as any others.
        """
        timing = timing or self.era.timing
        self.era.until = max(second(now), _done(after))
        self.era.due_until = min(_done(before), self.era.until) if before.is_done else second(now)
        self.eras.append(Era(timing, self._beginning(timing, now, after), after.settled))

    def skip(self, slot: int) -> None:
        """Its agent does not want this slot, which is one; even one of an hour that comes again."""
        assert slot in self.era.timing.slots(slot - 1, slot), f"{slot} is no slot to skip"
        self.skipped.add(slot)

    def _beginning(self, timing: Timing, now: datetime, after: Standing) -> int:
        begins = max(second(now), _done(after))
        if not timing.slots(begins, begins + 86_400) and after.next_fire is not None:
            # An instant that has just passed will do, if nothing else is left.
            begins = min(begins, second(after.next_fire) - 1)
            assert begins >= second(now) - 61, "no longer ago than a minute"
        return begins

    def _allow(self, terms: Mapping[str, Any]) -> None:
        caps = {"buffer_one": 1, "buffer_all": terms.get("buffer_max") or buffer_default}
        self.buffered_max = max(self.buffered_max, caps.get(terms.get("overlap", "allow"), 0))
        self.always_waits = self.always_waits and terms.get("overlap", "allow") != "allow"


def timing_of(terms: Mapping[str, Any]) -> Timing:
    """When a schedule with these terms is to fire."""
    bounds = [None if terms.get(name) is None else second(terms[name]) for name in ("starts_at", "ends_at")]
    return Timing(terms["spec"], *bounds, jitter=terms.get("jitter"))


def second(moment: datetime | str) -> int:
    """The latest whole second that is not later."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return int(moment.timestamp() // 1)


def _is_reached(most: int | None, standing: Standing) -> bool:
    return most is not None and standing.fired >= most


def _done(standing: Standing) -> int:
    return second(standing.last_slot) if standing.last_slot else 0
