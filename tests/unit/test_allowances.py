"""What may be asked on somebody's account: much at once after a pause, and then so much a second."""

from __future__ import annotations

from app.watchers.allowances import Allowances


def test_whoever_has_spent_what_was_in_hand_waits() -> None:
    allowances = Allowances(at_once=10, per_second=2)
    assert allowances.wait_seconds("a", 100.0) == 0.0
    for _ in range(6):
        assert allowances.wait_seconds("a", 100.0) == 0.0
        allowances.spend("a", 2, 100.0)
    assert allowances.wait_seconds("a", 100.0) == 1.0
    assert allowances.wait_seconds("b", 100.0) == 0.0


def test_what_was_dearer_than_what_was_left_is_owed() -> None:
    allowances = Allowances(at_once=10, per_second=2)
    allowances.spend("a", 1_000, 0.0)
    assert allowances.wait_seconds("a", 0.0) == 495.0
    assert allowances.wait_seconds("a", 494.0) == 1.0
    assert allowances.wait_seconds("a", 495.0) == 0.0


def test_over_a_long_time_no_more_is_spent_than_the_rate_allows() -> None:
    allowances, calls = Allowances(at_once=10, per_second=2), 0
    for now in range(1_000):
        while not allowances.wait_seconds("a", float(now)):
            allowances.spend("a", 2, float(now))
            calls += 2
    assert 2_000 <= calls <= 2_000 + 10 + 2


def test_after_a_pause_an_account_is_as_new() -> None:
    allowances = Allowances(at_once=10, per_second=2)
    allowances.spend("a", 10, 0.0)
    allowances.spend("a", 10, 60.0)
    assert allowances.wait_seconds("a", 60.0) == 0.0
