"""The rule for what follows an attempt, row by row."""

from datetime import UTC, datetime, timedelta

import pytest

from app.deliveries.attempts import (
    LADDER,
    MCP_LADDER,
    Delivered,
    GiveUp,
    Profile,
    Retry,
    judge,
    ladder_of,
    retry_after,
)

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
def test_only_a_2xx_is_success(status: int) -> None:
    assert judge(status, 1, NOW) == Delivered()


@pytest.mark.parametrize(
    "status", [None, 100, 101, 199, 300, 301, 302, 304, 307, 400, 401, 404, 409, 425, 451, 500, 501, 505, 599]
)
def test_everything_else_is_tried_again(status: int | None) -> None:
    assert judge(status, 1, NOW) == Retry(NOW + 5 * SECOND)


@pytest.mark.parametrize("attempts", [1, 5, 10, 11])
def test_410_ends_the_delivery_and_says_that_the_endpoint_is_gone(attempts: int) -> None:
    verdict = judge(410, attempts, NOW)

    assert isinstance(verdict, GiveUp)
    assert verdict.gone


@pytest.mark.parametrize("attempts", [1, 5, 10, 11])
@pytest.mark.parametrize("profile", ["standard", "mcp"])
def test_413_ends_the_delivery_at_once_and_no_other(attempts: int, profile: Profile) -> None:
    verdict = judge(413, attempts, NOW, profile=profile)

    assert verdict == GiveUp("the endpoint answered 413 Content Too Large")


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize(
    ("wait", "for_seconds"),
    [
        (None, 5),  # a small first step
        (SECOND, 5),
        (90 * SECOND, 90),
        (timedelta(days=1), 86_400),
    ],
)
def test_a_throttled_endpoint_is_left_alone_as_a_whole(status: int, wait: timedelta | None, for_seconds: int) -> None:
    until = NOW + for_seconds * SECOND

    assert judge(status, 1, NOW, wait=wait) == Retry(until, throttle=until)
    assert judge(status, 2, NOW, wait=wait) == Retry(NOW + max(timedelta(minutes=5), for_seconds * SECOND), until)


def test_the_last_attempt_of_a_delivery_may_throttle_the_endpoint_too() -> None:
    assert judge(429, 10, NOW) == GiveUp("no success in 10 attempts", throttle=NOW + 5 * SECOND)


def test_a_wait_after_any_other_failure_delays_this_delivery_alone() -> None:
    assert judge(500, 1, NOW, wait=90 * SECOND) == Retry(NOW + 90 * SECOND, throttle=None)


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


def test_an_mcp_host_is_tried_five_times_within_a_quarter_of_an_hour() -> None:
    moments, now = [], NOW
    for attempts in range(1, 5):
        verdict = judge(503, attempts, now, profile="mcp")
        assert isinstance(verdict, Retry)
        now = verdict.at
        moments.append((now - NOW).total_seconds())

    assert moments == [5, 35, 155, 755]
    assert isinstance(judge(425, 1, NOW, profile="mcp"), Retry)
    assert judge(500, 5, now, profile="mcp") == GiveUp("no success in 5 attempts")


def test_the_410_of_an_mcp_host_ends_that_delivery_only() -> None:
    assert judge(410, 1, NOW, profile="mcp") == GiveUp("the endpoint answered 410 Gone", gone=False)


def test_an_owner_chooses_the_waits_between_attempts() -> None:
    ladder = ladder_of([10, 20])

    assert judge(500, 1, NOW, ladder=ladder) == Retry(NOW + 10 * SECOND)
    assert judge(500, 2, NOW, ladder=ladder) == Retry(NOW + 20 * SECOND)
    assert judge(500, 3, NOW, ladder=ladder) == GiveUp("no success in 3 attempts")


def test_no_waits_at_all_mean_a_single_attempt() -> None:
    assert judge(None, 1, NOW, ladder=ladder_of([])) == GiveUp("no success in 1 attempt")


def test_whose_owner_chose_no_waits_has_those_of_its_profile() -> None:
    assert ladder_of(None) == LADDER
    assert ladder_of(None, "mcp") == MCP_LADDER


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (timedelta(seconds=1), 5 * SECOND),  # never sooner than the ladder
        (timedelta(seconds=90), 90 * SECOND),
        (None, 5 * SECOND),
    ],
)
def test_retry_after_only_ever_delays(asked: timedelta | None, expected: timedelta) -> None:
    assert judge(500, 1, NOW, wait=asked) == Retry(NOW + expected)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("0", timedelta(0)),
        ("120", timedelta(seconds=120)),
        (" 120\t", timedelta(seconds=120)),
        ("86400", timedelta(days=1)),
        ("86401", timedelta(days=1)),  # clamped
        ("999999999999", timedelta(days=1)),
        ("Sun, 22 Nov 2026 09:02:00 GMT", timedelta(minutes=2)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", timedelta(days=1)),
        # the two obsolete forms
        ("Sunday, 22-Nov-26 09:02:00 GMT", timedelta(minutes=2)),
        ("Sun Nov 22 09:02:00 2026", timedelta(minutes=2)),
        ("Monday, 23-Nov-76 09:00:00 GMT", None),  # more than 50 years ahead: 1976
        # what cannot be understood, or lies in the past, is as if it had not been sent
        ("Sun, 22 Nov 2026 08:59:59 GMT", None),
        ("Sun, 99 Nov 2026 09:02:00 GMT", None),
        ("Sun, 22 Nov 0000 09:02:00 GMT", None),
        ("Sun, 22 Nov 2026 09:02:00 +0000", None),
        ("Sunday, 22-Nov-2026 09:02:00 GMT", None),
        ("Sun Nov 22 09:02:00 2026 GMT", None),
        ("Sun, 22 Nov 2026 09:02:00 GMT, 5", None),
        *((garbage, None) for garbage in ("", "-1", "+5", "1.5", "1e3", "5s", "1, 2", "soon", "٣", "9" * 400, "\x00")),
        *((garbage, None) for garbage in ("5\n", "\u20035", "0x10", "1_000", "nan", "inf", "5;x=1")),
        (None, None),
    ],
)
def test_a_retry_after_is_read_strictly(header: str | None, expected: timedelta | None) -> None:
    assert retry_after(header, NOW) == expected
