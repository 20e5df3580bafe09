"""The rule for what follows an attempt, row by row."""

from datetime import UTC, datetime, timedelta

import pytest

from app.deliveries.attempts import LADDER, Delivered, GiveUp, Retry, judge, retry_after

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
def test_only_a_2xx_is_success(status: int) -> None:
    assert judge(status, 1, NOW) == Delivered()


@pytest.mark.parametrize(
    "status", [None, 100, 101, 199, 300, 301, 302, 304, 307, 400, 401, 404, 413, 429, 500, 503, 599]
)
def test_everything_else_is_tried_again(status: int | None) -> None:
    assert judge(status, 1, NOW) == Retry(NOW + 5 * SECOND)


@pytest.mark.parametrize("attempts", [1, 5, 10, 11])
def test_410_ends_the_delivery_and_says_that_the_endpoint_is_gone(attempts: int) -> None:
    verdict = judge(410, attempts, NOW)

    assert isinstance(verdict, GiveUp)
    assert verdict.gone


def test_the_ladder_is_climbed_to_its_end_and_not_beyond() -> None:
    moments, now = [], NOW
    for attempts in range(1, len(LADDER)):
        verdict = judge(500, attempts, now)
        assert isinstance(verdict, Retry)
        now = verdict.at
        moments.append(now - NOW)

    assert moments[0] == 5 * SECOND
    assert moments[-1] == timedelta(hours=75, minutes=35, seconds=5)
    assert judge(500, len(LADDER), now) == GiveUp("no success in 10 attempts")
    assert judge(200, len(LADDER), now) == Delivered()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (timedelta(seconds=1), 5 * SECOND),  # never sooner than the ladder
        (timedelta(seconds=90), 90 * SECOND),
        (None, 5 * SECOND),
    ],
)
def test_retry_after_only_ever_delays(asked: timedelta | None, expected: timedelta) -> None:
    assert judge(503, 1, NOW, wait=asked) == Retry(NOW + expected)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("0", timedelta(0)),
        ("120", timedelta(seconds=120)),
        (" 120 ", timedelta(seconds=120)),
        ("86400", timedelta(days=1)),
        ("86401", timedelta(days=1)),  # clamped
        ("999999999999", timedelta(days=1)),
        ("Sun, 22 Nov 2026 09:02:00 GMT", timedelta(minutes=2)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", timedelta(days=1)),
        # what cannot be understood, or lies in the past, is as if it had not been sent
        ("Sun, 22 Nov 2026 08:59:59 GMT", None),
        ("Sun, 99 Nov 2026 09:02:00 GMT", None),
        ("Sun, 22 Nov 0000 09:02:00 GMT", None),
        *((garbage, None) for garbage in ("", "-1", "+5", "1.5", "1e3", "5s", "1, 2", "soon", "٣", "9" * 400, "\x00")),
        (None, None),
    ],
)
def test_a_retry_after_is_read_strictly(header: str | None, expected: timedelta | None) -> None:
    assert retry_after(header, NOW) == expected
