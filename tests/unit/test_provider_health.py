"""A provider that fails is left alone for a while, and comes back to its place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.kit import limits
from app.watchers.health import Health, failed, in_order, is_left_alone, served, state_of, timed

new = Health()


def failing(cause: str, times: int, *, at: float = 0.0) -> Health:
    health = new
    for _ in range(times):
        health = failed(health, cause, "it was away", at)
    return health


@pytest.mark.parametrize(
    ("cause", "times", "seconds"),
    [
        ("connection", 1, 2),
        ("connection", 2, 4),
        ("connection", 50, 60),  # never longer
        ("timeout", 1, 2),
        ("limited", 1, 5),  # a limit takes longer to pass
        ("limited", 9, 300),
        ("exhausted", 1, 600),  # and a used-up month longer still
        ("wrong", 1, 15),
    ],
)
def test_the_wait_doubles_with_each_look_that_failed_up_to_a_bound(cause: str, times: int, seconds: float) -> None:
    health = failing(cause, times)
    assert is_left_alone(health, seconds - 0.1)
    assert not is_left_alone(health, seconds)


def test_the_provider_says_how_long_within_a_bound() -> None:
    assert failed(new, "limited", "429", 0, again_seconds=42).until == 42
    assert failed(new, "limited", "429", 0, again_seconds=1).until == 5
    assert failed(new, "limited", "429", 0, again_seconds=10**8).until == limits.provider_again_seconds_max


def test_one_look_that_went_well_makes_up_for_all_failures() -> None:
    health = served(failing("connection", 5))
    assert (health.failures, health.error, is_left_alone(health, 0)) == (0, None, False)


def test_the_operators_order_holds_among_those_that_fare_well() -> None:
    slow, quick = timed(new, 3.0), timed(new, 0.01)
    assert in_order([slow, quick, new], now=0) == [0, 1, 2]


def test_who_lags_behind_comes_last_and_who_failed_is_not_asked() -> None:
    lagging = replace(new, behind_seconds=limits.provider_behind_seconds_max + 1)
    assert in_order([lagging, new, failing("connection", 1)], now=0) == [1, 0]


def test_when_all_failed_the_one_is_asked_whose_wait_is_over_first() -> None:
    assert in_order([failing("wrong", 1), failing("connection", 1), failing("exhausted", 1)], now=0) == [1, 0, 2]


def test_the_average_follows_what_calls_take() -> None:
    assert timed(new, 1.0).seconds == 1.0
    assert timed(timed(new, 1.0), 2.0).seconds == pytest.approx(1.2)


def test_one_word_for_how_it_fares() -> None:
    assert state_of(new, 0) == "unused"
    assert state_of(served(new), 0) == "up"
    assert state_of(replace(served(new), behind_seconds=1000), 0) == "behind"
    assert state_of(failing("connection", 1), 0) == "backing_off"
    assert state_of(failing("connection", 1), 2) == "unused"
