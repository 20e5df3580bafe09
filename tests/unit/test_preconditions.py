"""Which conditions a version meets, and what is no condition at all (RFC 9110 §13)."""

import pytest

from app.kit.preconditions import etag, read
from tocsin.problems import InvalidPrecondition, PreconditionFailed

MET: list[tuple[dict[str, str], int | None]] = [
    ({}, 3),
    ({}, None),
    ({"if-match": '"3"'}, 3),
    ({"if-match": '"1", "3"'}, 3),
    ({"if-match": ',"1",,"3" ,'}, 3),  # empty members of a list count for nothing
    ({"if-match": "*"}, 3),
    ({"if-none-match": "*"}, None),
    ({"if-none-match": '"2", W/"4"'}, 3),
    ({"if-none-match": '"2"'}, None),
    ({"if-match": '"3"', "if-none-match": '"2"'}, 3),
]

FAILED: list[tuple[dict[str, str], int | None]] = [
    ({"if-match": '"2"'}, 3),
    ({"if-match": '"33", "13"'}, 3),
    ({"if-match": '"3"'}, None),
    ({"if-match": "*"}, None),
    ({"if-match": 'W/"3"'}, 3),  # compared strongly
    ({"if-none-match": "*"}, 3),
    ({"if-none-match": '"3"'}, 3),
    ({"if-none-match": 'W/"3"'}, 3),  # compared weakly
    ({"if-match": '"3"', "if-none-match": "*"}, 3),
]


@pytest.mark.parametrize(("headers", "version"), MET)
def test_these_conditions_hold(headers: dict[str, str], version: int | None) -> None:
    read(headers).check(version)


@pytest.mark.parametrize(("headers", "version"), FAILED)
def test_these_conditions_fail_and_tell_the_version(headers: dict[str, str], version: int | None) -> None:
    with pytest.raises(PreconditionFailed) as failed:
        read(headers).check(version)
    assert failed.value.extras == ({} if version is None else {"version": version})


@pytest.mark.parametrize("name", ["if-match", "if-none-match"])
@pytest.mark.parametrize("value", ["", " ", ",", "3", '"3', '3"', "'3'", '"3" "4"', '*, "3"', "**", 'w/"3"', '"3";x'])
def test_what_is_no_list_of_tags_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidPrecondition):
        read({name: value})


def test_a_long_list_is_read_quickly() -> None:
    read({"if-match": ", ".join(f'"{number}"' for number in range(4_000))}).check(7)
    with pytest.raises(InvalidPrecondition):
        read({"if-match": ", " * 16_000 + "x"})


def test_a_version_is_a_strong_tag() -> None:
    assert etag(3) == '"3"'
