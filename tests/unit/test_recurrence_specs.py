"""What a spec means, and where and why a bad one is refused."""

from datetime import UTC, datetime, timedelta, timezone
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
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)  # a Sunday


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("*/15 * * * *", "2026-11-22T12:15"),
        ("5 13 * * *", "2026-11-22T13:05"),
        ("0 9 * * mon-fri", "2026-11-23T09:00"),
        ("0 9 * jan,MAR *", "2027-01-01T09:00"),
        ("0 0 L * *", "2026-11-30T00:00"),
        ("0 0 LW * *", "2026-11-30T00:00"),
        ("0 0 L 2 *", "2027-02-28T00:00"),
        ("0 0 LW 10 *", "2027-10-29T00:00"),  # 31 October 2027 is a Sunday
        ("0 0 * * 5L", "2026-11-27T00:00"),
        ("0 0 * * SUN#1", "2026-12-06T00:00"),
        ("0 0 * * sun#1,SUN#3", "2026-12-06T00:00"),
        ("0 0 * * 7", "2026-11-29T00:00"),  # 7 is Sunday, like 0
        ("0 0 13 * 5", "2026-11-27T00:00"),  # neither day field starts with a star: either may match
        ("0 0 13 * */5", "2026-12-13T00:00"),  # a star step counts as a star: both must match
        ("10/20 * * * *", "2026-11-22T12:10"),  # a/n runs from a to the end of the field
        ("0 0 29 2 *", "2028-02-29T00:00"),
        ("0 0 * 2 MON#5", "2044-02-29T00:00"),
        ("@hourly", "2026-11-22T13:00"),
        ("@Daily", "2026-11-23T00:00"),
        ("@midnight", "2026-11-23T00:00"),
        ("@weekly", "2026-11-29T00:00"),
        ("@monthly", "2026-12-01T00:00"),
        ("@yearly", "2027-01-01T00:00"),
        (" 0  9\t* * * ", "2026-11-23T09:00"),
        # Six fields: seconds come first.
        ("30 0 9 * * 1-5", "2026-11-23T09:00:30"),
        ("*/10 * * * * *", "2026-11-22T12:00:10"),
        ("* * * * * *", "2026-11-22T12:00:01"),
        ("59 59 23 31 12 *", "2026-12-31T23:59:59"),
        ("7,3 0,30 12 * * *", "2026-11-22T12:00:03"),
        ("0 0 13 * * *", "2026-11-22T13:00"),
    ],
)
def test_the_next_time_of_a_cron_text(cron: str, expected: str) -> None:
    assert Recurrence.parse({"cron": cron}).next_after(NOON) == datetime.fromisoformat(f"{expected}+00:00")


@pytest.mark.parametrize(
    ("cron", "error", "position"),
    [
        ("", BadCron, None),
        ("* * * *", BadCron, None),
        ("0 0 9 * * * *", BadCron, None),
        ("0 9 * * 1-5 2027", BadCron, 12),  # the sixth field is not a year
        ("60 0 9 * * *", BadCron, 0),
        ("0 60 9 * * *", BadCron, 2),
        ("0 0 24 * * *", BadCron, 4),
        ("0 0 9 ? * *", BadCron, 6),
        ("0 0 9 * * FUN", BadCron, 10),
        ("0 0 9 30 2 *", NeverMatches, 6),
        ("60 * * * *", BadCron, 0),
        ("0 24 * * *", BadCron, 2),
        ("0 0 0 * *", BadCron, 4),
        ("0 0 1 13 *", BadCron, 6),
        ("0 0 * * 8", BadCron, 8),
        ("0 0 * * FUN", BadCron, 8),
        ("0 0 ? * *", BadCron, 4),
        ("0 0 15W * *", BadCron, 4),
        ("0 0 1,15W * *", BadCron, 6),
        ("0 0 L/2 * *", BadCron, 4),
        ("0 0 L-3 * *", BadCron, 4),
        ("0 20-4 * * *", BadCron, 2),
        ("0 0 * * SAT-SUN", BadCron, 8),
        ("0 0 * * L", BadCron, 8),
        ("0 0 * * FRIL", BadCron, 8),
        ("0 0 * * 5#6", BadCron, 10),
        ("0 0 * * SUN#1,2", BadCron, 8),
        ("*/0 * * * *", BadCron, 2),
        ("*/x * * * *", BadCron, 2),
        ("*/ * * * *", BadCron, 2),
        ("1,,2 * * * *", BadCron, 2),
        ("1-2-3 * * * *", BadCron, 0),
        ("-5 * * * *", BadCron, 0),
        ("1.5 * * * *", BadCron, 0),
        ("\u0661 * * * *", BadCron, 0),  # a digit, but not one of ours
        ("0 0 1 1 *\x00", BadCron, 8),
        ("@reboot", BadCron, 0),
        ("@every 5m", BadCron, 0),
        ("9" * 200 + " * * * *", BadCron, 0),
        ("0," * 200 + "0 * * * *", BadCron, None),  # over 256 characters
        ("0 0 30 2 *", NeverMatches, 4),
        ("0 0 31 2,4,6,9,11 *", NeverMatches, 4),
        ("0 0 31 4 */2", NeverMatches, 4),
    ],
)
def test_a_bad_cron_text_is_refused_where_it_is_bad(cron: str, error: type[BadCron], position: int | None) -> None:
    with pytest.raises(error) as caught:
        Recurrence.parse({"cron": cron})
    assert type(caught.value) is error
    assert (caught.value.pointer, caught.value.position) == ("/cron", position)
    assert caught.value.hint


def test_a_wrapped_range_is_refused_with_its_split_form() -> None:
    with pytest.raises(BadCron, match="20-23,0-4"):
        Recurrence.parse({"cron": "0 20-4 * * *"})


@pytest.mark.parametrize(
    "zone",
    [
        "../../etc/passwd",
        "/etc/localtime",
        "localtime",
        "Factory",
        "posixrules",
        "",
        "Mars/Olympus",
        "europe/berlin",
        "CET-1CEST",
        "+02:00",
        "Europe",
        "Europe/Berlin\x00",
        "zones",
        "__init__.py",
        "A" * 10_000,
    ],
)
def test_an_absurd_zone_is_refused(zone: str) -> None:
    with pytest.raises(BadZone) as caught:
        Recurrence.parse({"cron": "0 9 * * *", "timezone": zone})
    assert caught.value.pointer == "/timezone"
    assert len(str(caught.value)) < 300


def test_a_misspelt_zone_is_refused_with_the_right_one() -> None:
    with pytest.raises(BadZone, match="'Europe/Berlin'"):
        Recurrence.parse({"cron": "0 9 * * *", "timezone": "europe/berlin"})


@pytest.mark.parametrize(
    ("spec", "error", "pointer"),
    [
        ({}, BadShape, ""),
        (None, BadShape, ""),
        (b"0 9 * * *", BadShape, ""),
        ("0 9 * * *", BadShape, ""),
        ({"cron": "0 9 * * *", "every": "PT1H"}, BadShape, ""),
        ({"cron": 5}, BadShape, "/cron"),
        ({"cron": "0 9 * * *", "tz": "UTC"}, BadShape, "/tz"),
        ({"cron": "0 9 * * *", "a/b": 1}, BadShape, "/a~1b"),
        ({"cron": "0 9 * * *", "dst": "twice"}, BadShape, "/dst"),
        ({"cron": "0 9 * * *", "timezone": None}, BadShape, "/timezone"),
        ({"every": "PT1H", "timezone": "UTC"}, BadShape, "/timezone"),
        ({"at": "2026-11-22T09:00:00Z", "dst": "debian"}, BadShape, "/dst"),
        ({"every": "1h"}, BadInterval, "/every"),
        ({"every": "P"}, BadInterval, "/every"),
        ({"every": "PT"}, BadInterval, "/every"),
        ({"every": "P1DT"}, BadInterval, "/every"),
        ({"every": "P1M"}, BadInterval, "/every"),  # months differ in length
        ({"every": "P1Y"}, BadInterval, "/every"),
        ({"every": "PT0.5S"}, BadInterval, "/every"),
        ({"every": "PT0S"}, BadInterval, "/every"),
        ({"every": "-PT5S"}, BadInterval, "/every"),
        ({"every": "P999999W"}, BadInterval, "/every"),
        ({"every": "P" + "9" * 5000 + "D"}, BadInterval, "/every"),
        ({"every": "PT1H", "anchor": "yesterday"}, BadInstant, "/anchor"),
        ({"at": "2026-11-22"}, BadInstant, "/at"),
        ({"at": "2026-11-22T09:00:00"}, BadInstant, "/at"),  # no offset: not an instant
        ({"at": "2026-02-30T09:00:00Z"}, BadInstant, "/at"),
        ({"at": "2026-11-22T23:59:60Z"}, BadInstant, "/at"),
        ({"at": "0001-01-01T00:00:00+23:59"}, BadInstant, "/at"),
        ({"at": "9999-12-31T23:59:59Z"}, BadInstant, "/at"),
    ],
)
def test_a_bad_spec_is_refused_at_its_field(spec: Any, error: type[InvalidRecurrence], pointer: str) -> None:
    with pytest.raises(error) as caught:
        Recurrence.parse(spec)
    assert type(caught.value) is error
    assert caught.value.pointer == pointer
    assert caught.value.hint
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"every": "PT90S"}, "2026-11-22T12:01:30+00:00"),
        ({"every": "P1W"}, "2026-11-26T00:00:00+00:00"),  # counted from a Thursday, 1 January 1970
        ({"every": "P1DT1H1M1S"}, "2026-11-22T16:47:15+00:00"),
        ({"every": "PT1H", "anchor": "2026-01-01T00:07:00Z"}, "2026-11-22T12:07:00+00:00"),
        # An anchor in the future sets the phase and not the beginning.
        ({"every": "PT1H", "anchor": "2036-01-01T00:07:00+00:00"}, "2026-11-22T12:07:00+00:00"),
        ({"every": "PT1H", "anchor": "2026-11-22T12:00:00.250Z"}, "2026-11-22T12:00:00.250000+00:00"),
        ({"at": "2026-11-22T14:00:00+01:00"}, "2026-11-22T13:00:00+00:00"),
        # What the wire cannot carry is rounded up: a fire is never early.
        ({"at": "2026-11-22T12:00:00.0001Z"}, "2026-11-22T12:00:00.001000+00:00"),
    ],
)
def test_the_next_time_of_an_interval_and_of_an_instant(spec: dict[str, Any], expected: str) -> None:
    slot = Recurrence.parse(spec).next_after(NOON)
    assert slot is not None
    assert slot.isoformat() == expected


def test_an_instant_comes_once() -> None:
    once = Recurrence.parse({"at": "2026-11-22T12:00:00Z"})
    assert once.next_after(NOON - timedelta(microseconds=1)) == NOON
    assert once.next_after(NOON) is None


@pytest.mark.parametrize("offset", [-16, 0, 16])
@pytest.mark.parametrize(
    "spec",
    [
        {"cron": "0 0 1 1 *"},
        {"cron": "30 2 * * *", "timezone": "America/New_York", "dst": "skip_gap"},
        {"cron": "* * * * * *", "timezone": "Pacific/Kiritimati"},
        {"every": "P1W"},
        {"every": "PT1H", "exclude": [{"cron": "* 3 * * *", "timezone": "America/New_York"}]},
        {"every": "P3660D", "exclude": [{"cron": "* * * 1-11 *", "timezone": "Pacific/Kiritimati"}]},
    ],
)
def test_the_ends_of_the_calendar_are_not_an_error(spec: dict[str, Any], offset: int) -> None:
    recurrence = Recurrence.parse(spec)
    zone = timezone(timedelta(hours=offset))
    end = datetime(9999, 12, 31, 7, 59, tzinfo=zone)
    assert recurrence.next_after(end) is None
    assert recurrence.preview(datetime(9899, 12, 31, tzinfo=UTC), 3) is not None
    first = recurrence.next_after(datetime(1, 1, 1, 16, tzinfo=zone))
    assert first is not None
    assert first.year >= 1900
    assert [warning for warning in recurrence.warnings(end) if warning.code == "clock_change"] == []
    assert recurrence.warnings(datetime(1, 1, 1, 16, tzinfo=zone)) is not None


def test_the_moment_to_count_from_needs_a_zone_but_may_have_any() -> None:
    hourly = Recurrence.parse({"cron": "@hourly"})
    with pytest.raises(ValueError, match="time zone"):
        hourly.next_after(NOON.replace(tzinfo=None))
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    assert hourly.next_after(NOON.astimezone(kathmandu)) == NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"}, "At 09:00 on Monday through Friday, Europe/Berlin time"),
        ({"cron": "0 0 22 * *"}, "At 00:00 on the 22nd day of every month, UTC time"),
        ({"cron": "@daily"}, "At 00:00 every day, UTC time"),
        ({"cron": "30 0 9 * * 1-5"}, "At 09:00:30 on Monday through Friday, UTC time"),
        ({"cron": "* * * * * *"}, "Every second, UTC time"),
        ({"cron": "*/10 * 9-17 * * *"}, "Every 10th second of every minute from 09:00 through 17:59, UTC time"),
        ({"cron": "5,35 */20 9 * * *"}, "At seconds 5 and 35 of every 20th minute from 09:00 through 09:59, UTC time"),
        ({"cron": "* 0 9 * * *"}, "Every second, at 09:00 every day, UTC time"),
        ({"every": "PT90S"}, "Every 1 minute 30 seconds"),
        ({"every": "P1D"}, "Every day"),
        ({"every": "PT1H", "anchor": "2026-01-01T00:07:00Z"}, "Every hour, in step with 2026-01-01 00:07:00 UTC"),
        ({"at": "2026-11-22T14:00:00+01:00"}, "Once, at 2026-11-22 13:00:00 UTC"),
    ],
)
def test_a_spec_explains_itself(spec: dict[str, Any], expected: str) -> None:
    assert Recurrence.parse(spec).explain() == expected
