"""Which slots go into the journal, and as what."""

from datetime import UTC, datetime, timedelta

from app.kit import limits
from app.schedules.planning import Plan, Slot, latest_until, plan
from tocsin.recurrence import Recurrence

NOW = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)
AHEAD = timedelta(seconds=3)
every_second = Recurrence.parse({"every": "PT1S"})
every_minute = Recurrence.parse({"cron": "* * * * *"})


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def planned(recurrence: Recurrence, next_fire: datetime, *, runs: int = 0, last_fire: datetime | None = None) -> Plan:
    return plan(recurrence, next_fire=next_fire, last_fire=last_fire, runs=runs, now=NOW, horizon=NOW + AHEAD)


def test_every_slot_up_to_the_horizon_is_planned_and_counted() -> None:
    result = planned(every_second, at(1), runs=7, last_fire=at(0))
    assert result.slots == (
        Slot(at(1), "planned", run=8, previous=at(0)),
        Slot(at(2), "planned", run=9, previous=at(1)),
        Slot(at(3), "planned", run=10, previous=at(2)),
    )
    assert (result.next_fire, result.last_fire, result.runs) == (at(4), at(3), 10)


def test_the_next_time_is_counted_from_the_nominal_one() -> None:
    # Planned half a second late: the following slot is where it always was.
    result = planned(every_second, at(-0.5))
    assert [slot.scheduled_at for slot in result.slots][:2] == [at(-0.5), at(0)]
    assert all(slot.state == "planned" for slot in result.slots)


def test_the_last_slot_leaves_no_next_one() -> None:
    result = planned(Recurrence.parse({"at": "2026-11-22T09:00:01Z"}), at(1))
    assert [slot.scheduled_at for slot in result.slots] == [at(1)]
    assert result.next_fire is None


def test_of_missed_slots_the_latest_fires_once_and_the_others_are_skipped() -> None:
    result = planned(every_minute, at(-180), runs=4, last_fire=at(-240))
    assert result.slots == (
        Slot(at(-180), "skipped", reason="missed"),
        Slot(at(-120), "skipped", reason="missed"),
        Slot(at(-60), "skipped", reason="missed"),
        Slot(at(0), "planned", run=5, previous=at(-240)),
    )
    assert result.next_fire == at(60)


def test_an_instant_that_was_missed_still_fires() -> None:
    result = planned(Recurrence.parse({"at": "2026-11-22T08:00:00Z"}), at(-3600))
    assert result.slots == (Slot(at(-3600), "planned", run=1),)


def test_a_long_outage_is_told_in_a_hundred_rows_that_cover_every_slot() -> None:
    result = planned(every_second, at(-86_400))
    skipped = [slot for slot in result.slots if slot.state == "skipped"]
    assert len(skipped) == limits.missed_rows_max
    assert [slot.scheduled_at for slot in skipped[:3]] == [at(-86_400), at(-86_399), at(-86_398)]
    assert all(slot.until is None for slot in skipped[:-1])
    first_planned = next(slot for slot in result.slots if slot.state == "planned")
    assert skipped[-1].until == first_planned.scheduled_at == at(0)


def test_one_round_plans_a_bounded_number_of_slots() -> None:
    result = plan(
        every_second, next_fire=at(0), last_fire=None, runs=0, now=NOW, horizon=NOW + timedelta(hours=1)
    )
    assert len(result.slots) == limits.plan_slots_max
    assert result.next_fire == at(limits.plan_slots_max)


def test_the_latest_of_very_many_slots_is_found() -> None:
    assert latest_until(every_second, at(-31_536_000), at(0.5)) == at(0)
    assert latest_until(every_minute, at(-31_536_000), at(59)) == at(0)
    weekly = Recurrence.parse({"cron": "30 2 * * 1", "timezone": "Europe/Berlin"})
    assert latest_until(weekly, datetime(2020, 1, 6, 1, 30, tzinfo=UTC), NOW) == datetime(
        2026, 11, 16, 1, 30, tzinfo=UTC
    )


def test_the_latest_slot_may_be_the_only_one() -> None:
    assert latest_until(every_minute, at(-60), at(-1)) == at(-60)
