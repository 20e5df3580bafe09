"""What the author of a spec is warned of: one row a spec, codes and sentences."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tocsin.recurrence import Recurrence, WarningCode

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
BERLIN = {"timezone": "Europe/Berlin"}


def codes(spec: Any, after: datetime = JANUARY) -> list[str]:
    return [warning.code for warning in Recurrence.parse(spec).warnings(after)]


def sentences(spec: Any, code: WarningCode = WarningCode.CLOCK_CHANGE) -> list[str]:
    return [warning.sentence for warning in Recurrence.parse(spec).warnings(JANUARY) if warning.code == code]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"cron": "7 9 * * *"}, []),
        ({"every": "PT90S"}, []),
        ({"at": "2027-01-01T00:00:00Z"}, []),
        # On 29 February only.
        ({"cron": "5 0 29 2 *"}, ["leap_day_only"]),
        ({"cron": "5 0 29 2 */3"}, ["leap_day_only"]),
        ({"cron": "5 0 * 2 MON#5"}, ["leap_day_only"]),
        ({"cron": "5 0 29 2 1"}, ["short_months"]),  # every Monday of February, too
        ({"cron": "5 0 L 2 *"}, []),
        # At the top of the hour.
        ({"cron": "0 9 * * *"}, ["top_of_the_hour"]),
        ({"cron": "0 0 9 * * *"}, ["top_of_the_hour"]),
        ({"cron": "1 0 9 * * *"}, []),
        ({"cron": "0,30 9 * * *"}, []),
        ({"every": "PT2H"}, ["top_of_the_hour"]),
        ({"every": "PT2H", "anchor": "2026-01-01T00:07:00Z"}, []),
        ({"every": "PT90M"}, []),
        ([{"cron": "0 9 * * *"}, {"every": "P1D"}], ["top_of_the_hour"]),
        ([{"cron": "0 9 * * *"}, {"every": "PT7M"}], []),
        # Days that some months lack.
        ({"cron": "5 0 31 * *"}, ["short_months"]),
        ({"cron": "5 0 1,30 * *"}, ["short_months"]),
        ({"cron": "5 0 29 * *"}, ["short_months"]),
        ({"cron": "5 0 31 1,3,5 *"}, []),
        ({"cron": "5 0 30 4-12 *"}, []),
        ({"cron": "5 0 15-31 * *"}, []),
        ({"cron": "5 0 28 * *"}, []),
        # Every second.
        ({"cron": "* * * * * *"}, ["every_second"]),
        ({"every": "PT1S"}, ["every_second"]),
        ({"cron": "* * * * * 1-5"}, []),
        ([{"cron": "7 9 * * *"}, {"every": "PT1S"}], ["every_second"]),
        # All at once.
        (
            [{"cron": "0 0 29 2 *"}, {"cron": "0 2 31 * *"} | BERLIN],
            ["top_of_the_hour", "leap_day_only", "short_months"],
        ),
    ],
)
def test_a_spec_is_warned_of_what_is_probably_not_meant(spec: Any, expected: list[str]) -> None:
    assert codes(spec) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"cron": "30 2 * * *"} | BERLIN,
            ['On 2026-03-29 the clock in Europe/Berlin jumps over 02:30: "30 2 * * *" fires at 03:00 instead.'],
        ),
        (
            {"cron": "30 2 * * *", "dst": "skip_gap"} | BERLIN,
            ['On 2026-03-29 the clock in Europe/Berlin jumps over 02:30: "30 2 * * *" does not fire then.'],
        ),
        # A job that follows real time within some hours loses them, and has them twice.
        (
            {"cron": "*/20 2 * * *"} | BERLIN,
            [
                'On 2026-03-29 the clock in Europe/Berlin jumps over 02:00: "*/20 2 * * *" does not fire then.',
                'On 2026-10-25 the clock in Europe/Berlin shows 02:00 twice: "*/20 2 * * *" fires both times.',
            ],
        ),
        # One of every hour does not notice whole hours,
        ({"cron": "30 * * * *"} | BERLIN, []),
        ({"cron": "* * * * * *"} | BERLIN, []),
        # but half hours.
        (
            {"cron": "15 * * * *", "timezone": "Australia/Lord_Howe"},
            ['On 2026-10-04 the clock in Australia/Lord_Howe jumps over 02:15: "15 * * * *" does not fire then.'],
        ),
        (
            {"cron": "15 30 2 * * *"} | BERLIN,
            ['On 2026-03-29 the clock in Europe/Berlin jumps over 02:30:15: "15 30 2 * * *" fires at 03:00 instead.'],
        ),
        # A time that comes twice, of a job bound to it, fires once, as it should; and other hours are not touched.
        ({"cron": "30 2 * 10 *"} | BERLIN, []),
        ({"cron": "30 9 * * *"} | BERLIN, []),
        ({"cron": "30 2 * * 1-6"} | BERLIN, []),  # clocks change on Sundays
        ({"cron": "30 2 * * *"}, []),
        # What is excluded does not count.
        ({"cron": "30 2 * * *"} | BERLIN | {"exclude": [{"cron": "* 3 * * *"} | BERLIN]}, []),
        ({"cron": "*/20 2 * * *"} | BERLIN | {"exclude": [{"cron": "* * * 3,10 *"}]}, []),
    ],
)
def test_the_next_change_of_the_clock_that_matters_is_named(spec: Any, expected: list[str]) -> None:
    assert sentences(spec) == expected


def test_only_the_year_to_come_and_the_time_within_bounds_matter() -> None:
    spec = {"cron": "30 2 * * *"} | BERLIN
    after_the_change = datetime(2026, 4, 1, tzinfo=UTC)
    assert "On 2027-03-28" in Recurrence.parse(spec).warnings(after_the_change)[0].sentence
    bounded = Recurrence.parse(spec).within(after_the_change, after_the_change + timedelta(days=200))
    assert bounded.warnings(JANUARY) == []
    assert codes({"cron": "30 2 29 3 *"} | BERLIN, datetime(2026, 4, 1, tzinfo=UTC)) == []  # 29 March 2027 is a Monday


def test_codes_are_stable_words() -> None:
    assert sorted(WarningCode) == ["clock_change", "every_second", "leap_day_only", "short_months", "top_of_the_hour"]
