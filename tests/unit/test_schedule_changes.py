"""What a change changes of a schedule, and what becomes of its open fires."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.schedules.changes import Change, NoChange, Open, columns, difference, first_free, merged, terms, withdrawn
from app.schedules.timing import Timing
from tocsin.problems import InvalidBody
from tocsin.recurrence import Recurrence
from tocsin.schemas.schedules import NewSchedule, PatchSchedule, duration

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
ASKED: dict[str, Any] = {
    "endpoint_id": "ep_1",
    "spec": {"every": "PT1H"},
    "payload": {"a": 1.5},
    "jitter": "PT1M",
    "overlap": "buffer_all",
    "buffer_max": 3,
    "ends_at": NOW,
}


def row(**more: Any) -> dict[str, Any]:
    """The columns of a schedule that was asked for so."""
    return columns(NewSchedule.model_validate({**ASKED, **more}))


def test_what_was_asked_for_comes_back_from_its_columns() -> None:
    asked = NewSchedule.model_validate(ASKED)
    assert NewSchedule.model_validate(terms(columns(asked))) == asked


CHANGES: list[tuple[dict[str, Any], list[str], bool]] = [
    ({}, [], False),
    ({"jitter": "PT60S"}, [], False),  # as long as it was
    ({"spec": {"every": "PT1H"}}, [], False),
    ({"payload": {"a": 1.50}}, [], False),
    ({"name": "x"}, ["name"], False),
    ({"payload": {"a": 2}}, ["payload"], False),
    ({"payload": True}, ["payload"], False),
    ({"endpoint_id": "ep_2", "max_fires": 1}, ["endpoint_id", "max_fires"], False),
    ({"jitter": "PT61S"}, ["jitter"], True),
    ({"jitter": None}, ["jitter"], True),
    ({"spec": [{"every": "PT1H"}]}, ["spec"], True),
    ({"starts_at": NOW}, ["starts_at"], True),
    ({"ends_at": None, "name": "x"}, ["ends_at", "name"], True),
]


@pytest.mark.parametrize(("more", "members", "moves"), CHANGES)
def test_only_what_is_different_is_changed(more: dict[str, Any], members: list[str], moves: bool) -> None:
    found = difference(row(), NewSchedule.model_validate({**ASKED, **more}))
    if not members:
        assert found == NoChange()
        return
    assert isinstance(found, Change)
    assert (found.members, found.timing) == (members, moves)


def test_a_patch_is_judged_with_what_it_leaves_as_it_is() -> None:
    assert merged(row(), PatchSchedule(name="x")).buffer_max == 3
    assert merged(row(), PatchSchedule(overlap="skip", buffer_max=None)).overlap == "skip"
    with pytest.raises(InvalidBody) as refused:
        merged(row(), PatchSchedule(overlap="skip"))
    assert [error["pointer"] for error in refused.value.errors] == ["/buffer_max"]
    with pytest.raises(InvalidBody) as refused:
        merged(row() | {"endpoint_id": None}, PatchSchedule(name="x"))
    assert [error["pointer"] for error in refused.value.errors] == ["/endpoint_id"]


def fire(name: str, seconds: float, *, waits: bool = False) -> Open:
    return Open(name, "auto", waits, NOW + timedelta(seconds=seconds), None)


OPEN = [
    fire("second", 2),
    fire("first", 1),
    fire("jittered", -1),
    fire("now", 0),
    fire("buffered", -2, waits=True),
]


@pytest.mark.parametrize(
    ("waiting", "skipped"), [(False, ["jittered", "now"]), (True, ["jittered", "now", "buffered"])]
)
def test_what_is_to_come_is_unplanned_and_what_has_come_is_skipped(waiting: bool, skipped: list[str]) -> None:
    outcome = withdrawn(OPEN, NOW, waiting=waiting)
    assert [each.id for each in outcome.unplanned] == ["first", "second"]
    assert [each.id for each in outcome.skipped] == skipped


def test_the_first_free_slot_is_none_of_those_taken() -> None:
    hourly = Timing(Recurrence.parse({"every": "PT1H"}), ends_at=NOW + timedelta(hours=3))
    hours = [NOW + timedelta(hours=hour) for hour in range(5)]
    assert first_free(hourly, NOW, set()) == hours[1]
    assert first_free(hourly, NOW, {hours[1], hours[2]}) == hours[3]
    assert first_free(hourly, NOW, set(hours)) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "PT1S"), (60, "PT1M"), (3_600, "PT1H"), (86_400, "P1D"), (90_061, "P1DT1H1M1S"), (316_224_000, "P3660D")],
)
def test_a_duration_is_written_as_short_as_it_can_be(seconds: int, text: str) -> None:
    assert duration(seconds) == text
