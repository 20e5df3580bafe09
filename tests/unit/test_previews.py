"""A preview is computed without a relay."""

from datetime import UTC, datetime

import pytest

from tocsin.previews import preview
from tocsin.problems import BadRecurrence
from tocsin.recurrence import zone_database_version
from tocsin.schemas.schedules import AskedPreview

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


def slots(**asked: object) -> list[str]:
    seen = preview(AskedPreview.model_validate({"spec": {"every": "PT1H"}, "count": 3, **asked}), NOW)
    return [fire.local[11:16] for fire in seen.fires]


def test_slots_are_counted_from_now_or_from_when_it_was_asked() -> None:
    assert slots() == ["10:00", "11:00", "12:00"]
    assert slots(after=datetime(2026, 11, 22, 20, 30, tzinfo=UTC)) == ["21:00", "22:00", "23:00"]


def test_bounds_belong_to_what_they_bound() -> None:
    assert slots(starts_at=datetime(2026, 11, 22, 12, tzinfo=UTC)) == ["12:00", "13:00", "14:00"]
    assert slots(starts_at=datetime(1, 1, 1, tzinfo=UTC)) == ["10:00", "11:00", "12:00"]
    assert slots(ends_at=datetime(2026, 11, 22, 11, tzinfo=UTC)) == ["10:00", "11:00"]
    assert slots(ends_at=NOW) == []


def test_it_says_what_the_spec_means_and_what_it_was_computed_with() -> None:
    spec = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    seen = preview(AskedPreview(spec=spec, after=datetime(2027, 3, 28, tzinfo=UTC), count=1), NOW)
    assert seen.explanation == "At 02:30 every day, Europe/Berlin time"
    assert (seen.fires[0].local, seen.fires[0].shift) == ("2027-03-28T03:00:00.000+02:00", "moved")
    assert seen.timezone_database == zone_database_version


def test_a_spec_that_cannot_be_is_refused_as_the_relay_refuses_it() -> None:
    with pytest.raises(BadRecurrence) as refused:
        preview(AskedPreview(spec={"cron": "61 * * * *"}), NOW)
    assert refused.value.errors[0]["pointer"] == "/spec/cron"
