"""Laws of the rule for what follows an attempt."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.deliveries.attempts import Delivered, GiveUp, Profile, Retry, judge, ladder_of, retry_after, retry_after_max

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))
STATUSES = st.none() | st.sampled_from([200, 302, 410, 413, 425, 429, 500, 502, 503, 504]) | st.integers(100, 599)
ATTEMPTS = st.integers(1, 25)
WAITS = st.none() | st.timedeltas(timedelta(0), retry_after_max)
JITTERS = st.floats(0, 1)
PROFILES: st.SearchStrategy[Profile] = st.sampled_from(["standard", "mcp"])
CHOSEN_WAITS = st.none() | st.lists(st.integers(1, 86_400), max_size=19)


@given(STATUSES, ATTEMPTS, MOMENTS, WAITS, JITTERS, PROFILES, CHOSEN_WAITS)
def test_a_verdict_always_comes_and_means_what_it_says(status, attempts, now, wait, jitter, profile, chosen) -> None:
    ladder = ladder_of(chosen, profile)

    verdict = judge(status, attempts, now, wait=wait, jitter=jitter, ladder=ladder, profile=profile)

    success = status is not None and 200 <= status < 300
    assert isinstance(verdict, Delivered) == success
    assert isinstance(verdict, GiveUp) == (not success and (status in (410, 413) or attempts >= len(ladder)))
    assert not isinstance(verdict, GiveUp) or verdict.gone == (status == 410 and profile == "standard")


@given(STATUSES, ATTEMPTS, MOMENTS, WAITS, JITTERS, PROFILES, CHOSEN_WAITS)
def test_the_next_attempt_is_never_before_its_time_and_not_much_after(
    status, attempts, now, wait, jitter, profile, chosen
) -> None:
    ladder = ladder_of(chosen, profile)

    verdict = judge(status, attempts, now, wait=wait, jitter=jitter, ladder=ladder, profile=profile)

    if isinstance(verdict, Retry):
        assert verdict.at - now >= ladder[attempts]
        assert verdict.at - now <= max(ladder[attempts] * 1.1, wait or timedelta(0)) + timedelta(milliseconds=1)
        assert wait is None or verdict.at - now >= wait


@given(STATUSES, ATTEMPTS, MOMENTS, WAITS, JITTERS)
def test_only_those_who_ask_for_it_are_throttled_and_for_a_day_at_most(status, attempts, now, wait, jitter) -> None:
    verdict = judge(status, attempts, now, wait=wait, jitter=jitter)

    until = None if isinstance(verdict, Delivered) else verdict.throttle
    assert (until is not None) == (status in (429, 502, 503, 504))
    assert until is None or timedelta(seconds=5) <= until - now <= retry_after_max
    assert until is None or wait is None or until - now >= wait


@given(st.text(), MOMENTS)
def test_any_retry_after_is_ignored_or_within_bounds(header, now) -> None:
    asked = retry_after(header, now)

    assert asked is None or timedelta(0) <= asked <= retry_after_max


@given(MOMENTS, st.integers(1, 2 * 86_400))
def test_each_form_of_the_same_moment_asks_for_the_same_wait(now, seconds) -> None:
    until = now.replace(microsecond=0) + timedelta(seconds=seconds)

    waits = {retry_after(written, now) for written in in_all_forms(until)}

    assert waits == {min(until - now, retry_after_max)}


def in_all_forms(moment: datetime) -> tuple[str, str, str]:
    """As HTTP writes this moment, and wrote it."""
    return (
        moment.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        moment.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
        f"{moment:%a %b} {moment.day:2} {moment:%H:%M:%S %Y}",
    )


@given(MOMENTS, st.integers(1, 86_400))
def test_an_http_date_means_the_time_until_then(now, seconds) -> None:
    whole = now.replace(microsecond=0)
    written = (whole + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    assert retry_after(written, whole) == timedelta(seconds=seconds)
