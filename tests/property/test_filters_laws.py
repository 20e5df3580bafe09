"""Laws of filters: they always answer, and their connectives are those of logic."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tocsin.filters import BadFilter, Filter

# Few names and values, so that filters and data meet.
names = st.sampled_from(["a", "b", "c"])
scalars = st.none() | st.booleans() | st.sampled_from([0, 1, 2.5, "x", "xy", ""])
data = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8
)
comparisons = st.dictionaries(
    st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.sampled_from([0, 1, 2.5, "x"]), min_size=1, max_size=2
)


def depth(part: Any) -> int:
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return 1 + max(map(depth, inner), default=0)


conditions = st.recursive(
    scalars | comparisons | st.builds(lambda there: {"$exists": there}, st.booleans()),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(names, inner, min_size=1, max_size=2)
        | st.builds(lambda c: {"$not": c}, inner)
        | st.builds(lambda c: {"$or": c}, st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=4,
).filter(lambda condition: depth(condition) < 6)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            names | st.sampled_from(["$or", "$not", "$exists", "$gt", "$prefix", "$x"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


def takes(condition: Any, value: Any) -> bool:
    return Filter({"a": condition}).takes({"a": value})


@given(anything, data)
def test_a_filter_is_refused_or_always_answers(spec: Any, value: Any) -> None:
    try:
        wanted = Filter(spec)
    except BadFilter:
        return
    assert wanted.takes(value) in (True, False)


@given(conditions, data)
def test_not_is_the_opposite(condition: Any, value: Any) -> None:
    assert takes({"$not": condition}, value) is not takes(condition, value)


@given(st.lists(conditions, min_size=1, max_size=3), data)
def test_a_list_is_met_by_what_meets_one_of_it(several: list[Any], value: Any) -> None:
    one_of = any(takes(condition, value) for condition in several)
    assert takes(several, value) is one_of
    assert takes({"$or": several}, value) is one_of


@given(conditions, conditions, data, data)
def test_members_of_one_object_hold_together(first: Any, second: Any, one: Any, other: Any) -> None:
    both = Filter({"a": first, "b": second}).takes({"a": one, "b": other})
    assert both is (takes(first, one) and takes(second, other))


@given(st.dictionaries(names, scalars, min_size=1))
def test_what_is_spelt_out_is_taken(value: dict[str, Any]) -> None:
    assert Filter(value).takes(value)
    assert Filter(value).takes({**value, "more": 1})


@given(scalars, st.lists(scalars, max_size=4))
def test_an_array_is_met_by_each_of_its_elements(value: Any, others: list[Any]) -> None:
    assert takes(value, [*others, value])
    assert takes(value, [value, *others])
