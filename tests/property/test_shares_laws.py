"""Laws of shares: whoever is slow, and however many they are, there are places for the rest."""

from hypothesis import given
from hypothesis import strategies as st

from app.deliveries.shares import kept_from_slow, may_fly, may_wait, share, slow_seconds, unknown_places

PLACES = st.integers(8, 128)
PACES = st.floats(0.001, 60)
SLOW = st.floats(slow_seconds * 1.01, 60)
FAST = st.floats(0.001, 0.1)


def settled(places: int, paces: list[float | None]) -> list[int]:
    """How many of each fly when all of them have any number waiting, and take turns."""
    flying = [0] * len(paces)
    while True:
        before = list(flying)
        for number, pace in enumerate(paces):
            flying[number] += may_fly(flying[number], places - sum(flying), places, pace)
        if flying == before:
            return flying


@given(PLACES, st.lists(st.none() | PACES, min_size=1, max_size=30))
def test_no_more_fly_than_there_are_places(places: int, paces: list[float | None]) -> None:
    assert sum(settled(places, paces)) <= places


@given(PLACES, st.lists(SLOW, min_size=1, max_size=60))
def test_however_many_are_slow_a_part_is_never_theirs(places: int, paces: list[float]) -> None:
    assert sum(settled(places, [*paces])) <= places - int(places * kept_from_slow)


@given(PLACES, SLOW, SLOW, st.lists(FAST, min_size=1, max_size=10))
def test_two_slow_ones_leave_most_of_the_places_to_the_others(
    places: int, one: float, other: float, fast: list[float]
) -> None:
    flying = settled(places, [one, other])

    assert sum(flying) <= max(2, 0.65 * places)
    assert all(may_fly(0, places - sum(flying), places, pace) for pace in fast)


@given(PLACES, FAST)
def test_a_fast_one_that_is_alone_has_nearly_all_places(places: int, pace: float) -> None:
    assert settled(places, [pace])[0] >= 0.85 * places - 1


@given(PLACES, PACES)
def test_one_that_is_alone_has_at_least_one_place(places: int, pace: float) -> None:
    assert settled(places, [pace])[0] >= 1
    assert share(places, pace) >= 1


@given(PLACES)
def test_one_that_nothing_is_known_of_has_a_few_places(places: int) -> None:
    assert settled(places, [None]) == [min(places, unknown_places)]


@given(PLACES, PACES, PACES)
def test_who_keeps_a_place_longer_gets_no_more_of_them(places: int, one: float, other: float) -> None:
    slower, faster = max(one, other), min(one, other)

    assert share(places, slower) <= share(places, faster)
    assert may_wait(places, slower) <= may_wait(places, faster)


@given(PLACES, PACES)
def test_what_waits_is_what_takes_off_within_a_second_or_so(places: int, pace: float) -> None:
    assert 1 <= may_wait(places, pace) <= max(1, share(places, pace) / pace)
