"""Laws of the rule for what follows an attempt."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.deliveries.attempts import LADDER, Delivered, GiveUp, Retry, judge, retry_after, retry_after_max

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))
STATUSES = st.none() | st.integers(100, 599)
ATTEMPTS = st.integers(1, 20)
WAITS = st.none() | st.timedeltas(timedelta(0), retry_after_max)
JITTERS = st.floats(0, 1)


@given(STATUSES, ATTEMPTS, MOMENTS, WAITS, JITTERS)
def test_a_verdict_always_comes_and_means_what_it_says(status, attempts, now, wait, jitter) -> None:
    verdict = judge(status, attempts, now, wait=wait, jitter=jitter)

    success = status is not None and 200 <= status < 300
    assert isinstance(verdict, Delivered) == success
    assert isinstance(verdict, GiveUp) == (not success and (status == 410 or attempts >= len(LADDER)))


@given(ATTEMPTS, MOMENTS, WAITS, JITTERS)
def test_the_next_attempt_is_never_before_its_time_and_not_much_after(attempts, now, wait, jitter) -> None:
    verdict = judge(500, attempts, now, wait=wait, jitter=jitter)

    if isinstance(verdict, Retry):
        assert verdict.at - now >= LADDER[attempts]
        assert verdict.at - now <= max(LADDER[attempts] * 1.1, wait or timedelta(0)) + timedelta(milliseconds=1)
        assert wait is None or verdict.at - now >= wait


@given(st.text(), MOMENTS)
def test_any_retry_after_is_ignored_or_within_bounds(header, now) -> None:
    asked = retry_after(header, now)

    assert asked is None or timedelta(0) <= asked <= retry_after_max


@given(MOMENTS, st.integers(1, 86_400))
def test_an_http_date_means_the_time_until_then(now, seconds) -> None:
    whole = now.replace(microsecond=0)
    written = (whole + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    assert retry_after(written, whole) == timedelta(seconds=seconds)
