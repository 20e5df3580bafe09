"""Several specs as one schedule, and what an exclude takes away from it."""

import json
from datetime import UTC, datetime, timedelta
from time import perf_counter, process_time
from typing import Any

import pytest

from tocsin.recurrence import (
    BadCron,
    BadInstant,
    BadInterval,
    BadShape,
    BadZone,
    InvalidRecurrence,
    NeverMatches,
    Recurrence,
    union_specs_max,
)

FRIDAY = datetime(2026, 11, 20, 12, tzinfo=UTC)
WEEKDAYS_AT_NINE = {"cron": "0 9 * * 1-5"}
SATURDAYS_AT_NOON = {"cron": "0 12 * * 6"}
EVERY_SECOND = {"cron": "* * * * * *"}


def slots(spec: Any, after: datetime, n: int) -> list[str]:
    occurrences = Recurrence.parse(spec).preview(after, n)
    return [occurrence.at.isoformat().removesuffix("+00:00") for occurrence in occurrences]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        # A list is a union, and so is the same under its name.
        ([WEEKDAYS_AT_NINE, SATURDAYS_AT_NOON], ["2026-11-21T12:00:00", "2026-11-23T09:00:00"]),
        ({"union": [WEEKDAYS_AT_NINE, SATURDAYS_AT_NOON]}, ["2026-11-21T12:00:00", "2026-11-23T09:00:00"]),
        ([WEEKDAYS_AT_NINE], ["2026-11-23T09:00:00", "2026-11-24T09:00:00"]),
        # Two that name the same instant name one slot.
        ([{"cron": "0 9 * * 1"}, WEEKDAYS_AT_NINE], ["2026-11-23T09:00:00", "2026-11-24T09:00:00"]),
        # Each has its own zone and kind.
        (
            [
                {"at": "2026-11-20T12:00:00.5Z"},
                {"every": "PT36H", "anchor": "2026-11-21T12:00:00Z"},
                {"cron": "0 21 * * *", "timezone": "Asia/Tokyo"},
            ],
            ["2026-11-20T12:00:00.500000", "2026-11-21T12:00:00", "2026-11-22T12:00:00", "2026-11-23T00:00:00"],
        ),
        # Five fields exclude the whole of each minute that they match,
        (EVERY_SECOND | {"exclude": [{"cron": "0 12 * * *"}]}, ["2026-11-20T12:01:00", "2026-11-20T12:01:01"]),
        # six fields the second.
        (EVERY_SECOND | {"exclude": [{"cron": "1 0 12 * * *"}]}, ["2026-11-20T12:00:02", "2026-11-20T12:00:03"]),
        # The moment within the minute or the second does not matter,
        (
            {"every": "PT1M", "anchor": "2026-01-01T00:00:30.250Z", "exclude": [{"cron": "0 12 * * *"}]},
            ["2026-11-20T12:01:30.250000", "2026-11-20T12:02:30.250000"],
        ),
        (
            {"every": "PT1M", "anchor": "2026-01-01T00:00:30.250Z", "exclude": [{"cron": "30 0 12 * * *"}]},
            ["2026-11-20T12:01:30.250000", "2026-11-20T12:02:30.250000"],
        ),
        # but an interval or an instant excludes exactly its own instants.
        (
            {"every": "PT1M", "anchor": "2026-01-01T00:00:00.250Z", "exclude": [{"every": "PT1M"}]},
            ["2026-11-20T12:00:00.250000", "2026-11-20T12:01:00.250000"],
        ),
        (
            {"every": "PT1H", "exclude": [{"at": "2026-11-20T13:00:00Z"}]},
            ["2026-11-20T14:00:00", "2026-11-20T15:00:00"],
        ),
        # An exclude has a zone of its own: midnight to six in Tokyo is 15:00 to 21:00 in UTC.
        (
            {"cron": "0 */3 * * *", "exclude": [{"cron": "* 0-5 * * *", "timezone": "Asia/Tokyo"}]},
            ["2026-11-20T21:00:00", "2026-11-21T00:00:00"],
        ),
        # Several excludes, and several specs that they apply to.
        (
            {"union": [WEEKDAYS_AT_NINE, SATURDAYS_AT_NOON], "exclude": [{"cron": "* * 21-24 11 *"}]},
            ["2026-11-25T09:00:00", "2026-11-26T09:00:00"],
        ),
        (
            EVERY_SECOND | {"exclude": [{"cron": "*/2 * * * * *"}, {"cron": "* 0-58 * * * *"}]},
            ["2026-11-20T12:59:01", "2026-11-20T12:59:03"],
        ),
    ],
)
def test_the_slots_of_a_union_without_what_is_excluded(spec: Any, expected: list[str]) -> None:
    assert slots(spec, FRIDAY, len(expected)) == expected


def test_an_exclude_goes_by_the_wall_clock_through_both_passes_of_a_repeated_hour() -> None:
    spec = {
        "cron": "*/30 * * * *",
        "timezone": "Europe/Berlin",
        "exclude": [{"cron": "* 2 * * *", "timezone": "Europe/Berlin"}],
    }
    assert slots(spec, datetime(2026, 10, 24, 23, 15, tzinfo=UTC), 2) == ["2026-10-24T23:30:00", "2026-10-25T02:00:00"]


def test_a_slot_that_is_made_up_for_after_a_gap_is_excluded_by_the_time_it_fires_at() -> None:
    spec = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    at_three = {"exclude": [{"cron": "0 3 * * *", "timezone": "Europe/Berlin"}]}
    at_half_past_two = {"exclude": [{"cron": "30 2 29 3 *", "timezone": "Europe/Berlin"}]}
    night = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert slots(spec | at_three, night, 1) == ["2026-03-30T00:30:00"]
    assert slots(spec | at_half_past_two, night, 1) == ["2026-03-29T01:00:00"]


def test_a_million_excluded_slots_in_a_row_are_passed_over_in_milliseconds() -> None:
    but_august = Recurrence.parse(EVERY_SECOND | {"exclude": [{"cron": "* * * 8 *"}]})
    begun = perf_counter()
    assert but_august.next_after(datetime(2027, 7, 31, 23, 59, 59, tzinfo=UTC)) == datetime(2027, 9, 1, tzinfo=UTC)
    assert perf_counter() - begun < 0.1  # two or three, on an idle machine


_ZONES = ("Australia/Lord_Howe", "Africa/Casablanca", "Antarctica/Troll", "America/St_Johns")
_PRIMES = (7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47)
_BUT_NEW_YEAR = [{"cron": "* * * 2-12 *"}, {"cron": "* * 2-31 1 *"}, {"cron": "* 1-23 1 1 *"}, {"cron": "1-59 0 1 1 *"}]


@pytest.mark.parametrize(
    "spec",
    [
        {
            "union": [{"every": f"PT{53 + n}S"} for n in range(16)],
            "exclude": [*_BUT_NEW_YEAR, *({"every": f"PT{n}S"} for n in _PRIMES)],
        },
        {
            "union": [{"cron": f"*/{n} * * * *", "timezone": zone} for n in range(2, 6) for zone in _ZONES],
            "exclude": [
                *_BUT_NEW_YEAR[:3],
                *({"cron": f"{n} {n} * * *", "timezone": _ZONES[n % 4]} for n in range(13)),
            ],
        },
    ],
    ids=["intervals", "zones"],
)
def test_the_worst_spec_finds_its_slot_of_the_year_in_a_fraction_of_a_second(spec: dict[str, Any]) -> None:
    begun = process_time()
    found = Recurrence.parse(spec).preview(FRIDAY, 3)
    assert process_time() - begun < 0.5  # a tenth of that, on an idle machine
    assert {(slot.at.month, slot.at.day) for slot in found} <= {(12, 31), (1, 1)}


def test_a_preview_of_a_spec_with_an_exclude_looks_twelve_years_ahead() -> None:
    spec = {"cron": "0 0 * * *", "exclude": [{"cron": "* * * 2-12 *"}, {"cron": "* * 2-31 1 *"}]}
    assert slots(spec, FRIDAY, 100) == [f"{year}-01-01T00:00:00" for year in range(2027, 2039)]
    assert slots({"cron": "0 0 1 1 *"}, FRIDAY, 100)[-1] == "2126-01-01T00:00:00"


def test_many_excluded_slots_within_a_second_do_not_lead_back_to_its_beginning() -> None:
    at_noon = [{"at": f"2026-11-20T12:00:00.{n:03}Z"} for n in range(0, 1000, 70)]
    spec = {"union": [*at_noon, {"every": "P1D"}], "exclude": at_noon[1:]}
    after = FRIDAY + timedelta(milliseconds=1)
    assert Recurrence.parse(spec).next_after(after) == datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    "spec",
    [
        WEEKDAYS_AT_NINE | {"exclude": [WEEKDAYS_AT_NINE]},
        EVERY_SECOND | {"exclude": [{"cron": "* * * * *", "timezone": "Australia/Lord_Howe"}]},
        EVERY_SECOND | {"exclude": [{"cron": "*/2 * * * * *"}, {"cron": "1/2 * * * * *"}]},
        {"every": "PT1S", "exclude": [{"every": "PT2S"}, {"every": "PT2S", "anchor": "1970-01-01T00:00:01Z"}]},
        {"at": "2031-05-05T05:05:05Z", "exclude": [{"cron": "* * * 5 *"}]},
        {"union": [{"at": "1999-05-05T05:05:05Z"}, {"every": "P1D"}], "exclude": [{"cron": "* 0,5 * * *"}]},
    ],
)
def test_an_exclude_that_leaves_nothing_is_refused(spec: Any) -> None:
    with pytest.raises(NeverMatches, match="exclude less") as caught:
        Recurrence.parse(spec)
    assert caught.value.pointer == "/exclude"


def test_a_union_of_which_an_exclude_leaves_only_the_past_is_accepted_and_has_no_next_time() -> None:
    spec = {"union": [{"at": "1999-05-05T05:05:05Z"}, {"every": "P1D"}], "exclude": [{"cron": "* 0 * * *"}]}
    assert Recurrence.parse(spec).next_after(FRIDAY) is None


def nested(levels: int) -> Any:
    spec: Any = [WEEKDAYS_AT_NINE]
    for _ in range(levels):
        spec = [spec]
    return spec


@pytest.mark.parametrize(
    ("spec", "error", "pointer"),
    [
        ([], BadShape, ""),
        ({"union": []}, BadShape, "/union"),
        ({"union": WEEKDAYS_AT_NINE}, BadShape, "/union"),
        ({"union": "0 9 * * *"}, BadShape, "/union"),
        ([WEEKDAYS_AT_NINE] * (union_specs_max + 1), BadShape, ""),
        ({"union": [WEEKDAYS_AT_NINE] * (union_specs_max + 1)}, BadShape, "/union"),
        (WEEKDAYS_AT_NINE | {"exclude": [WEEKDAYS_AT_NINE] * (union_specs_max + 1)}, BadShape, "/exclude"),
        (WEEKDAYS_AT_NINE | {"union": [WEEKDAYS_AT_NINE]}, BadShape, ""),
        ({"union": [WEEKDAYS_AT_NINE], "timezone": "UTC"}, BadShape, "/timezone"),
        ({"exclude": [WEEKDAYS_AT_NINE]}, BadShape, ""),
        (WEEKDAYS_AT_NINE | {"exclude": WEEKDAYS_AT_NINE}, BadShape, "/exclude"),
        (WEEKDAYS_AT_NINE | {"exclude": None}, BadShape, "/exclude"),
        (WEEKDAYS_AT_NINE | {"exclude": []}, BadShape, "/exclude"),
        # What is wrong is pointed at where it is.
        ([WEEKDAYS_AT_NINE] * 3 + [{"cron": "60 * * * *"}], BadCron, "/3/cron"),
        ({"union": [{"cron": "0 0 30 2 *"}]}, NeverMatches, "/union/0/cron"),
        ({"union": [WEEKDAYS_AT_NINE, {"every": "1h"}]}, BadInterval, "/union/1/every"),
        (WEEKDAYS_AT_NINE | {"exclude": [{"at": "now"}]}, BadInstant, "/exclude/0/at"),
        (
            {
                "union": [WEEKDAYS_AT_NINE],
                "exclude": [{"cron": "* * * * 0"}, {"cron": "* 1 * * *", "timezone": "Moon"}],
            },
            BadZone,
            "/exclude/1/timezone",
        ),
        # Excluding goes by the wall clock; there is nothing to move or to skip.
        (WEEKDAYS_AT_NINE | {"exclude": [{"cron": "* 1 * * *", "dst": "debian"}]}, BadShape, "/exclude/0/dst"),
        # Lists are not nested.
        ([[WEEKDAYS_AT_NINE]], BadShape, "/0"),
        ([{"union": [WEEKDAYS_AT_NINE]}], BadShape, "/0"),
        ([WEEKDAYS_AT_NINE | {"exclude": [{"cron": "* 1 * * *"}]}], BadShape, "/0/exclude"),
        (WEEKDAYS_AT_NINE | {"exclude": [WEEKDAYS_AT_NINE | {"exclude": []}]}, BadShape, "/exclude/0/exclude"),
        (["0 9 * * *"], BadShape, "/0"),
        (nested(10_000), BadShape, "/0"),
    ],
)
def test_a_bad_union_is_refused_at_the_part_that_is_bad(
    spec: Any, error: type[InvalidRecurrence], pointer: str
) -> None:
    with pytest.raises(error) as caught:
        Recurrence.parse(spec)
    assert type(caught.value) is error
    assert caught.value.pointer == pointer
    assert caught.value.hint
    assert len(str(caught.value)) < 400


def test_a_position_counts_within_the_text_that_it_points_at() -> None:
    with pytest.raises(BadCron) as caught:
        Recurrence.parse(json.loads('[{"cron": "0 9 * * *"}, {"cron": "0 0 25 * * *"}]'))
    assert (caught.value.pointer, caught.value.position) == ("/1/cron", 4)


def test_slots_lie_within_their_bounds_both_of_which_are_included() -> None:
    daily = Recurrence.parse({"cron": "0 9 * * *"})
    begin, end = datetime(2026, 12, 1, 9, tzinfo=UTC), datetime(2026, 12, 3, 9, tzinfo=UTC)
    bounded = daily.within(begin, end)
    assert list(bounded.slots_after(FRIDAY)) == [begin, begin + timedelta(days=1), end]
    assert list(bounded.within(begin + timedelta(seconds=1), None).slots_after(FRIDAY)) == [
        begin + timedelta(days=1),
        end,
    ]
    assert daily.within(None, begin - timedelta(microseconds=1)).next_after(begin - timedelta(days=1)) is None
    assert daily.within(None, None) == daily
    assert bounded.within(end + timedelta(days=1), None).next_after(FRIDAY) is None


def test_a_bound_needs_a_zone_but_may_have_any() -> None:
    daily = Recurrence.parse({"cron": "0 9 * * *"})
    with pytest.raises(ValueError, match="time zone"):
        daily.within(datetime(2026, 12, 1), None)
    assert daily.within(datetime.fromisoformat("2026-12-01T10:00:00+02:00"), None).next_after(FRIDAY) == datetime(
        2026, 12, 1, 9, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            [WEEKDAYS_AT_NINE, SATURDAYS_AT_NOON | {"timezone": "Europe/Berlin"}],
            "At 09:00 on Monday through Friday, UTC time; and at 12:00 on Saturday, Europe/Berlin time",
        ),
        (
            {"every": "PT1H", "exclude": [{"cron": "* * * * 6,0"}, {"at": "2026-12-24T18:00:00Z"}]},
            "Every hour; except every minute on Saturday and Sunday, UTC time; except once, at 2026-12-24 18:00:00 UTC",
        ),
    ],
)
def test_a_union_explains_itself(spec: Any, expected: str) -> None:
    assert Recurrence.parse(spec).explain() == expected


def test_bounds_are_part_of_the_explanation() -> None:
    bounded = Recurrence.parse({"every": "P1D"}).within(FRIDAY, FRIDAY + timedelta(days=9))
    assert bounded.explain() == "Every day; from 2026-11-20 12:00:00 UTC; until 2026-11-29 12:00:00 UTC"


@pytest.mark.parametrize(
    ("spec", "zoned"),
    [
        ({"every": "PT1H"}, False),
        ({"cron": "@daily"}, False),
        ({"cron": "@daily", "timezone": "Etc/GMT+5"}, False),
        ({"cron": "@daily", "timezone": "Europe/London"}, True),
        ([{"cron": "@daily"}, {"cron": "@daily", "timezone": "Asia/Tokyo"}], True),  # Japan may change its mind
        ({"every": "PT1H", "exclude": [{"cron": "* 3 * * *"}]}, False),
        ({"every": "PT1H", "exclude": [{"cron": "* 3 * * *", "timezone": "Europe/London"}]}, True),
    ],
)
def test_a_recurrence_knows_whether_the_zone_database_matters(spec: Any, zoned: bool) -> None:
    assert Recurrence.parse(spec).zoned is zoned


def test_each_slot_of_a_union_is_shown_on_the_clock_of_the_spec_that_has_it() -> None:
    spec = [{"cron": "0 9 * * *", "timezone": "Asia/Tokyo"}, {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}]
    previewed = Recurrence.parse(spec).preview(datetime(2026, 3, 28, 12, tzinfo=UTC), 3)
    assert [(occurrence.local.isoformat(), occurrence.shift) for occurrence in previewed] == [
        ("2026-03-29T09:00:00+09:00", None),
        ("2026-03-29T03:00:00+02:00", "moved"),
        ("2026-03-30T09:00:00+09:00", None),
    ]


def test_the_slot_after_a_skipped_one_says_so_whichever_spec_has_it() -> None:
    skipping = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "dst": "skip_gap"}
    hourly = {"every": "PT1H"}
    night = datetime(2026, 3, 29, 0, 15, tzinfo=UTC)
    shifts = [occurrence.shift for occurrence in Recurrence.parse([skipping, hourly]).preview(night, 3)]
    assert shifts == ["after_skipped", None, None]
    excluded = {"union": [skipping, hourly], "exclude": [{"cron": "* 1 29 3 *"}]}
    assert [occurrence.shift for occurrence in Recurrence.parse(excluded).preview(night, 2)] == [None, None]
    later = Recurrence.parse([skipping, hourly]).within(datetime(2026, 3, 29, 2, tzinfo=UTC), None)
    assert [occurrence.shift for occurrence in later.preview(night, 2)] == [None, None]
