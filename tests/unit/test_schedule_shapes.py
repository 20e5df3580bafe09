"""What a schedule may carry."""

import pytest
from pydantic import ValidationError

from tocsin.problems import BadRecurrence
from tocsin.schemas.schedules import NewSchedule, payload_bytes_max, payload_levels_max, payload_text


def read(payload: str) -> NewSchedule:
    return NewSchedule.model_validate_json(f'{{"endpoint_id":"ep_1","spec":{{"every":"PT1H"}},"payload":{payload}}}')


@pytest.mark.parametrize(
    "payload",
    [
        "null",
        "1.50",
        "-0.0",
        "12345678901234567890123",
        '{"a":[1,{"b":"\\u00e9"}],"":null}',
        '"' + "x" * (payload_bytes_max - 2) + '"',
        "[" * payload_levels_max + "]" * payload_levels_max,
    ],
)
def test_any_json_of_64_kib_and_64_levels_is_carried(payload: str) -> None:
    assert read(payload_text(read(payload).payload)).payload == read(payload).payload


@pytest.mark.parametrize(
    "payload",
    [
        "1e400",
        "NaN",
        "9" * 5000,
        "[" * 5000 + "]" * 5000,
        "[" * (payload_levels_max + 1) + "]" * (payload_levels_max + 1),
        '{"a":' * payload_levels_max + "[]" + "}" * payload_levels_max,
        '"\\ud800"',
        '"\\u0000"',
        '{"\\u0000":1}',
        '"' + "x" * (payload_bytes_max - 1) + '"',
        '"' + "ä" * (payload_bytes_max // 2) + '"',
    ],
)
def test_what_cannot_be_carried_is_refused(payload: str) -> None:
    with pytest.raises(ValidationError):
        read(payload)


def test_a_bad_spec_is_refused_with_a_pointer_into_the_body() -> None:
    new = NewSchedule(endpoint_id="ep_1", spec={"cron": "0 9 * * FUN", "timezone": "UTC"})
    with pytest.raises(BadRecurrence) as caught:
        new.recurrence()
    [error] = caught.value.errors
    assert (error["pointer"], error["position"]) == ("/spec/cron", "8")
