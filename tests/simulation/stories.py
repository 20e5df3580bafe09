"""Stories out of a seed: the same seed tells the same story."""

import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, get_args

from tests.simulation.actions import (
    Action,
    Backfill,
    Delete,
    Kill,
    Leave,
    Moment,
    Pass,
    Patch,
    Pause,
    Put,
    PutAgain,
    Report,
    Request,
    Resume,
    SetClock,
    SkipNext,
    Story,
    Together,
    Trigger,
    Trip,
    Work,
)
from tests.simulation.planner import STEPS
from tests.simulation.slots import Spec
from tests.world import EPOCH

schedules_min, schedules_max = 10, 20
actions_count = 90

_CRONS = (
    "* * * * *",
    "*/2 * * * *",
    "1,3-5 * * * *",
    "0 * * * *",
    "*/5 * * * * *",
    "3,17,40-42 * * * * *",
    "10 */2 * * * *",
    "* * * * * *",
)


def story(seed: int) -> Story:
    """The story of this seed."""
    dice = random.Random(seed)
    planners, schedules = dice.randint(2, 4), dice.randint(schedules_min, schedules_max)
    teller = _Teller(dice, planners, schedules)
    created = [Put(number, teller.terms()) for number in range(schedules)]
    return Story(seed, planners, (*created, *(teller.action() for _ in range(actions_count))))


class _Teller:
    def __init__(self, dice: random.Random, planners: int, schedules: int) -> None:
        self._dice = dice
        self._planners = planners
        self._schedules = schedules

    def action(self) -> Action:
        return self._one_of(
            {
                self._pass: 25,
                self._work: 30,
                self._request: 25,
                self._together: 12,
                self._trip: 5,
                self._kill: 3,
                self._leave: 2,
                self._outage: 1.5,
                self._set_clock: 1,
            }
        )

    def terms(self) -> dict[str, Any]:
        """Terms that no validator refuses."""
        terms: dict[str, Any] = {"spec": self._spec()}
        if self._chance(0.2):
            terms["starts_at"] = self._instant(0, 40)
        if self._chance(0.2):
            terms["ends_at"] = self._instant(40, 200)
        if self._chance(0.3):
            terms["jitter"] = f"PT{self._dice.choice([1, 2, 5, 30])}S"
        if self._chance(0.3):
            terms["max_fires"] = self._dice.randint(1, 8)
        if self._chance(0.2):
            terms["catch_up_window"] = f"PT{self._dice.choice([1, 5, 20, 600])}S"
        if self._chance(0.2):
            terms["pause_after_give_ups"] = self._dice.randint(1, 3)
        return terms | self._overlap() | self._misfire() | self._completion()

    # What the agent asks for

    def _request(self) -> Action:
        number = self._dice.randrange(self._schedules)
        return self._one_of(
            {
                lambda: Put(number, self.terms()): 3,
                lambda: PutAgain(number): 2,
                lambda: Patch(number, self._patch()): 6,
                lambda: Pause(number): 3,
                lambda: Resume(number): 4,
                lambda: Trigger(number): 3,
                lambda: SkipNext(number): 3,
                lambda: self._backfill(number): 2,
                lambda: Report(number): 2,
                lambda: Delete(number): 2,
            }
        )

    def _patch(self) -> Mapping[str, Any]:
        return self._one_of(
            {
                lambda: {"spec": self._spec()}: 4,
                lambda: {"jitter": self._dice.choice([None, "PT1S", "PT9S"])}: 1,
                lambda: {"starts_at": self._dice.choice([None, self._instant(0, 100)])}: 1,
                lambda: {"ends_at": self._dice.choice([None, self._instant(0, 300)])}: 1,
                lambda: {"max_fires": self._dice.choice([None, 1, 3, 10])}: 2,
                lambda: {"payload": self._dice.randrange(1000)}: 2,
                lambda: {"name": self._dice.choice(["a", "b"])}: 1,
                self._overlap: 2,
                self._misfire: 1,
            }
        )

    def _backfill(self, number: int) -> Request:
        overlap = self._dice.choice(["allow", "skip", "buffer_all"])
        return Backfill(number, self._dice.randint(1, 60), self._dice.randint(1, 20), overlap)

    def _spec(self) -> Spec:
        return self._one_of(
            {
                self._every: 4,
                self._cron: 4,
                self._at: 2,
                lambda: [self._every(), self._cron(), self._at()][: self._dice.randint(1, 3)]: 1,
                lambda: {"union": [self._every(), self._at()], "exclude": [self._cron()]}: 1,
                lambda: self._every() | {"exclude": [self._every()]}: 1,
            }
        )

    def _every(self) -> dict[str, Any]:
        anchor = {"anchor": self._instant(-100, 100)} if self._chance(0.3) else {}
        return {"every": f"PT{self._dice.randint(1, 20)}S"} | anchor

    def _cron(self) -> dict[str, Any]:
        return {"cron": self._dice.choice(_CRONS)}

    def _at(self) -> dict[str, Any]:
        return {"at": self._instant(-50, 120)}

    def _overlap(self) -> dict[str, Any]:
        overlap = self._dice.choice(["allow", "allow", "skip", "buffer_one", "buffer_all"])
        return {"overlap": overlap, "buffer_max": self._dice.randint(1, 4) if overlap == "buffer_all" else None}

    def _misfire(self) -> dict[str, Any]:
        misfire = self._dice.choice(["latest", "skip", "all"])
        return {"misfire": misfire, "catch_up_max": self._dice.randint(1, 30) if misfire == "all" else None}

    def _completion(self) -> dict[str, Any]:
        if self._chance(0.7):
            return {}
        return {"completion": "report", "completion_timeout": f"PT{self._dice.randint(1, 20)}S"}

    def _instant(self, least: int, most: int) -> str:
        at = EPOCH + timedelta(seconds=self._dice.randint(least, most))
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")

    # What happens to the relay

    def _pass(self) -> Action:
        return Pass(round(self._dice.choice([self._dice.uniform(0, 1), self._dice.uniform(0, 4)]), 3))

    def _outage(self) -> Action:
        return Pass(self._dice.randint(5, 90))

    def _set_clock(self) -> Action:
        return SetClock(self._dice.choice([-1, 1]))

    def _work(self) -> Action:
        return Work(self._planner(), self._dice.choice(["work", "work", *STEPS]))

    def _together(self) -> Action:
        return Together(self._work(), self._dice.choice([self._work, self._request])())

    def _trip(self) -> Action:
        moment: Moment = self._dice.choice(get_args(Moment))
        return Trip(self._planner(), moment, self._dice.randint(0, 5), self._chance(0.5))

    def _kill(self) -> Action:
        return Kill(self._planner())

    def _leave(self) -> Action:
        return Leave(self._planner())

    def _planner(self) -> int:
        return self._dice.randrange(self._planners)

    def _chance(self, share: float) -> bool:
        return self._dice.random() < share

    def _one_of(self, choices: Mapping[Callable[[], Any], float]) -> Any:
        """What one of these makes, chosen by weight."""
        return self._dice.choices(list(choices), list(choices.values()))[0]()
