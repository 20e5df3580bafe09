"""The matcher finds exactly what a linear scan finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.subscriptions.matching import Log, LogFilter, Matcher, log_filter, matches

# Few values, so that filters and logs meet.
addresses = st.sampled_from(["0xa", "0xb", "0xc"])
values = st.sampled_from(["0x1", "0x2", "0x" + "0" * 64])

logs = st.builds(
    Log,
    address=addresses,
    topics=st.lists(values, max_size=4).map(tuple),
    data=st.just("0x"),
    transaction_hash=st.just("0xtx"),
    transaction_index=st.integers(0, 3),
    index_in_receipt=st.integers(0, 3),
)
filters = st.builds(
    log_filter,
    st.none() | addresses | st.lists(addresses, max_size=3),
    st.none() | st.lists(st.none() | values | st.lists(values, max_size=3), max_size=4),
)


shapes = st.lists(filters, min_size=1, max_size=3)


@given(st.lists(shapes, max_size=20), st.sets(st.integers(0, 19)), st.lists(logs, max_size=10))
def test_the_matcher_equals_a_linear_scan(wanted: list[list[LogFilter]], dropped: set[int], seen: list[Log]) -> None:
    by_id = {f"flt_{n:02}": each for n, each in enumerate(wanted)}
    matcher = Matcher(by_id)
    for filter_id in [f"flt_{n:02}" for n in dropped if n < len(wanted)]:
        matcher.drop(filter_id)
        del by_id[filter_id]
    for log in seen:
        met = [filter_id for filter_id, each in by_id.items() if any(matches(shape, log) for shape in each)]
        assert matcher.match(log) == met
