"""Which slots go into the journal, and as what."""

from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from app.kit import limits
from app.schedules.planning import Misfire, Plan, Slot, latest_slots, passed, plan
from app.schedules.timing import Timing
from tocsin.recurrence import Recurrence

NOW = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)
AHEAD = timedelta(seconds=3)
LATEST = Misfire("latest")


def timed(spec: dict[str, str], starts_at: datetime | None = None, ends_at: datetime | None = None) -> Timing:
    return Timing(Recurrence.parse(spec), starts_at, ends_at)


every_second = timed({"every": "PT1S"})
every_minute = timed({"cron": "* * * * *"})


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def planned(
    timing: Timing,
    next_fire: datetime,
    *,
    runs: int = 0,
    last_fire: datetime | None = None,
    misfire: Misfire = LATEST,
) -> Plan:
    return plan(
        timing,
        next_fire=next_fire,
        last_fire=last_fire,
        runs=runs,
        now=NOW,
        horizon=NOW + AHEAD,
        misfire=misfire,
    )


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
    result = planned(timed({"at": "2026-11-22T09:00:01Z"}), at(1))
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
    result = planned(timed({"at": "2026-11-22T08:00:00Z"}), at(-3600))
    assert result.slots == (Slot(at(-3600), "planned", run=1, late=True),)


def test_a_long_outage_is_told_in_a_hundred_rows_that_cover_every_slot() -> None:
    result = planned(every_second, at(-86_400))
    skipped = [slot for slot in result.slots if slot.state == "skipped"]
    assert len(skipped) == limits.missed_rows_max
    assert [slot.scheduled_at for slot in skipped[:3]] == [at(-86_400), at(-86_399), at(-86_398)]
    assert all(slot.until is None for slot in skipped[:-1])
    first_planned = next(slot for slot in result.slots if slot.state == "planned")
    # What has come within the grace was not missed.
    assert skipped[-1].until == first_planned.scheduled_at == at(-limits.missed_grace_seconds)


def test_one_round_plans_a_bounded_number_of_slots() -> None:
    result = plan(every_second, next_fire=at(0), last_fire=None, runs=0, now=NOW, horizon=NOW + timedelta(hours=1))
    assert len(result.slots) == limits.plan_slots_max
    assert result.next_fire == at(limits.plan_slots_max)


def test_missed_slots_are_skipped_when_asked() -> None:
    result = planned(every_minute, at(-150), misfire=Misfire("skip"))
    assert [(slot.scheduled_at, slot.reason) for slot in result.slots] == [
        (at(-150), "missed"),
        (at(-120), "missed"),
        (at(-60), "missed"),
        (at(0), None),
    ]


def test_the_latest_missed_slots_are_caught_up_with_in_order_up_to_a_bound() -> None:
    result = planned(every_minute, at(-240), misfire=Misfire("all", fires_max=2), last_fire=at(-300))
    assert result.slots == (
        Slot(at(-240), "skipped", reason="missed"),
        Slot(at(-180), "skipped", reason="missed"),
        Slot(at(-120), "planned", run=1, previous=at(-300), late=True),
        Slot(at(-60), "planned", run=2, previous=at(-120), late=True),
        Slot(at(0), "planned", run=3, previous=at(-60)),
    )


@pytest.mark.parametrize("kind", ["skip", "latest", "all"])
def test_what_was_missed_by_more_than_the_window_has_expired(kind: Literal["skip", "latest", "all"]) -> None:
    hourly = timed({"every": "PT1H", "anchor": "2026-11-22T08:30:00Z"})
    result = planned(hourly, at(-5 * 3600 - 1800), misfire=Misfire(kind, window=timedelta(hours=2)))
    told = [(slot.scheduled_at, slot.reason) for slot in result.slots]
    assert told[:4] == [(at(-3600 * hours - 1800), "expired") for hours in (5, 4, 3, 2)]
    fires = {"skip": [], "latest": [at(-1800)], "all": [at(-5400), at(-1800)]}
    assert [at for at, reason in told[4:] if reason is None] == fires[kind]
    assert {reason for _, reason in told[4:]} <= {None, "missed"}


def test_a_long_catch_up_is_planned_in_rounds() -> None:
    policy = Misfire("all", fires_max=250)
    next_fire, last_fire, runs, late = at(-86_400), None, 0, list[datetime]()
    for _ in range(3):
        result = planned(every_second, next_fire, last_fire=last_fire, runs=runs, misfire=policy)
        assert result.next_fire is not None
        next_fire, last_fire, runs = result.next_fire, result.last_fire, result.runs
        late += [slot.scheduled_at for slot in result.slots if slot.late]
    assert late == [at(second) for second in range(-260, -10)]
    assert (next_fire, last_fire, runs) == (at(4), at(3), 250 + 14)


def test_a_slot_from_before_the_schedule_was_given_late_and_not_missed() -> None:
    once = timed({"at": "2026-11-22T08:59:30Z"})
    result = plan(
        once,
        next_fire=at(-30),
        last_fire=None,
        runs=0,
        now=NOW,
        horizon=NOW + AHEAD,
        misfire=Misfire("skip"),
        given_at=at(-1),
    )
    assert result.slots == (Slot(at(-30), "planned", run=1),)


def test_no_slot_lies_beyond_the_bounds() -> None:
    bounded = timed({"every": "PT1S"}, starts_at=at(1.5), ends_at=at(3))
    assert bounded.next_after(at(-60)) == at(2)
    result = planned(bounded, at(2))
    assert [slot.scheduled_at for slot in result.slots] == [at(2), at(3)]
    assert result.next_fire is None


def test_slots_that_pass_are_told_with_their_reason() -> None:
    assert passed(every_minute, at(-120), at(0), "paused") == [
        Slot(at(-120), "skipped", reason="paused"),
        Slot(at(-60), "skipped", reason="paused"),
    ]


def test_the_latest_of_very_many_slots_are_found() -> None:
    assert latest_slots(every_second, at(-31_536_000), at(0.5), 1) == [at(0)]
    assert latest_slots(every_minute, at(-31_536_000), at(59), 3) == [at(-120), at(-60), at(0)]
    weekly = timed({"cron": "30 2 * * 1", "timezone": "Europe/Berlin"})
    assert latest_slots(weekly, datetime(2020, 1, 6, 1, 30, tzinfo=UTC), NOW, 1) == [
        datetime(2026, 11, 16, 1, 30, tzinfo=UTC)
    ]


def test_there_may_be_fewer_slots_than_asked_for() -> None:
    assert latest_slots(every_minute, at(-121), at(-1), 5) == [at(-120), at(-60)]
    assert latest_slots(every_minute, at(-59), at(-1), 5) == []
