"""Which logs a filter wants."""

from __future__ import annotations

import pytest

from app.subscriptions.matching import Log, LogFilter, Matcher, log_filter, matches

TOKEN, OTHER = "0x" + "aa" * 20, "0x" + "bb" * 20
TRANSFER, APPROVAL = "0x" + "11" * 32, "0x" + "22" * 32
ALICE, BOB = "0x" + "a1" * 32, "0x" + "b0" * 32

TRANSFERRED = Log(TOKEN, (TRANSFER, ALICE, BOB), "0x", "0xtx", 0, 0)


@pytest.mark.parametrize(
    ("address", "topics", "wanted"),
    [
        (TOKEN, None, True),
        (OTHER, None, False),
        ([OTHER, TOKEN], [], True),
        (None, [TRANSFER], True),
        (None, [APPROVAL], False),
        (None, [[APPROVAL, TRANSFER]], True),  # one of several
        (TOKEN, [None, ALICE], True),  # any event of Alice
        (TOKEN, [None, BOB], False),  # positions matter
        (TOKEN, [TRANSFER, None, BOB], True),
        (TOKEN, [TRANSFER, [ALICE, BOB], BOB], True),
        (TOKEN, [TRANSFER, None, None], True),
        (TOKEN, [TRANSFER, None, None, None], False),  # four positions, three topics
        (TOKEN, [[], ALICE], True),  # an empty list allows any
        (TOKEN.upper().replace("0X", "0x"), [TRANSFER.upper()], True),  # checksummed spellings are the same
        (None, None, True),
    ],
)
def test_a_filter_matches_by_address_and_by_topic_position(
    address: str | list[str] | None, topics: list[str | list[str] | None] | None, wanted: bool
) -> None:
    made = log_filter(address, topics)
    assert matches(made, TRANSFERRED) == wanted
    assert Matcher({"it": [made]}).match(TRANSFERRED) == (["it"] if wanted else [])


def test_a_log_without_topics_matches_only_by_address() -> None:
    anonymous = Log(TOKEN, (), "0x", "0xtx", 0, 0)
    filters = {"address": [log_filter(TOKEN, None)], "topic": [log_filter(TOKEN, [None])]}
    assert Matcher(filters).match(anonymous) == ["address"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (log_filter(TOKEN, None), log_filter([TOKEN.upper().replace("0X", "0x")], [])),
        (log_filter([OTHER, TOKEN], [TRANSFER]), log_filter([TOKEN, OTHER, TOKEN], [[TRANSFER, TRANSFER]])),
        (log_filter(None, [[], ALICE]), log_filter([], [None, ALICE])),
    ],
)
def test_filters_that_ask_for_the_same_are_equal(one: LogFilter, other: LogFilter) -> None:
    assert one == other


def test_filters_that_ask_for_something_else_differ() -> None:
    made = [log_filter(TOKEN, topics) for topics in (None, [None], [TRANSFER], [None, TRANSFER])]
    assert len(set(made)) == len(made)


def test_a_filter_of_several_shapes_is_met_by_any_and_once() -> None:
    either = [log_filter(None, [TRANSFER, ALICE]), log_filter(None, [TRANSFER, None, BOB]), log_filter(OTHER, None)]
    assert Matcher({"either": either}).match(TRANSFERRED) == ["either"]


def test_a_filter_that_is_dropped_is_met_no_more() -> None:
    made = [log_filter([TOKEN, OTHER], [[TRANSFER, APPROVAL]]), log_filter(None, [None, ALICE])]
    matcher = Matcher({"kept": made, "dropped": made})
    matcher.drop("dropped")
    assert matcher.match(TRANSFERRED) == ["kept"]
    matcher.add("dropped", made)
    assert matcher.match(TRANSFERRED) == ["dropped", "kept"]
