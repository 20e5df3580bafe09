"""The id of an MCP subscription is its key, and nothing but its key."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.deliveries.profiles import shaped, subscription_id
from app.kit.ids import is_id

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(st.text(max_size=3), values, max_size=3)


def reversed_members(value: Any) -> Any:
    """The same JSON with the members of its objects the other way round."""
    if isinstance(value, dict):
        return {name: reversed_members(value[name]) for name in reversed(value)}
    return [reversed_members(each) for each in value] if isinstance(value, list) else value


@given(arguments)
def test_the_order_of_members_makes_no_difference(asked: dict[str, Any]) -> None:
    one = subscription_id("agt_1", "https://h.example/", "a", asked)
    assert one == subscription_id("agt_1", "https://h.example/", "a", reversed_members(asked))
    assert is_id(one)


@given(arguments, arguments)
def test_other_arguments_are_another_subscription(one: dict[str, Any], other: dict[str, Any]) -> None:
    ids = {subscription_id("agt_1", "https://h.example/", "a", asked) for asked in (one, other)}
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert len(ids) == (1 if same else 2)


@given(values)
def test_an_event_carries_the_data_of_its_message(data: Any) -> None:
    body = json.dumps({"type": "t", "timestamp": "2026-11-22T09:00:00.000Z", "sender": "agt_1", "data": data})
    event = json.loads(shaped("mcp", "ep_1", "msg_1", body).body)
    assert event == {
        "eventId": "msg_1",
        "name": "t",
        "timestamp": "2026-11-22T09:00:00.000Z",
        "data": data,
        "cursor": None,
    }
