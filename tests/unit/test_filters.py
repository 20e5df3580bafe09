"""What a filter takes, and what is none."""

from typing import Any

import pytest

from tocsin.filters import BadFilter, Filter, filter_chars_max, filter_depth_max, filter_nodes_max, filter_steps_max

ORDER = {
    "amount": 250,
    "status": "paid",
    "customer": {"country": "DE", "vip": True},
    "tags": ["new", "sale"],
    "note": None,
}


@pytest.mark.parametrize(
    ("condition", "value", "taken"),
    [
        # integers, by all of their digits
        (2**64 + 1, 2**64 + 1, True),
        (2**64 + 1, 2**64, False),
        ({"$gt": 2**64}, 2**64 + 1, True),
        (10**400, 10**400, True),
        ({"$lt": 10**400}, 1.5, True),
        # beside a float, which is how both sides of this may be written
        (10**23, 1e23, True),
        (1e23, 10**23, True),
        ({"$gte": 10**23}, 1e23, True),
        ({"$gt": 10**23}, 1e23, False),
    ],
)
def test_large_numbers_are_compared_as_they_are_meant(condition: Any, value: Any, taken: bool) -> None:
    assert Filter({"a": condition}).takes({"a": value}) is taken


@pytest.mark.parametrize(
    ("spec", "taken"),
    [
        # equality, which knows true from 1
        ({"status": "paid"}, True),
        ({"status": "open"}, False),
        ({"amount": 250.0}, True),
        ({"customer": {"vip": True}}, True),
        ({"customer": {"vip": 1}}, False),
        ({"note": None}, True),
        ({"missing": None}, False),
        # several members, several values
        ({"status": "paid", "amount": 250}, True),
        ({"status": "paid", "amount": 1}, False),
        ({"status": ["open", "paid"]}, True),
        ({"status": ["open", {"$prefix": "pa"}]}, True),
        # comparisons, of like with like
        ({"amount": {"$gte": 250, "$lt": 251}}, True),
        ({"amount": {"$gt": 250}}, False),
        ({"amount": {"$lte": 250}}, True),
        ({"amount": {"$gt": "1"}}, False),
        ({"status": {"$gt": "open"}}, True),
        ({"customer": {"vip": {"$gte": 0}}}, False),
        ({"status": {"$prefix": "pa", "$suffix": "id"}}, True),
        ({"amount": {"$prefix": "2"}}, False),
        # presence
        ({"note": {"$exists": True}}, True),
        ({"missing": {"$exists": True}}, False),
        ({"missing": {"$exists": False}}, True),
        ({"customer": {"zip": {"$exists": False}}}, True),
        ({"missing": {"zip": {"$exists": False}}}, True),
        # negation and choice
        ({"status": {"$not": "open"}}, True),
        ({"status": {"$not": ["open", "paid"]}}, False),
        ({"missing": {"$not": "open"}}, True),
        ({"$not": {"status": "paid"}}, False),
        ({"$or": [{"status": "open"}, {"amount": {"$gte": 100}}]}, True),
        ({"$or": [{"status": "open"}, {"amount": {"$lt": 100}}]}, False),
        ({"amount": {"$or": [1, {"$gt": 200}]}, "status": "paid"}, True),
        # arrays: one element, that meets all of it
        ({"tags": "sale"}, True),
        ({"tags": "old"}, False),
        ({"tags": {"$not": "sale"}}, False),
        ({"tags": {"$prefix": "n", "$suffix": "e"}}, False),
        ({"tags": {"$exists": True}}, True),
        # not an object where one is asked for
        ({"status": {"country": "DE"}}, False),
    ],
)
def test_a_filter_takes_what_it_says(spec: dict[str, Any], taken: bool) -> None:
    assert Filter(spec).takes(ORDER) is taken


@pytest.mark.parametrize("data", [None, 1, "paid", True, [], {}])
def test_data_of_any_shape_is_asked(data: Any) -> None:
    assert not Filter({"status": "paid"}).takes(data)
    assert Filter({"$not": {"status": "paid"}}).takes(data)


def test_an_element_meets_all_members_of_an_object() -> None:
    wanted = Filter({"items": {"sku": "a", "count": {"$gt": 1}}})
    assert wanted.takes({"items": [{"sku": "a", "count": 2}]})
    assert not wanted.takes({"items": [{"sku": "a", "count": 1}, {"sku": "b", "count": 2}]})


@pytest.mark.parametrize(
    ("spec", "pointer", "told"),
    [
        ([], "", "an object"),
        ({}, "", "empty object"),
        ({"a": {}}, "/a", "empty object"),
        ({"a": []}, "/a", "empty list"),
        ({"a": {"$eq": 1}}, "/a/$eq", "write the value itself"),
        ({"a": {"$regex": ".*"}}, "/a/$regex", "$prefix"),
        ({"a/b": {"~c": {"$gt": None}}}, "/a~1b/~0c/$gt", "a number or a string"),
        ({"a": {"$gt": True}}, "/a/$gt", "a number or a string"),
        ({"a": {"$prefix": 1}}, "/a/$prefix", "a string"),
        ({"a": {"$exists": 1}}, "/a/$exists", "true or false"),
        ({"$or": {"a": 1}}, "/$or", "a list"),
        ({"$or": []}, "/$or", "empty list"),
        ({"a": [1, {"$not": {"b": {"$in": [1]}}}]}, "/a/1/$not/b/$in", "as a list"),
        ({"a": "x" * (filter_chars_max + 1)}, "/a", "characters"),
        ({"x" * (filter_chars_max + 1): 1}, "/" + "x" * (filter_chars_max + 1), "characters"),
        ({"a": list(range(filter_nodes_max))}, f"/a/{filter_nodes_max - 2}", "at most 64"),
    ],
)
def test_what_is_no_filter_is_told_where(spec: Any, pointer: str, told: str) -> None:
    with pytest.raises(BadFilter, match=told.replace("$", r"\$")) as refused:
        Filter(spec)
    assert refused.value.pointer == pointer


def test_a_filter_is_nested_so_deep_and_no_deeper() -> None:
    def nested(depth: int) -> Any:
        return 1 if depth == 1 else {"a": nested(depth - 1)}

    Filter(nested(filter_depth_max))
    with pytest.raises(BadFilter, match="deep"):
        Filter(nested(filter_depth_max + 1))


def test_a_message_that_takes_too_many_steps_is_not_taken() -> None:
    last = filter_steps_max - 1  # to look at data is a step, too
    assert Filter({"n": last}).takes({"n": list(range(1, last + 1))})
    assert not Filter({"n": last}).takes({"n": list(range(last + 1))})
    assert not Filter({"n": {"$not": "absent"}}).takes({"n": list(range(last + 1))})
