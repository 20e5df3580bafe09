"""Laws of the token bucket."""

from datetime import UTC, datetime, timedelta
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from app.deliveries.bucket import Bucket, disorder_max, ready_at, taken

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
RATES = st.floats(0.01, 1000)
WANTED = st.integers(0, 2000)
PAUSES = st.timedeltas(timedelta(0), timedelta(seconds=30)) | st.just(timedelta(0))
STEPS_BACK = st.timedeltas(timedelta(microseconds=1), timedelta(days=2))
TOKENS = st.floats(0, 1000)


@given(RATES, st.lists(st.tuples(PAUSES, WANTED), min_size=1, max_size=30))
def test_over_any_time_no_more_go_than_the_burst_and_what_the_rate_allows(rate, asked) -> None:
    bucket, grants = None, []
    moments = [NOW + pause for pause in accumulate((pause for pause, _ in asked), initial=timedelta(0))][1:]
    for now, (_, wanted) in zip(moments, asked, strict=True):
        granted, bucket = taken(bucket, rate, wanted, now)
        assert 0 <= granted <= wanted
        grants.append(granted)

    for first in range(len(moments)):
        for last in range(first, len(moments)):
            span = (moments[last] - moments[first]).total_seconds()
            assert sum(grants[first : last + 1]) <= max(1.0, rate) + rate * span + 1e-6


@given(RATES, TOKENS, WANTED, STEPS_BACK)
def test_a_clock_that_goes_back_makes_no_tokens(rate, tokens, wanted, back) -> None:
    granted, left = taken(Bucket(tokens, NOW), rate, wanted, NOW - back)

    assert granted + left.tokens <= tokens + 1e-6


@given(RATES, STEPS_BACK)
def test_a_clock_that_goes_back_holds_nothing_up_for_long(rate, back) -> None:
    _, bucket = taken(Bucket(0, NOW), rate, 1, NOW - back)

    later = NOW - back + disorder_max + timedelta(seconds=1 / rate, microseconds=1)
    assert taken(bucket, rate, 1, later)[0] == 1


@given(RATES, TOKENS, WANTED)
def test_one_who_comes_when_it_is_ready_gets_one(rate, tokens, wanted) -> None:
    _, left = taken(Bucket(tokens, NOW), rate, wanted, NOW)

    assert ready_at(left, rate) >= NOW
    assert taken(left, rate, 1, ready_at(left, rate))[0] == 1


@given(RATES, WANTED.filter(bool), st.integers(1, 50))
def test_who_keeps_asking_gets_what_the_rate_promises(rate, wanted, seconds) -> None:
    total, bucket, now = 0, None, NOW
    end = NOW + timedelta(seconds=seconds)
    while now <= end:
        granted, bucket = taken(bucket, rate, 1, now)
        total += granted
        if total >= 200:
            return
        now = max(now, ready_at(bucket, rate))

    assert total >= int(rate * seconds)
