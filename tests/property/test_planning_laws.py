"""Laws of planning: whatever the outages, every slot enters the journal once, in order, as fired or as skipped."""

from datetime import UTC, datetime, timedelta
from itertools import takewhile

from hypothesis import given, settings
from hypothesis import strategies as st

from app.schedules.planning import Slot, latest_until, plan
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
# How long no planner looked: mostly a sweep, sometimes minutes, sometimes days.
pauses = st.one_of(st.floats(0.001, 2), st.floats(0.001, 2), st.floats(2, 600), st.floats(600, 400_000))


def covered(recurrence: Recurrence, slot: Slot) -> list[datetime]:
    """The slots that a row of the journal stands for."""
    if slot.until is None:
        return [slot.scheduled_at]
    until = slot.until
    later = takewhile(lambda other: other < until, recurrence.slots_after(slot.scheduled_at))
    return [slot.scheduled_at, *later]


@settings(max_examples=150, deadline=None)
@given(spec=specs, pauses=st.lists(pauses, min_size=1, max_size=12))
def test_every_slot_enters_the_journal_once_and_none_early(spec: dict[str, str], pauses: list[float]) -> None:
    recurrence = Recurrence.parse(spec)
    first = recurrence.next_after(BEGIN)
    assert first is not None
    now, next_fire, last_fire, runs = BEGIN, first, None, 0
    journal: list[Slot] = []
    for pause in pauses:
        now += timedelta(seconds=pause)
        if next_fire <= now + AHEAD:
            planned = plan(
                recurrence, next_fire=next_fire, last_fire=last_fire, runs=runs, now=now, horizon=now + AHEAD
            )
            journal += planned.slots
            assert planned.next_fire is not None
            next_fire, last_fire, runs = planned.next_fire, planned.last_fire, planned.runs

    slots = [at for slot in journal for at in covered(recurrence, slot)]
    assert slots == list(takewhile(lambda at: at < next_fire, recurrence.slots_after(BEGIN)))
    fired = [slot for slot in journal if slot.state == "planned"]
    assert [slot.run for slot in fired] == list(range(1, len(fired) + 1))
    assert [slot.previous for slot in fired] == [None, *(slot.scheduled_at for slot in fired)][: len(fired)]


@settings(max_examples=150, deadline=None)
@given(spec=specs, seconds=st.floats(0, 300_000))
def test_the_latest_slot_is_the_last_one_that_is_not_after(spec: dict[str, str], seconds: float) -> None:
    recurrence = Recurrence.parse(spec)
    first = recurrence.next_after(BEGIN)
    assert first is not None
    now = first + timedelta(seconds=seconds)
    latest = latest_until(recurrence, first, now)
    following = recurrence.next_after(latest)
    assert latest <= now
    assert following is None or following > now
