"""Requests in flight: never more than there are places, collected in groups, none forgotten."""

import asyncio

import pytest

from app.deliveries.flights import Flights
from app.deliveries.shares import ahead


class Runway:
    """Flights that land when the test says so."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.landing: dict[int, asyncio.Event] = {}

    async def fly(self, item: int) -> int:
        self.started.append(item)
        await self.landing.setdefault(item, asyncio.Event()).wait()
        return item

    async def land(self, *items: int) -> None:
        for item in items:
            self.landing.setdefault(item, asyncio.Event()).set()
        for _ in range(5):
            await asyncio.sleep(0)


async def test_no_more_fly_than_there_are_places_and_the_next_takes_off_at_once() -> None:
    runway = Runway()
    flights = Flights(runway.fly, places=2, ahead=2)
    flights.start([1, 2, 3, 4])
    await asyncio.sleep(0)
    first = list(runway.started)

    await runway.land(2)

    assert first == [1, 2]
    assert runway.started == [1, 2, 3]
    assert flights.room == 1
    await runway.land(1, 3, 4)


async def test_a_slow_flight_does_not_hold_up_the_collection_of_others() -> None:
    runway = Runway()
    flights = Flights(runway.fly, places=4, ahead=0)
    flights.start([1, 2, 3])
    await asyncio.sleep(0)
    await runway.land(1, 3)

    landed = await flights.landed(0.01)

    assert sorted(landed) == [1, 3]
    assert flights.outstanding == 1
    await runway.land(2)


async def test_waiting_ends_when_nothing_flies_any_more() -> None:
    runway = Runway()
    flights = Flights(runway.fly, places=4, ahead=0)
    flights.start([1, 2])
    await asyncio.sleep(0)
    collecting = asyncio.create_task(flights.landed(60))
    await asyncio.sleep(0)

    await runway.land(1, 2)

    assert sorted(await asyncio.wait_for(collecting, 1)) == [1, 2]


async def test_what_landed_unseen_is_outstanding_until_it_is_collected() -> None:
    runway = Runway()
    flights = Flights(runway.fly, places=4, ahead=0)
    flights.start([1, 2])
    await asyncio.sleep(0)
    await runway.land(1, 2)

    assert flights.outstanding == 2
    assert sorted(await flights.landed(0)) == [1, 2]
    assert flights.outstanding == 0


async def test_what_is_put_back_is_collected_again() -> None:
    runway = Runway()
    flights = Flights(runway.fly, places=4, ahead=0)
    flights.start([1])
    await asyncio.sleep(0)
    await runway.land(1)
    landed = await flights.landed(0)

    flights.put_back(landed)

    assert flights.outstanding == 1
    assert await flights.landed(0) == [1]


@pytest.mark.filterwarnings("default")
async def test_a_crash_of_one_flight_leaves_the_others_flying() -> None:
    async def fly(item: int) -> int:
        if item == 1:
            raise RuntimeError("a bug")
        return item

    flights = Flights(fly, places=1, ahead=2)
    flights.start([1, 2, 3])

    assert sorted(await flights.landed(1)) == [2, 3]


async def test_a_nudge_ends_the_wait_for_one_that_does_not_land() -> None:
    runway = Runway()
    flights = Flights(runway.fly, places=4, ahead=0)
    flights.start([1, 2])
    await asyncio.sleep(0)
    await runway.land(1)

    collecting = asyncio.create_task(flights.landed(3600))
    await asyncio.sleep(0)
    flights.nudge()

    assert list(await asyncio.wait_for(collecting, 5)) == [1]
    await runway.land(2)


async def test_a_nudge_is_nothing_while_there_is_no_room() -> None:
    runway = Runway()
    flights = Flights(runway.fly, places=1, ahead=0)
    flights.start([1])
    await asyncio.sleep(0)

    flights.nudge()
    collecting = asyncio.create_task(flights.landed(3600))
    for _ in range(5):
        await asyncio.sleep(0)

    assert not collecting.done()
    await runway.land(1)
    assert list(await collecting) == [1]


async def test_what_lands_soon_after_a_collection_is_collected_with_what_lands_a_little_later() -> None:
    runway = Runway()
    flights = Flights(runway.fly, places=4, ahead=0)
    flights.start([1])
    await asyncio.sleep(0)
    await runway.land(1)
    assert await flights.landed(0) == [1]
    flights.start([2])
    await asyncio.sleep(0)
    await runway.land(2)

    collecting = asyncio.create_task(flights.landed(0, apart_seconds=3600))
    flights.start([3])
    await asyncio.sleep(0)
    await runway.land(3)
    early = collecting.done()
    flights.nudge()

    assert not early
    assert await asyncio.wait_for(collecting, 5) == [2, 3]


async def test_the_first_to_land_is_collected_at_once() -> None:
    runway = Runway()
    flights = Flights(runway.fly, places=4, ahead=0)
    flights.start([1])
    await asyncio.sleep(0)
    await runway.land(1)

    assert await asyncio.wait_for(flights.landed(3600, apart_seconds=3600), 5) == [1]


async def test_more_than_there_is_room_for_waits_and_leaves_no_room() -> None:
    runway = Runway()
    flights = Flights(runway.fly, places=1, ahead=1)
    flights.start([1, 2, 3])
    await asyncio.sleep(0)

    assert (flights.room, runway.started) == (0, [1])
    await runway.land(1, 2, 3)
    assert sorted(await flights.landed(0)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("places", "flight_seconds", "expected"),
    [
        (64, 0.05, 1280),  # what has a place within a second
        (64, 0.5, 128),
        (64, 15.0, 64),  # slow receivers: never fewer than there are places, so that none is idle during a round
        (1, 15.0, 1),
        (64, 0.001, 2048),  # never more than a process should hold
        (64, 0.0, 2048),
        (1000, 0.0, 2048),
    ],
)
def test_as_many_wait_for_a_place_as_will_have_one_soon(places: int, flight_seconds: float, expected: int) -> None:
    assert ahead(places, flight_seconds) == expected
