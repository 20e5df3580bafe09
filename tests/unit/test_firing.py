"""When a fire is handed over, and whether."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.kit import limits
from app.schedules.firing import Buffer, GiveUp, Ring, Ripe, Skip, Verdict, judge
from app.schedules.holding import Held, Holding, Reckoning
from app.schedules.overlap import Tally

NOW = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)


def held(seconds: float, id: str = "fir_1") -> Held:
    return Held(NOW + timedelta(seconds=seconds), id, attempts=1)


def ripe(**members: Any) -> Ripe:
    """A fire of an active schedule that nothing speaks against."""
    values: dict[str, Any] = {
        "id": "fir_1",
        "attempts": 1,
        "agent_id": "agt_1",
        "schedule_id": "sch_1",
        "kind": "auto",
        "planned_version": 1,
        "scheduled_at": NOW,
        "fire_at": NOW,
        "run": 1,
        "previous": None,
        "overlap": "allow",
        "has_turn": False,
        "chosen_id": None,
        "version": 1,
        "state": "active",
        "next_fire": NOW + timedelta(seconds=60),
        "endpoint_id": "ep_1",
        "spec": "{}",
        "starts_at": None,
        "ends_at": None,
        "payload": "null",
        "schedule_overlap": "allow",
        "buffer_max": None,
        "max_fires": None,
        "fired": 0,
    }
    return Ripe(**values | members)


NO_SCHEDULE = {"version": None, "state": None, "next_fire": None, "endpoint_id": None, "schedule_overlap": None}


@pytest.mark.parametrize(
    ("members", "verdict"),
    [
        ({}, Ring()),
        # Completed means that there is nothing further to plan, and this one was planned.
        ({"state": "completed"}, Ring()),
        (NO_SCHEDULE, Skip("deleted")),
        ({"state": "paused"}, Skip("paused")),
        ({"version": 2}, Skip("changed")),
        ({"endpoint_id": None}, Skip("endpoint_deleted")),
        ({"attempts": limits.fire_takeovers_max}, Ring()),
        ({"attempts": limits.fire_takeovers_max + 1}, GiveUp("20 workers in a row stopped while they held it")),
        # What an agent asked for beside the slots rings while the schedule is paused, and whatever has changed.
        ({"kind": "manual:1", "state": "paused", "version": 2}, Ring()),
        ({"kind": "backfill:1", "state": "paused", "version": 2}, Ring()),
        ({"kind": "manual:1", **NO_SCHEDULE}, Skip("deleted")),
        ({"kind": "manual:1", "endpoint_id": None}, Skip("endpoint_deleted")),
    ],
)
def test_a_fire_rings_unless_its_schedule_says_otherwise(members: dict[str, Any], verdict: Verdict) -> None:
    assert judge(ripe(**members), Tally()) == verdict


BUSY = Tally(outstanding=1)


@pytest.mark.parametrize(
    ("policy", "tally", "verdict"),
    [
        ("allow", Tally(outstanding=5), Ring()),
        ("skip", Tally(), Ring()),
        ("skip", BUSY, Skip("overlap")),
        ("buffer_one", Tally(), Ring()),
        ("buffer_one", BUSY, Buffer()),
        ("buffer_one", Tally(outstanding=1, buffered=1), Skip("buffer_full")),
        # Whatever a backfill has waiting takes no room from the schedule's own slots, but comes before newcomers.
        ("buffer_one", Tally(outstanding=1, backfill_buffered=9), Buffer()),
        ("skip", Tally(backfill_buffered=1), Skip("overlap")),
        ("buffer_all", Tally(outstanding=1, buffered=2), Buffer()),
        ("buffer_all", Tally(outstanding=1, buffered=3), Skip("buffer_full")),
        # Nobody overtakes who waits.
        ("buffer_all", Tally(buffered=1), Buffer()),
    ],
)
def test_a_fire_waits_or_passes_as_its_policy_says(policy: str, tally: Tally, verdict: Verdict) -> None:
    assert judge(ripe(schedule_overlap=policy, buffer_max=3), tally) == verdict


def test_a_backfill_is_judged_by_its_own_policy_and_all_of_it_may_wait() -> None:
    backfilled = ripe(kind="backfill:1", overlap="buffer_all", schedule_overlap="skip", buffer_max=None)
    assert judge(backfilled, Tally(outstanding=1, backfill_buffered=9_999)) == Buffer()
    assert judge(ripe(kind="backfill:1", overlap="allow", schedule_overlap="skip"), BUSY) == Ring()


def test_a_fire_that_was_triggered_rings_whatever_is_outstanding_but_others_wait_for_it() -> None:
    triggered = ripe(kind="manual:1", schedule_overlap="skip")
    assert judge(triggered, BUSY) == Ring()
    assert triggered.is_tracked


def test_the_fire_whose_turn_it_is_rings_though_others_wait() -> None:
    assert judge(ripe(schedule_overlap="buffer_all", has_turn=True), Tally(outstanding=1, buffered=5)) == Ring()


@pytest.mark.parametrize(
    ("members", "verdict"),
    [
        ({"fired": 2}, Ring()),
        ({"fired": 3}, Skip("max_fires")),
        ({"fired": 3, "kind": "manual:1"}, Ring()),
        # What keeps a slot from firing is said first: it has used up nothing.
        ({"fired": 3, "state": "paused"}, Skip("paused")),
    ],
)
def test_so_many_slots_fire_and_no_more(members: dict[str, Any], verdict: Verdict) -> None:
    fire = ripe(max_fires=3, **members)
    assert judge(fire, Tally(fired=members["fired"])) == verdict


def test_nothing_is_let_go_before_its_time() -> None:
    holding = Holding()
    holding.take([held(1)])
    assert holding.due(NOW + timedelta(microseconds=999_999), 10) == []
    assert holding.due(NOW + timedelta(seconds=1), 10) == [held(1)]
    assert len(holding) == 0


def test_the_most_overdue_come_first_and_the_rest_wait() -> None:
    holding = Holding()
    holding.take([held(3, "c"), held(1, "a"), held(2, "b"), held(9, "z")])
    assert holding.next_at == NOW + timedelta(seconds=1)
    assert [fire.id for fire in holding.due(NOW + timedelta(seconds=5), 2)] == ["a", "b"]
    assert [fire.id for fire in holding.due(NOW + timedelta(seconds=5), 2)] == ["c"]
    assert holding.next_at == NOW + timedelta(seconds=9)


def test_the_reckoned_time_follows_the_monotonic_clock_from_the_last_look() -> None:
    reckoning = Reckoning()
    assert reckoning.now(5.0) is None
    reckoning.see(NOW, 5.0)
    assert reckoning.now(5.25) == NOW + timedelta(seconds=0.25)
    # The database's clock was set back: the next look is believed.
    reckoning.see(NOW - timedelta(hours=1), 6.0)
    assert reckoning.now(6.5) == NOW - timedelta(hours=1) + timedelta(seconds=0.5)
