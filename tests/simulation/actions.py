"""What can be done to a relay and its schedules, as values: a list of them is a story that can be told again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Moment = Literal["before the commit", "after the commit"]


@dataclass(frozen=True)
class Pass:
    """Time passes, and nobody does anything."""

    seconds: float


@dataclass(frozen=True)
class SetClock:
    """Somebody sets the database's clock by so many hours. What measures durations does not notice."""

    hours: int


# What happens to planners


@dataclass(frozen=True)
class Work:
    """A planner takes one kind of step, or all of them until there is nothing to do."""

    planner: int
    step: str = "work"


@dataclass(frozen=True)
class Trip:
    """A planner's transaction fails at this moment, the next or one `after` it. It dies of it, or goes on."""

    planner: int
    moment: Moment
    after: int
    dies: bool


@dataclass(frozen=True)
class Kill:
    """A planner is killed, and another takes its place with an empty memory."""

    planner: int


@dataclass(frozen=True)
class Leave:
    """A planner is told to stop: it leaves what it holds to others. Another takes its place."""

    planner: int


# What the agent asks for


@dataclass(frozen=True)
class Put:
    """Create the schedule under the id that its number makes, or replace it."""

    schedule: int
    terms: Mapping[str, Any]


@dataclass(frozen=True)
class PutAgain:
    """Ask once more for what is there already."""

    schedule: int


@dataclass(frozen=True)
class Patch:
    """Change some of its terms."""

    schedule: int
    terms: Mapping[str, Any]


@dataclass(frozen=True)
class Pause:
    schedule: int


@dataclass(frozen=True)
class Resume:
    schedule: int


@dataclass(frozen=True)
class Trigger:
    schedule: int


@dataclass(frozen=True)
class SkipNext:
    schedule: int


@dataclass(frozen=True)
class Backfill:
    """Fire the slots of the past after all, from so many seconds ago on, for so many seconds."""

    schedule: int
    ago_seconds: int
    seconds: int
    overlap: str


@dataclass(frozen=True)
class Report:
    """Say that its oldest run is done."""

    schedule: int


@dataclass(frozen=True)
class Delete:
    schedule: int


Request = Put | PutAgain | Patch | Pause | Resume | Trigger | SkipNext | Backfill | Report | Delete


@dataclass(frozen=True)
class Together:
    """Two things at the same time."""

    one: "Action"
    other: "Action"


Action = Pass | SetClock | Work | Trip | Kill | Leave | Request | Together


@dataclass(frozen=True)
class Story:
    """What happens in one world. `seed` makes its ids, and so their jitter."""

    seed: int
    planners: int
    actions: tuple[Action, ...]

    def __str__(self) -> str:
        lines = "\n".join(f"    {action!r}," for action in self.actions)
        return f"Story(seed={self.seed}, planners={self.planners}, actions=(\n{lines}\n))"
