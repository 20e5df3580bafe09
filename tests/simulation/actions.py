"""What can be done to a relay and its schedules, as values: a list of them is a story that can be told again."""

from dataclasses import dataclass
from typing import Literal

from tests.simulation.slots import Spec

Moment = Literal["before the commit", "after the commit"]


@dataclass(frozen=True)
class Pass:
    """Time passes, and nobody does anything."""

    seconds: float


@dataclass(frozen=True)
class SetClock:
    """Somebody sets the database's clock by so many hours. What measures durations does not notice."""

    hours: int


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


@dataclass(frozen=True)
class Create:
    """The agent creates a schedule."""

    schedule: int
    spec: Spec


@dataclass(frozen=True)
class Delete:
    """The agent deletes a schedule."""

    schedule: int


@dataclass(frozen=True)
class Together:
    """Two things at the same time."""

    one: "Action"
    other: "Action"


Action = Pass | SetClock | Work | Trip | Kill | Leave | Create | Delete | Together


@dataclass(frozen=True)
class Story:
    """What happens in one world. `seed` makes its ids, and so their jitter."""

    seed: int
    planners: int
    actions: tuple[Action, ...]

    def __str__(self) -> str:
        lines = "\n".join(f"    {action!r}," for action in self.actions)
        return f"Story(seed={self.seed}, planners={self.planners}, actions=(\n{lines}\n))"
