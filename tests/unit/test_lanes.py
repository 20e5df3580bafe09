"""Lanes take turns, and whoever is slow holds up only itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from app.deliveries.lanes import Lanes
from app.deliveries.shares import unknown_places

PLACES = 64


@dataclass(frozen=True)
class Load:
    id: str
    endpoint_id: str
    host: str


class Airfield:
    """Lanes, and a clock that the test moves."""

    def __init__(self, places: int = PLACES, host_places: int = 1_000) -> None:
        self.now = 0.0
        self.lanes = Lanes[Load](places, host_places, lambda: self.now)
        self._numbers = count()

    def put(self, endpoint_id: str, number: int, host: str | None = None) -> None:
        ids = (f"dlv_{next(self._numbers)}" for _ in range(number))
        self.lanes.put(Load(id, endpoint_id, host or endpoint_id) for id in ids)

    def take_all(self) -> list[Load]:
        return list(self._taken())

    def _taken(self) -> Iterator[Load]:
        while (load := self.lanes.take()) is not None:
            yield load

    def know(self, endpoint_id: str, seconds: float) -> None:
        """Fly one, so that its pace is known."""
        self.put(endpoint_id, 1)
        [load] = self.take_all()
        self.now += seconds
        self.lanes.landed(load)


def of(loads: list[Load], endpoint_id: str) -> int:
    return sum(load.endpoint_id == endpoint_id for load in loads)


def test_lanes_take_turns() -> None:
    field = Airfield(places=4)
    field.put("a", 3)
    field.put("b", 3)

    assert [load.endpoint_id for load in field.take_all()] == ["a", "b", "a", "b"]


def test_one_dead_endpoint_among_a_hundred_keeps_a_few_places() -> None:
    field = Airfield()
    field.put("dead", 500)
    for number in range(99):
        field.put(f"well {number}", 2)

    taken = field.take_all()
    field.now += 15
    for load in taken:
        if load.endpoint_id != "dead":
            field.lanes.landed(load)
    field.lanes.look_again()
    later = field.take_all()

    assert of(taken, "dead") <= unknown_places
    assert len(taken) == PLACES
    assert of(later, "dead") == 0
    assert len(later) >= PLACES - unknown_places - 1


def test_a_slow_one_gets_few_places_and_a_quick_one_nearly_all() -> None:
    field = Airfield()
    field.know("slow", 5)
    field.know("quick", 0.01)
    field.put("slow", 100)
    slow = field.take_all()
    field.put("quick", 100)

    quick = field.take_all()

    assert 1 <= of(slow, "slow") <= PLACES // 6
    assert of(quick, "quick") >= 0.8 * (PLACES - len(slow))


def test_a_host_has_a_bound_whoever_is_there() -> None:
    field = Airfield(host_places=3)
    for number in range(5):
        field.put(f"ep {number}", 2, host="shared:443")
    field.put("elsewhere", 1)

    taken = field.take_all()
    shared = [load for load in taken if load.host == "shared:443"]
    field.lanes.landed(shared[0])

    assert len(shared) == 3
    assert of(taken, "elsewhere") == 1
    assert len(field.take_all()) == 1


def test_all_that_waits_takes_off_in_the_end() -> None:
    field = Airfield(places=4, host_places=2)
    for number in range(20):
        field.put(f"ep {number}", 5, host=f"host {number % 3}")

    flown = list[str]()
    for _ in range(1_000):
        flying = field.take_all()
        flown += [load.id for load in flying]
        field.now += 0.5
        for load in flying:
            field.lanes.landed(load)
        field.lanes.look_again()

    assert len(flown) == len(set(flown)) == 100
    assert len(field.lanes) == 0


def test_what_is_slower_than_it_seemed_lets_go_of_what_waits_too_long() -> None:
    field = Airfield()
    field.put("dead", 500)
    field.take_all()
    patient = list(field.lanes.give_up())
    field.now += 15

    left = list(field.lanes.give_up())

    assert patient == []
    assert 480 <= len(left) <= 492
    assert len(field.lanes) == 500 - unknown_places - len(left)
    assert field.lanes.full() == ["dead"]


def test_one_straggler_does_not_make_a_quick_endpoint_slow() -> None:
    field = Airfield()
    field.know("quick", 0.01)
    field.put("quick", 1)
    [straggler] = field.take_all()
    for _ in range(20):
        field.put("quick", 10)
        flying = field.take_all()
        field.now += 0.2
        for load in flying:
            field.lanes.landed(load)
    field.put("quick", 200)

    assert list(field.lanes.give_up()) == []
    assert len(field.take_all()) > PLACES // 2
    assert straggler.endpoint_id == "quick"
