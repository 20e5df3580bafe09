"""How far a slot's fire is put off: by numbers that anyone can compute."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tocsin.recurrence import jitter

NINE = datetime(2026, 11, 22, 9, tzinfo=UTC)
ID = "sch_06nnr80c3zv4w9d2k7s5y8t0fm"
MILLISECOND = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("limit", "gap"),
    [
        (timedelta(0), timedelta(hours=1)),
        (timedelta(0), None),
        (MILLISECOND, timedelta(hours=1)),  # below one millisecond there is only zero
        (timedelta(hours=1), MILLISECOND),
        (timedelta(hours=1), timedelta(0)),
        (timedelta(seconds=-1), timedelta(hours=1)),
    ],
)
def test_where_there_is_no_room_a_slot_fires_at_its_time(limit: timedelta, gap: timedelta | None) -> None:
    assert jitter(ID, NINE, limit, None if gap is None else NINE + gap) == timedelta(0)


def test_the_room_ends_before_the_following_slot() -> None:
    slots = [NINE + n * timedelta(seconds=1) for n in range(500)]
    drawn = [jitter(ID, slot, timedelta(hours=1), slot + timedelta(seconds=1)) for slot in slots]
    assert max(drawn) < timedelta(seconds=1)
    assert min(drawn) >= timedelta(0)


def test_the_delays_of_many_slots_are_spread_evenly() -> None:
    slots = [NINE + n * timedelta(hours=1) for n in range(4_000)]
    quarters = [jitter(ID, slot, timedelta(minutes=4), None) // timedelta(minutes=1) for slot in slots]
    assert [900 < quarters.count(quarter) < 1100 for quarter in range(4)] == [True] * 4


def test_the_same_instant_in_another_zone_has_the_same_delay() -> None:
    abroad = NINE.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert jitter(ID, abroad, timedelta(hours=1), None) == jitter(ID, NINE, timedelta(hours=1), None)
