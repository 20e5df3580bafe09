"""When a run has ended, and what counts as a report of it."""

import pytest

from app.schedules.completion import Ending, ending, give_ups, reports_completion


@pytest.mark.parametrize(
    ("answer", "reported"),
    [
        (b'{"completed": true}', True),
        (b' {"result": [1, {"completed": false}], "completed":true} ', True),
        (b'{"completed": false}', False),
        (b'{"completed": "true"}', False),
        (b'{"completed": 1}', False),
        (b'{"inner": {"completed": true}}', False),
        (b'[{"completed": true}]', False),
        (b'{"completed": true', False),  # cut off
        (b'{"completed": true}' + b" " * 1005, True),
        (b'{"completed": true}' + b" " * 1006, False),  # more than is kept
        (b"", False),
        (b"ok", False),
        (b"\xff\xfe{", False),
        (b"[" * 1024, False),
        (b'{"a":' * 200, False),
    ],
)
def test_an_answer_reports_completion_only_when_it_says_so(answer: bytes, reported: bool) -> None:
    assert reports_completion(answer) is reported


@pytest.mark.parametrize(
    ("completion", "state", "answer", "expected"),
    [
        ("delivery", "delivered", b"", "ended"),
        ("delivery", "failed", b"", "ended"),
        ("report", "delivered", b"", "awaited"),
        ("report", "delivered", b'{"completed": true}', "reported"),
        # Nobody has heard of it, so nobody will report.
        ("report", "failed", b"", "ended"),
        ("report", "cancelled", b"", "ended"),
    ],
)
def test_a_run_ends_with_its_delivery_or_with_a_report(
    completion: str, state: str, answer: bytes, expected: Ending
) -> None:
    assert ending(completion, state, answer) == expected


@pytest.mark.parametrize(
    ("before", "state", "delivery", "count"),
    [
        (0, "fired", "failed", 1),
        (4, "fired", "failed", 5),
        (4, "dead", "failed", 4),  # sent again, in vain
        (4, "fired", "cancelled", 4),
        (4, "fired", "delivered", 0),
        (4, "dead", "delivered", 0),
    ],
)
def test_give_ups_are_counted_in_a_row(before: int, state: str, delivery: str, count: int) -> None:
    assert give_ups(before, state, delivery) == count
