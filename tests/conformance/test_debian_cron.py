"""The `debian` rule against a model of what it is named after: the loop of Debian's cron, minute by minute.

Cron keeps two clocks, both in minutes of local time. One is where it has got to with its work (`virtual`), the other
what the wall shows as it wakes (`wall`). From how far they lie apart it guesses what happened:

    wall - virtual     taken for                        runs
    1                  a minute has passed              everything of this minute
    2 to 5             cron was held up                 everything of each minute missed
    6 to 180           clocks were put forward          wildcard jobs of this minute, fixed-time jobs of each missed
    0 to -179          clocks were put back             wildcard jobs of this minute, until the wall has caught up
    anything else      somebody has set the clock       everything of this minute, and counts on from here

So for every change of less than three hours, cron and we run jobs at the same minutes. We differ on purpose in two:

- Cron starts a fixed-time job once for each of its times within a gap; we, once for the gap.
- From three hours up cron takes a change of the clock for one that was set, and forgets what the gap held, or runs
  again what comes twice. We make no difference between a short gap and a long one.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.vectors import SLOT_SPECS
from tests.cron_jobs import CHANGES, MINUTE, Job, Part, ahead, jobs
from tocsin.recurrence import Recurrence
from tocsin.recurrence.zones import load_zone

_EPOCH = datetime(1970, 1, 1)
_LATE, _AHEAD, _BACK = 5, 180, -180
# Apia and Kwajalein skipped a whole day.
SMALL_CHANGES = [change for change in CHANGES if change[0] not in ("Pacific/Apia", "Pacific/Kwajalein")]


class DebianCron:
    """Cron with one job, awake at every minute."""

    def __init__(self, job: Job, zone: str, begin: datetime) -> None:
        self.job = job
        self.zone = load_zone(zone)
        self.virtual = self._wall(begin)

    def runs(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        """The minutes after `begin`, up to `end`, at which it starts the job, each as often as it does so."""
        for n in range(1, (end - begin) // MINUTE + 1):
            now = begin + n * MINUTE
            yield from [now] * self._wake(self._wall(now))

    def _wake(self, wall: int) -> int:
        """One turn of the loop. How often the job is started."""
        missed = range(self.virtual + 1, wall + 1)
        match wall - self.virtual:
            case difference if 0 < difference <= _LATE:
                self.virtual = wall
                return sum(self._due(minute) for minute in missed)
            case difference if _LATE < difference <= _AHEAD:
                self.virtual = wall
                if self.job.fixed_time:
                    return sum(self._due(minute) for minute in missed)
                return self._due(wall)
            case difference if _BACK < difference <= 0:
                return self._due(wall) if not self.job.fixed_time else 0
            case _:
                self.virtual = wall
                return self._due(wall)

    def _due(self, minute: int) -> int:
        return int(self.job.matches(_EPOCH + minute * MINUTE))

    def _wall(self, at: datetime) -> int:
        return (at.astimezone(self.zone).replace(tzinfo=None) - _EPOCH) // MINUTE


def ours(job: Job, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    recurrence = Recurrence.parse({"cron": job.text, "timezone": zone})
    return list(recurrence.within(None, end).slots_after(begin))


@given(job=jobs, change=st.sampled_from(SMALL_CHANGES), before=ahead, hours=st.integers(1, 30))
def test_jobs_run_at_the_minutes_at_which_debian_runs_them(
    job: Job, change: tuple[str, datetime], before: int, hours: int
) -> None:
    zone, at = change
    begin = at - before // 60 * MINUTE
    end = begin + timedelta(hours=hours)
    # It has been awake for some hours: at the change itself it would not know what it has run before.
    started = begin - timedelta(hours=4)
    theirs = {run for run in DebianCron(job, zone, started).runs(started, end) if run > begin}
    assert ours(job, zone, begin, end) == sorted(theirs)


def numbers(*values: int) -> Part:
    return Part(",".join(map(str, values)), frozenset(values))


ANY_DAY, ANY_WEEKDAY = Part("*", frozenset(range(1, 32))), Part("*", frozenset(range(8)))


def test_debian_starts_a_job_for_each_time_in_a_gap_and_we_once_for_all() -> None:
    job = Job(numbers(0, 20, 40), numbers(2), ANY_DAY, ANY_WEEKDAY)
    begin, gap_end = datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC)
    end = begin + timedelta(hours=12)
    assert list(DebianCron(job, "Europe/Berlin", begin).runs(begin, end)) == [gap_end] * 3
    assert ours(job, "Europe/Berlin", begin, end) == [gap_end]


def test_debian_forgets_a_whole_day_that_is_skipped_and_we_make_up_for_it() -> None:
    job = Job(numbers(0), numbers(9), ANY_DAY, ANY_WEEKDAY)
    begin, gap_end = datetime(2011, 12, 30, 8, tzinfo=UTC), datetime(2011, 12, 30, 10, tzinfo=UTC)
    at_nine = gap_end + timedelta(hours=9)
    end = begin + timedelta(days=1)
    assert list(DebianCron(job, "Pacific/Apia", begin).runs(begin, end)) == [at_nine]
    assert ours(job, "Pacific/Apia", begin, end) == [gap_end, at_nine]


@pytest.mark.parametrize(
    ("shift", "runs"),
    [
        # Put forward by just under three hours: made up for. By three: forgotten.
        (timedelta(minutes=179), 1),
        (timedelta(minutes=180), 0),
    ],
)
def test_the_model_draws_its_line_at_three_hours(shift: timedelta, runs: int) -> None:
    job = Job(numbers(30), numbers(2), ANY_DAY, ANY_WEEKDAY)
    at_two = datetime(2026, 3, 29, 2, tzinfo=UTC)
    cron = DebianCron(job, "UTC", at_two - MINUTE)
    assert cron._wake((at_two.replace(tzinfo=None) + shift - _EPOCH) // MINUTE) == runs


def test_one_of_our_vectors_is_a_job_that_debian_moves() -> None:
    spec, after = SLOT_SPECS[1]
    assert spec == {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    job = Job(numbers(30), numbers(2), ANY_DAY, ANY_WEEKDAY)
    model = sorted(set(DebianCron(job, "Europe/Berlin", after).runs(after, after + timedelta(days=3))))
    assert model == ours(job, "Europe/Berlin", after, after + timedelta(days=3))
    assert model[0] == datetime(2027, 3, 28, 1, tzinfo=UTC)
