"""When a fire is handed over, and whether."""

from datetime import UTC, datetime, timedelta

import pytest

from app.kit import limits
from app.schedules.firing import GiveUp, Held, Holding, Reckoning, Ring, Skip, Verdict, judge

NOW = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)


def held(seconds: float, id: str = "fir_1") -> Held:
    return Held(NOW + timedelta(seconds=seconds), id, attempts=1)


@pytest.mark.parametrize(
    ("version", "state", "endpoint_id", "attempts", "verdict"),
    [
        (1, "active", "ep_1", 1, Ring()),
        # Completed means that there is nothing further to plan, and this one was planned.
        (1, "completed", "ep_1", 1, Ring()),
        (None, None, None, 1, Skip("deleted")),
        (1, "paused", "ep_1", 1, Skip("paused")),
        (2, "active", "ep_1", 1, Skip("changed")),
        (1, "active", None, 1, Skip("endpoint_deleted")),
        (1, "active", "ep_1", limits.fire_takeovers_max, Ring()),
        (1, "active", "ep_1", limits.fire_takeovers_max + 1, GiveUp("20 workers in a row stopped while they held it")),
    ],
)
def test_a_fire_rings_unless_its_schedule_says_otherwise(
    version: int | None, state: str | None, endpoint_id: str | None, attempts: int, verdict: Verdict
) -> None:
    judged = judge(planned_version=1, attempts=attempts, version=version, state=state, endpoint_id=endpoint_id)
    assert judged == verdict


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
