"""Laws of the breaker: whatever lands, in whatever order, it opens for a reason and lets probes through in the end."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.deliveries.breaker import (
    CLOSED,
    Breaker,
    Tally,
    after,
    cool_down,
    cool_down_max,
    failures_max,
    look_at,
    permits,
    probing,
)

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
JITTERS = st.floats(0, 1)
PAUSES = st.timedeltas(timedelta(0), timedelta(hours=2))
WISHES = st.timedeltas(timedelta(seconds=-10), timedelta(days=1))


WELL = st.tuples(st.sampled_from([0, 0, 0, 1, 3]), st.sampled_from([0, 1, 2, 7]), st.none())
ANY = st.tuples(st.sampled_from([0, 0, 0, 1, 3]), st.sampled_from([0, 1, 2, 7]), st.none() | WISHES)


def _tally(landed, now):
    successes, failures, wish = landed
    return Tally(successes, failures, None if wish is None else now + wish)


def _lived(rounds):
    breaker, now = CLOSED, NOW
    for pause, probes, landed, jitter in rounds:
        now += pause
        if probes and permits(breaker, now) == 1:
            breaker = probing(breaker, now + timedelta(seconds=30))
        breaker = after(breaker, _tally(landed, now), now, jitter)
    return breaker, now


def lives(landings=ANY):
    """A breaker after some rounds of probes and landings, and the moment that it is now."""
    return st.lists(st.tuples(PAUSES, st.booleans(), landings, JITTERS), max_size=12).map(_lived)


@given(lives())
def test_it_is_closed_or_it_is_known_when_a_probe_may_go(life) -> None:
    breaker, _ = life

    assert (breaker.state == "closed") == (look_at(breaker) is None)
    assert (breaker.failing_since is None) == (breaker.failures == 0)
    assert breaker.opens <= breaker.failures


@given(lives(), WELL, JITTERS)
def test_a_success_always_closes(life, landed, jitter) -> None:
    breaker, now = life
    assert after(breaker, Tally(1, landed[1]), now, jitter) == CLOSED


@given(lives(WELL))
def test_it_never_opens_without_failures(life) -> None:
    breaker, _ = life

    assert breaker.state == "closed" or breaker.failures >= failures_max


@given(lives(), ANY, JITTERS)
def test_it_never_opens_until_a_moment_that_has_passed(life, landed, jitter) -> None:
    breaker, now = life

    new = after(breaker, _tally(landed, now), now, jitter)

    if new.open_until is not None and new.open_until != breaker.open_until:
        assert new.open_until >= now


@given(lives(WELL), st.integers(1, 9), JITTERS)
def test_the_cool_down_is_bounded_and_never_shorter_than_the_first(life, failures, jitter) -> None:
    breaker, now = life

    new = after(breaker, Tally(failures=failures), now, jitter)

    if new.opens > breaker.opens:
        assert new.open_until is not None
        assert cool_down <= new.open_until - now <= cool_down_max * 1.1


@given(lives(), WISHES, JITTERS)
def test_a_throttle_alone_is_no_despair(life, wish, jitter) -> None:
    breaker, now = life

    new = after(breaker, Tally(throttled_until=now + wish), now, jitter)

    assert (new.failures, new.failing_since, new.opens) == (breaker.failures, breaker.failing_since, breaker.opens)
    assert wish <= timedelta(0) or permits(new, now + wish - timedelta(microseconds=1)) == 0


@given(lives())
def test_a_probe_may_always_go_within_a_day(life) -> None:
    breaker, now = life

    assert permits(breaker, now + timedelta(days=1)) != 0


@given(st.lists(JITTERS, min_size=1, max_size=50))
def test_probes_that_fail_come_ever_more_seldom(jitters) -> None:
    breaker, now = after(CLOSED, Tally(failures=failures_max), NOW, 0.0), NOW
    pauses: list[timedelta] = []
    for jitter in jitters:
        assert breaker.open_until is not None
        pauses.append(breaker.open_until - now)
        now = breaker.open_until
        breaker = after(probing(breaker, now + cool_down), Tally(failures=1), now, jitter)

    assert all(later >= earlier / 1.1 for earlier, later in pairwise(pauses))


def test_a_breaker_is_a_value() -> None:
    assert Breaker() == CLOSED
