"""Stories out of a seed: the same seed tells the same story."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any, get_args

from tests.simulation.actions import (
    Action,
    Create,
    Delete,
    Kill,
    Leave,
    Moment,
    Pass,
    SetClock,
    Story,
    Together,
    Trip,
    Work,
)
from tests.simulation.slots import Spec
from tests.world import EPOCH

schedules_min, schedules_max = 10, 20
actions_count = 70


def story(seed: int) -> Story:
    """The story of this seed."""
    dice = random.Random(seed)
    planners, schedules = dice.randint(2, 4), dice.randint(schedules_min, schedules_max)
    teller = _Teller(dice, planners, schedules)
    created = [Create(number, teller.spec()) for number in range(schedules)]
    return Story(seed, planners, (*created, *(teller.action() for _ in range(actions_count))))


class _Teller:
    def __init__(self, dice: random.Random, planners: int, schedules: int) -> None:
        self._dice = dice
        self._planners = planners
        self._schedules = schedules

    def action(self) -> Action:
        choices: dict[Callable[[], Action], float] = {
            self._pass: 30,
            self._work: 40,
            self._together: 10,
            self._trip: 6,
            self._kill: 4,
            self._leave: 3,
            self._outage: 1.5,
            self._set_clock: 1,
            self._create: 2,
            self._delete: 2,
        }
        return self._dice.choices(list(choices), list(choices.values()))[0]()

    def spec(self) -> Spec:
        match self._dice.randrange(10):
            case 0 | 1 | 2 | 3:
                return self._every()
            case 4 | 5 | 6:
                return self._cron()
            case _:
                return self._at()

    def _every(self) -> dict[str, Any]:
        return {"every": f"PT{self._dice.randint(1, 20)}S"}

    def _cron(self) -> dict[str, Any]:
        return {"cron": self._dice.choice(["* * * * *", "*/2 * * * *", "1,3-5 * * * *", "0 * * * *"])}

    def _at(self) -> dict[str, Any]:
        at = EPOCH + timedelta(seconds=self._dice.randint(-50, 120))
        return {"at": at.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def _pass(self) -> Action:
        return Pass(round(self._dice.choice([self._dice.uniform(0, 1), self._dice.uniform(0, 4)]), 3))

    def _outage(self) -> Action:
        return Pass(self._dice.randint(5, 90))

    def _set_clock(self) -> Action:
        return SetClock(self._dice.choice([-1, 1]))

    def _work(self) -> Action:
        return Work(self._planner(), self._dice.choice(["work", "work", "plan_next", "take_over_next", "fire_next"]))

    def _together(self) -> Action:
        return Together(self._work(), self._dice.choice([self._work, self._work, self._delete])())

    def _trip(self) -> Action:
        moment: Moment = self._dice.choice(get_args(Moment))
        return Trip(self._planner(), moment, self._dice.randint(0, 2), self._dice.random() < 0.5)

    def _kill(self) -> Action:
        return Kill(self._planner())

    def _leave(self) -> Action:
        return Leave(self._planner())

    def _create(self) -> Action:
        return Create(self._dice.randrange(self._schedules), self.spec())

    def _delete(self) -> Action:
        return Delete(self._dice.randrange(self._schedules))

    def _planner(self) -> int:
        return self._dice.randrange(self._planners)
