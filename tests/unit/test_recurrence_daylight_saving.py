"""What each kind of cron job does when the clocks change: one row a case, local times on both sides."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tocsin.recurrence import Recurrence, Shift
from tocsin.recurrence.zones import load_zone

BERLIN, LORD_HOWE, CHATHAM, TROLL, APIA, ST_JOHNS, MADRID, NEW_YORK = (
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Antarctica/Troll",
    "Pacific/Apia",
    "America/St_Johns",
    "Europe/Madrid",
    "America/New_York",
)


def fires(cron: str, zone: str, after: str, n: int, dst: str = "debian") -> list[str]:
    recurrence = Recurrence.parse({"cron": cron, "timezone": zone, "dst": dst})
    occurrences = recurrence.preview(datetime.fromisoformat(after), n)
    assert all(occurrence.at.tzinfo is UTC for occurrence in occurrences)
    return [occurrence.local.isoformat(timespec="minutes") for occurrence in occurrences]


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        # In a gap a fixed-time job runs once, at the first instant after it.
        ("30 2 * * *", BERLIN, "2026-03-28T12:00+01:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),
        # Several slots in one gap collapse into one fire, and so does one that is due at the gap's end anyway.
        ("0,30 2,3 * * *", BERLIN, "2026-03-29T01:00+01:00", ["2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00"]),
        # In a repeated hour a fixed-time job runs on the first pass only.
        ("30 2 * * *", BERLIN, "2026-10-24T12:00+02:00", ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
        # Asked between the passes, it does not run again, and never goes backwards.
        ("10 2 * * *", MADRID, "2028-10-29T02:05+01:00", ["2028-10-30T02:10+01:00"]),
        # A wildcard job follows real time: no run in the gap,
        ("*/30 * * * *", BERLIN, "2026-03-29T01:00+01:00", ["2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00"]),
        # and both passes of the repeated hour.
        (
            "30 * * * *",
            BERLIN,
            "2026-10-25T02:00+02:00",
            ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "2026-10-25T03:30+01:00"],
        ),
        # An hour that starts with a star, or a minute that does, makes a wildcard job.
        ("*/30 2 * * *", BERLIN, "2026-03-28T12:00+01:00", ["2026-03-30T02:00+02:00", "2026-03-30T02:30+02:00"]),
        # Half an hour is skipped on Lord Howe (02:00 becomes 02:30),
        ("15 2 * * *", LORD_HOWE, "2026-10-03T12:00+10:30", ["2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"]),
        # and half an hour comes twice.
        ("45 1 * * *", LORD_HOWE, "2026-04-04T12:00+11:00", ["2026-04-05T01:45+11:00", "2026-04-06T01:45+10:30"]),
        ("45 * * * *", LORD_HOWE, "2026-04-05T01:00+11:00", ["2026-04-05T01:45+11:00", "2026-04-05T01:45+10:30"]),
        # Chatham changes at 02:45 and 03:45.
        ("0 3 * * *", CHATHAM, "2026-09-26T12:00+12:45", ["2026-09-27T03:45+13:45", "2026-09-28T03:00+13:45"]),
        ("*/10 3 * * *", CHATHAM, "2028-04-02T03:35+13:45", ["2028-04-02T03:40+13:45", "2028-04-02T03:00+12:45"]),
        # Troll skips two hours.
        ("30 1,2 * * *", TROLL, "2026-03-29T00:00+00:00", ["2026-03-29T03:00+02:00", "2026-03-30T01:30+02:00"]),
        # Apia skipped the whole of 30 December 2011.
        ("0 9 30 12 *", APIA, "2011-12-29T12:00-10:00", ["2011-12-31T00:00+14:00", "2012-12-30T09:00+14:00"]),
        ("0 9 * * *", APIA, "2011-12-29T12:00-10:00", ["2011-12-31T00:00+14:00", "2011-12-31T09:00+14:00"]),
        # St John's went from 00:01 back to 23:01 of the day before: the repeated stretch crosses midnight.
        (
            "*/30 * * * *",
            ST_JOHNS,
            "2010-11-06T23:31-02:30",
            ["2010-11-07T00:00-02:30", "2010-11-06T23:30-03:30", "2010-11-07T00:00-03:30"],
        ),
        ("0 0 * * *", ST_JOHNS, "2010-11-06T12:00-02:30", ["2010-11-07T00:00-02:30", "2010-11-08T00:00-03:30"]),
    ],
)
def test_the_debian_rule(cron: str, zone: str, after: str, expected: list[str]) -> None:
    assert fires(cron, zone, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        # A fixed-time slot in a gap does not run.
        ("30 2 * * *", BERLIN, "2026-03-28T12:00+01:00", ["2026-03-30T02:30+02:00"]),
        ("0 9 * * *", APIA, "2011-12-29T12:00-10:00", ["2011-12-31T09:00+14:00"]),
        # Everything else is as under the debian rule.
        ("30 2 * * *", BERLIN, "2026-10-24T12:00+02:00", ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
        ("*/30 * * * *", BERLIN, "2026-03-29T01:00+01:00", ["2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00"]),
    ],
)
def test_the_skip_gap_rule(cron: str, zone: str, after: str, expected: list[str]) -> None:
    assert fires(cron, zone, after, len(expected), dst="skip_gap") == expected


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        # Seconds do not make a wildcard job: minute and hour decide.
        ("*/20 30 2 * * *", "2026-03-29T01:00+01:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
        ("*/30 30 2 * * *", "2026-10-25T02:30+02:00", ["2026-10-25T02:30:30+02:00", "2026-10-26T02:30:00+01:00"]),
        ("15 * 2 * * *", "2026-10-25T02:58:30+02:00", ["2026-10-25T02:59:15+02:00", "2026-10-25T02:00:15+01:00"]),
    ],
)
def test_six_fields_follow_the_same_rule(cron: str, after: str, expected: list[str]) -> None:
    recurrence = Recurrence.parse({"cron": cron, "timezone": BERLIN})
    occurrences = recurrence.preview(datetime.fromisoformat(after), len(expected))
    assert [occurrence.local.isoformat() for occurrence in occurrences] == expected


def test_a_slot_that_always_falls_into_the_gap_has_no_next_time() -> None:
    always_skipped = Recurrence.parse({"cron": "30 2 * 3 SUN#2", "timezone": NEW_YORK, "dst": "skip_gap"})
    assert always_skipped.next_after(datetime(2026, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("cron", "dst", "after", "shifts"),
    [
        ("30 2 * * *", "debian", "2026-03-28T12:00+01:00", [Shift.MOVED, None]),
        ("30 2 * * *", "skip_gap", "2026-03-28T12:00+01:00", [Shift.AFTER_SKIPPED, None]),
        ("30 2 * * *", "debian", "2026-10-24T12:00+02:00", [Shift.FIRST_PASS, None]),
        ("30 * * * *", "debian", "2026-10-25T02:00+02:00", [Shift.FIRST_PASS, Shift.SECOND_PASS, None]),
    ],
)
def test_a_preview_says_what_the_clock_change_does(cron: str, dst: str, after: str, shifts: list[Shift | None]) -> None:
    recurrence = Recurrence.parse({"cron": cron, "timezone": BERLIN, "dst": dst})
    occurrences = recurrence.preview(datetime.fromisoformat(after), len(shifts))
    assert [occurrence.shift for occurrence in occurrences] == shifts


def test_zones_come_from_the_pinned_database_and_not_from_the_machine() -> None:
    assert load_zone(BERLIN).key == BERLIN
    assert load_zone(BERLIN) is not ZoneInfo(BERLIN)
