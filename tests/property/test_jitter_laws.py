"""Laws of jitter: never early, never late enough to meet the next slot, and always the same."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.cron_jobs import moments
from tocsin.recurrence import jitter

MILLISECOND = timedelta(milliseconds=1)
NOTHING = timedelta(0)
lengths = st.timedeltas(NOTHING, timedelta(days=400)) | st.timedeltas(NOTHING, timedelta(seconds=1))


@given(schedule_id=st.text(max_size=60), slot=moments, limit=lengths, gap=st.none() | lengths)
def test_jitter_is_whole_milliseconds_below_its_limit_and_below_the_next_slot(
    schedule_id: str, slot: datetime, limit: timedelta, gap: timedelta | None
) -> None:
    following = None if gap is None else slot + gap
    drawn = jitter(schedule_id, slot, limit, following)
    room = limit if gap is None else min(limit, gap)
    assert drawn % MILLISECOND == NOTHING
    assert NOTHING <= drawn < room or drawn == room == NOTHING
    assert drawn == jitter(schedule_id, slot, limit, following)


@given(schedule_id=st.text(max_size=60), slot=moments, limit=lengths, gap=lengths)
def test_slots_fire_in_their_order_whatever_they_draw(
    schedule_id: str, slot: datetime, limit: timedelta, gap: timedelta
) -> None:
    following = slot + gap + MILLISECOND
    first = slot + jitter(schedule_id, slot, limit, following)
    assert first < following <= following + jitter(schedule_id, following, limit, None)
