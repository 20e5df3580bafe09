"""What somebody who asked for a proof is told where no provider gives the block."""

from __future__ import annotations

import pytest

from app.watchers.follower import Missing
from app.watchers.unproven import Unread, Why, refusal, unread
from tocsin.problems import BlockGone, NotProvable, Problem, ProviderUnavailable

HASH = "0x" + "5e" * 32
AWAY = Unread(Why.AWAY, "no answer within 8 s", "timeout")
UNKNOWN = Unread(Why.UNKNOWN, "the node does not know it")
UNABLE = Unread(Why.UNABLE, "the node answered with error -32601")
OTHERWISE = Unread(Why.OTHERWISE, "receipts: they do not make the root", "wrong")


def told(*lacking: Unread, retracted: bool = False) -> Problem:
    return refusal("eip155:1", HASH, lacking, retracted=retracted)


@pytest.mark.parametrize(
    ("lacking", "kind"),
    [
        ((AWAY,), ProviderUnavailable),
        ((UNKNOWN,), BlockGone),
        ((UNABLE,), NotProvable),
        ((OTHERWISE,), NotProvable),
        # Whoever is away may have what the others lack.
        ((UNKNOWN, AWAY), ProviderUnavailable),
        ((OTHERWISE, AWAY), ProviderUnavailable),
        # What is known of the block says more than that somebody else has none.
        ((UNKNOWN, OTHERWISE), NotProvable),
        ((UNKNOWN, UNABLE), NotProvable),
        ((), ProviderUnavailable),
    ],
)
def test_the_refusal_says_what_would_help(lacking: tuple[Unread, ...], kind: type[Problem]) -> None:
    assert type(told(*lacking)) is kind


def test_who_asks_again_is_told_when() -> None:
    later = Unread(Why.AWAY, "HTTP status 429", "limited", again_seconds=40.2)
    assert told(later).retry_after_seconds == 41
    assert told(later, AWAY).retry_after_seconds == 5


def test_a_block_that_a_reorganisation_took_is_gone_as_expected() -> None:
    problem = told(UNKNOWN, retracted=True)
    assert problem.extras == {"chain": "eip155:1", "hash": HASH, "retracted": True}
    assert "reorganisation" in problem.detail
    assert "reorganisation" not in told(UNKNOWN).detail


@pytest.mark.parametrize(
    ("cause", "why", "held_against"),
    [
        ("unknown", Why.UNKNOWN, ""),
        ("unsupported", Why.UNABLE, ""),
        ("wrong", Why.OTHERWISE, "wrong"),
        ("timeout", Why.AWAY, "timeout"),
        ("limited", Why.AWAY, "limited"),
        ("refused", Why.AWAY, "refused"),
    ],
)
def test_what_is_missing_comes_down_to_what_a_provider_lacks(cause: str, why: Why, held_against: str) -> None:
    found = unread(Missing("a reason", cause, 3.0))
    assert (found.why, found.cause) == (why, held_against)
