"""From a plan to the rows of the journal: who holds what, and since when."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from app.kit import limits
from app.schedules.entries import Plannable, prepare
from app.schedules.planning import Misfire
from tests.world import EPOCH


def at(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def plannable(spec: str, next_fire: datetime, **members: Any) -> Plannable:
    values: dict[str, Any] = {
        "id": "sch_1",
        "agent_id": "agt_1",
        "version": 3,
        "spec": spec,
        "starts_at": None,
        "ends_at": None,
        "jitter_seconds": 0,
        "next_fire": next_fire,
        "last_fire": None,
        "runs": 0,
        "misfire": "latest",
        "catch_up_max": None,
        "catch_up_seconds": None,
        "overlap": "allow",
        "max_fires": None,
        "created_at": at(-86_400),
    }
    return Plannable(**values | members)


every_minute = '{"cron": "* * * * *"}'
LEASE = timedelta(seconds=limits.fire_lease_seconds)
AHEAD = timedelta(seconds=limits.plan_ahead_seconds)


def test_the_planner_holds_what_is_soon_until_a_lease_after_its_time() -> None:
    prepared = prepare(plannable(every_minute, at(0)), EPOCH)
    [entry] = prepared.entries
    assert (entry.state, entry.fire_at, entry.due_at, entry.attempts) == ("planned", at(0), at(0) + LEASE, 1)
    [held] = prepared.held
    assert (held.fire_at, held.id, held.attempts, held.schedule_id) == (at(0), entry.id, 1, "sch_1")


def test_what_is_late_is_held_by_nobody() -> None:
    prepared = prepare(plannable(every_minute, at(-120), misfire="all"), EPOCH + timedelta(seconds=30))
    late = [entry for entry in prepared.entries if entry.late]
    assert [(entry.due_at, entry.attempts) for entry in late] == [(at(30), 0)] * 3
    assert prepared.held == []


def test_a_long_jitter_is_waited_for_in_the_table() -> None:
    yearly = '{"at": "2026-11-22T09:00:01Z"}'
    [entry] = prepare(plannable(yearly, at(1), jitter_seconds=86_400), EPOCH).entries
    assert entry.fire_at > EPOCH + AHEAD
    assert (entry.due_at, entry.attempts) == (entry.fire_at - AHEAD, 0)


@pytest.mark.parametrize(
    ("spec", "members", "is_guarded"),
    [
        (every_minute, {}, False),
        (every_minute, {"overlap": "skip"}, True),
        (every_minute, {"max_fires": 9}, True),
        ('{"at": "2026-11-22T09:00:00Z"}', {}, True),  # the last one: its schedule completes
    ],
)
def test_a_fire_is_guarded_where_more_than_itself_changes_with_it(
    spec: str, members: dict[str, Any], is_guarded: bool
) -> None:
    [held] = prepare(plannable(spec, at(0), **members), EPOCH).held
    assert held.is_guarded is is_guarded


def test_a_spec_that_reads_no_more_pauses_its_schedule_and_says_why() -> None:
    prepared = prepare(plannable('{"cron": "@daily", "timezone": "Europe/Atlantis"}', at(0)), EPOCH)
    assert [(entry.state, entry.reason) for entry in prepared.entries] == [("skipped", "spec_refused")]
    assert (prepared.advanced.state, prepared.advanced.next_fire) == ("paused", None)
    assert prepared.advanced.pause_reason is not None
    assert prepared.refusal is not None
    assert not prepared.is_last


def test_the_policy_after_an_outage_is_the_schedule_s() -> None:
    schedule = plannable(every_minute, at(0), misfire="all", catch_up_max=7, catch_up_seconds=60)
    assert schedule.policy == Misfire("all", 7, timedelta(seconds=60))
    assert plannable(every_minute, at(0)).policy == Misfire("latest", limits.catch_up_fires_default, None)
