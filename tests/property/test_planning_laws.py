"""Laws of planning: whatever the outages, every slot enters the journal once, in order, as fired or as skipped."""

from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from hypothesis import given
from hypothesis import strategies as st

from app.schedules.planning import Misfire, Slot, latest_slots, plan
from app.schedules.timing import Timing
from tocsin.recurrence import Recurrence

BEGIN = datetime(2026, 10, 24, 22, tzinfo=UTC)  # hours before clocks go back in Berlin
AHEAD = timedelta(seconds=3)

specs = st.one_of(
    st.builds(lambda n: {"every": f"PT{n}S"}, st.integers(1, 5000)),
    st.sampled_from(
        [
            {"cron": "* * * * *"},
            {"cron": "*/7 * * * *", "timezone": "Europe/Berlin"},
            {"cron": "30 2 * * *", "timezone": "Europe/Berlin"},
            {"cron": "0 9 * * 1-5", "timezone": "Australia/Lord_Howe"},
        ]
    ),
)
# How long no planner looked: mostly a sweep, sometimes minutes, sometimes a day.
pauses = st.one_of(st.floats(0.001, 2), st.floats(0.001, 2), st.floats(2, 600), st.floats(600, 90_000))
misfires = st.builds(
    Misfire,
    st.sampled_from(["skip", "latest", "all"]),
    st.integers(1, 300),
    st.none() | st.floats(1, 100_000).map(lambda seconds: timedelta(seconds=seconds)),
)


def covered(every: list[datetime], slot: Slot) -> list[datetime]:
    """Those of all slots that a row of the journal stands for."""
    if slot.until is None:
        return [slot.scheduled_at]
    later = every[bisect_right(every, slot.scheduled_at) : bisect_left(every, slot.until)]
    return [slot.scheduled_at, *later]


@given(spec=specs, pauses=st.lists(pauses, min_size=1, max_size=12), misfire=misfires)
def test_every_slot_enters_the_journal_once_and_none_early(
    spec: dict[str, str], pauses: list[float], misfire: Misfire
) -> None:
    timing = Timing(Recurrence.parse(spec))
    first = timing.next_after(BEGIN)
    assert first is not None
    now, next_fire, last_fire, runs = BEGIN, first, None, 0
    journal: list[Slot] = []
    for pause in pauses:
        now += timedelta(seconds=pause)
        if next_fire <= now + AHEAD:
            planned = plan(
                timing,
                next_fire=next_fire,
                last_fire=last_fire,
                runs=runs,
                now=now,
                horizon=now + AHEAD,
                misfire=misfire,
            )
            journal += planned.slots
            assert planned.next_fire is not None
            next_fire, last_fire, runs = planned.next_fire, planned.last_fire, planned.runs

    every = list(takewhile(lambda at: at < next_fire, timing.slots_after(BEGIN)))
    assert [at for slot in journal for at in covered(every, slot)] == every
    fired = [slot for slot in journal if slot.state == "planned"]
    assert [slot.run for slot in fired] == list(range(1, len(fired) + 1))
    assert [slot.previous for slot in fired] == [None, *(slot.scheduled_at for slot in fired)][: len(fired)]


@given(spec=specs, seconds=st.floats(0, 20_000), count=st.integers(1, 50))
def test_the_latest_slots_are_the_last_of_all_of_them(spec: dict[str, str], seconds: float, count: int) -> None:
    timing = Timing(Recurrence.parse(spec))
    end = BEGIN + timedelta(seconds=seconds)
    every = list(takewhile(lambda at: at <= end, timing.slots_after(BEGIN)))
    assert latest_slots(timing, BEGIN, end, count) == every[-count:]
