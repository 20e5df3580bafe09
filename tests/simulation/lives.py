"""What was asked of each schedule, and when: all that the law needs to know beside the journal."""

from dataclasses import dataclass, field
from datetime import datetime

from tests.simulation.slots import Timing


@dataclass
class Era:
    """A time during which one timing was in force. All bounds are seconds since the epoch.

    Its slots are those later than `after`, up to `until`; of these, those up to `due_until` were due before it ended.
    A clock that was set back makes the difference: what has fired stays fired, what has not is not due any more.
    """

    timing: Timing
    after: int
    due_until: int | None = None
    until: int | None = None


@dataclass
class Life:
    """One schedule from its creation to its deletion."""

    id: str
    number: int
    eras: list[Era] = field(default_factory=list)
    deleted: bool = False

    @property
    def era(self) -> Era:
        """The one that is in force, or was when it was deleted."""
        return self.eras[-1]

    def begin(self, timing: Timing, now: datetime) -> None:
        """It is created. Like the API says: an instant that passed less than a minute ago still counts."""
        after = _second(now)
        if not timing.slots(after, after + 86_400):
            after -= 60
        self.eras.append(Era(timing, after))

    def end(self, now: datetime, last_slot: datetime | None) -> None:
        """Its timing ends, while `last_slot` is the latest in the journal."""
        self.era.due_until = _second(now)
        self.era.until = max(_second(now), _second(last_slot) if last_slot else 0)

    def change(self, timing: Timing, now: datetime, last_slot: datetime | None) -> None:
        """Another timing is in force from now on."""
        self.end(now, last_slot)
        assert self.era.until is not None
        self.eras.append(Era(timing, self.era.until))


def _second(moment: datetime) -> int:
    """The latest whole second that is not later."""
    return int(moment.timestamp() // 1)
