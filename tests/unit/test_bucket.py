"""The rule of how often an endpoint may be rung, row by row."""

from datetime import UTC, datetime, timedelta

import pytest

from app.deliveries.bucket import Bucket, ready_at, taken

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("bucket", "rate", "wanted", "granted"),
    [
        # a new one holds what a second may have, and at least one
        (None, 10.0, 3, 3),
        (None, 10.0, 99, 10),
        (None, 0.01, 99, 1),
        (None, 2.5, 99, 2),
        # it fills up with time, and not over the brim
        (Bucket(0, NOW - SECOND / 2), 10.0, 99, 5),
        (Bucket(0, NOW - 3600 * SECOND), 10.0, 99, 10),
        (Bucket(0, NOW - 50 * SECOND), 0.01, 99, 0),
        (Bucket(0, NOW - 100 * SECOND), 0.01, 99, 1),
        (Bucket(0, NOW), 10.0, 99, 0),
        # a part of a token is none
        (Bucket(0.999, NOW), 10.0, 1, 0),
        # the rate was lowered
        (Bucket(1000, NOW), 10.0, 99, 10),
        # the clock went back, by a little or by hours
        (Bucket(2, NOW + SECOND), 10.0, 99, 2),
        (Bucket(2, NOW + 3600 * SECOND), 10.0, 99, 2),
        # nothing is wanted
        (Bucket(5, NOW), 10.0, 0, 0),
    ],
)
def test_as_many_go_as_there_are_tokens(bucket: Bucket | None, rate: float, wanted: int, granted: int) -> None:
    got, left = taken(bucket, rate, wanted, NOW)

    assert got == granted
    assert left.tokens >= 0


def test_what_is_taken_is_gone() -> None:
    assert taken(None, 10.0, 4, NOW) == (4, Bucket(6.0, NOW))


def test_two_whose_clocks_are_read_out_of_order_get_no_more_than_one() -> None:
    _, bucket = taken(Bucket(0, NOW), 10.0, 0, NOW + SECOND / 10)
    for behind in (SECOND / 20, timedelta(0), SECOND / 10):
        _, bucket = taken(bucket, 10.0, 0, NOW + behind)

    assert bucket == Bucket(1.0, NOW + SECOND / 10)


def test_a_clock_that_was_set_back_is_believed() -> None:
    _, bucket = taken(Bucket(0, NOW + 3600 * SECOND), 10.0, 1, NOW)

    assert taken(bucket, 10.0, 1, NOW + SECOND)[0] == 1


@pytest.mark.parametrize(
    ("bucket", "rate", "moment"),
    [
        (Bucket(1, NOW), 10.0, NOW),
        (Bucket(7, NOW), 10.0, NOW),
        (Bucket(0, NOW), 10.0, NOW + SECOND / 10),
        (Bucket(0.5, NOW), 0.01, NOW + 50 * SECOND),
        (Bucket(0, NOW), 3.0, NOW + timedelta(microseconds=333_334)),  # rounded up
    ],
)
def test_the_next_goes_when_a_token_is_whole(bucket: Bucket, rate: float, moment: datetime) -> None:
    assert ready_at(bucket, rate) == moment
