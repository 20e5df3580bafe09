"""Dates of HTTP, form by form and row by row."""

from datetime import UTC, datetime

import pytest

from app.kit.http_dates import http_date

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [  # all three as RFC 9110 has them
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994",
        "Mon, 06 Nov 1994 08:49:37 GMT",  # a wrong day of the week
    ],
)
def test_a_date_is_read_in_each_of_the_three_forms(value: str) -> None:
    assert http_date(value, NOW) == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "now", "expected"),
    [
        ("Sunday, 22-Nov-26 09:02:00 GMT", NOW, datetime(2026, 11, 22, 9, 2, tzinfo=UTC)),
        ("Sunday, 22-Nov-76 09:00:00 GMT", NOW, datetime(2076, 11, 22, 9, tzinfo=UTC)),  # 50 years, and not more
        ("Sunday, 22-Nov-76 09:00:01 GMT", NOW, datetime(1976, 11, 22, 9, 0, 1, tzinfo=UTC)),
        ("Friday, 31-Dec-76 00:00:00 GMT", NOW, datetime(1976, 12, 31, tzinfo=UTC)),
        ("Tuesday, 01-Jan-77 00:00:00 GMT", NOW, datetime(1977, 1, 1, tzinfo=UTC)),
        ("Friday, 31-Dec-99 23:59:59 GMT", NOW, datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("Saturday, 01-Jan-00 00:00:00 GMT", NOW, datetime(2000, 1, 1, tzinfo=UTC)),
        # over the turn of a century
        (
            "Friday, 01-Jan-00 00:00:30 GMT",
            datetime(2099, 12, 31, 23, 59, tzinfo=UTC),
            datetime(2100, 1, 1, 0, 0, 30, tzinfo=UTC),
        ),
        (
            "Thursday, 31-Dec-99 23:59:30 GMT",
            datetime(2100, 1, 1, tzinfo=UTC),
            datetime(2099, 12, 31, 23, 59, 30, tzinfo=UTC),
        ),
        # 50 years after a leap day there is none
        ("Monday, 28-Feb-78 00:00:00 GMT", datetime(2028, 2, 29, tzinfo=UTC), datetime(2078, 2, 28, tzinfo=UTC)),
        ("Tuesday, 01-Mar-78 00:00:00 GMT", datetime(2028, 2, 29, tzinfo=UTC), datetime(1978, 3, 1, tzinfo=UTC)),
    ],
)
def test_two_digits_of_a_year_are_at_most_50_years_ahead(value: str, now: datetime, expected: datetime) -> None:
    assert http_date(value, now) == expected


@pytest.mark.parametrize(
    "value",
    ["Sat, 31 Dec 2016 23:59:60 GMT", "Saturday, 31-Dec-16 23:59:60 GMT", "Sat Dec 31 23:59:60 2016"],
)
def test_a_leap_second_is_the_next_day(value: str) -> None:
    assert http_date(value, NOW) == datetime(2017, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Sun, 6 Nov 1994 08:49:37 GMT",  # the day has two digits here
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 1994 08:49:60 GMT",  # a leap second ends a day
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Fri, 31 Dec 9999 23:59:60 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",  # letters as they are
        "Sun,  06 Nov 1994 08:49:37 GMT",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT\n",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",  # a short day in the form of RFC 850
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06 Nov 94 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37",
        "Sunday, 31-Nov-94 08:49:37 GMT",
        "Wednesday, 29-Feb-23 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",  # a space stands for the first digit
        "Sun Nov   6 08:49:37 1994",
        "Sun Nov  0 08:49:37 1994",
        "Sun Nov  6 08:49:37 94",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sunday Nov  6 08:49:37 1994",
        "1994-11-06T08:49:37Z",
    ],
)
def test_nothing_else_is_a_date(value: str) -> None:
    assert http_date(value, NOW) is None
