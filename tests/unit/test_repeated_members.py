"""JSON in which a name is given twice has two readings. The place of the second is found, however it is written."""

import orjson
import pytest

from app.kit.foreign_json import repeated


@pytest.mark.parametrize(
    ("body", "steps"),
    [
        ('{"a": 1, "a": 2}', ["a"]),
        ('{"a": 1, "a": 1}', ["a"]),  # also where both say the same
        ('{"a": 1, "b": 2, "\\u0061": 3}', ["a"]),  # the same name, written in another way
        ('{"é": 1, "\\u00e9": 2}', ["é"]),
        ('{"": 1, "": 2}', [""]),
        ('[{}, {"a": [0, {"b": {}, "b": {}}]}]', [1, "a", 1, "b"]),
        ('{"a": {"b": {"c": 1, "c": 2}}, "d": 1}', ["a", "b", "c"]),
        ("[" * 200 + '{"a": 1, "a": 2}' + "]" * 200, [0] * 200 + ["a"]),
    ],
)
def test_a_name_that_an_object_has_twice_is_found(body: str, steps: list[int | str]) -> None:
    assert repeated(body.encode()) == steps


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "[1, 1]",
        '"a"',
        '{"a": 1, "A": 2}',
        '{"a": {"b": 1}, "c": {"b": 1}}',  # each in an object of its own
        '[{"a": 1}, {"a": 1}]',
        '{"a": "\\"a\\": 1"}',
        '{"é": 1, "e\u0301": 2}',  # looks the same, is another name
        '{"a": ' + "1" * 5_000 + "}",  # more digits than Python reads
        '{"a": [1e999, -0.0]}',
        "[" * 200 + "]" * 200,
    ],
)
def test_where_each_name_is_given_once_nothing_is_found(body: str) -> None:
    assert repeated(body.encode()) is None


def test_the_place_behind_a_long_name_is_not_written_out_for_all_that_is_there() -> None:
    name = "n" * 100_000  # a hundred thousand of these would be 10 GB
    twice = orjson.dumps({name: [[]] * 50_000}).replace(b"]}", b',{"a":1,"a":2}]}')
    assert repeated(twice) == [name, 50_000, "a"]
