"""Why a block could not be read whole, and what that comes down to for whoever asked for a proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from app.watchers.follower import Missing
from app.watchers.refusals import Meaning
from tocsin.problems import BlockGone, NotProvable, Problem, ProviderUnavailable

__all__ = ["Unread", "Why", "refusal", "unread"]

again_seconds_default = 5


class Why(StrEnum):
    """What a provider lacks."""

    AWAY = "away"
    """It does not answer, or not now."""
    UNKNOWN = "unknown"
    """It has no such block."""
    UNABLE = "unable"
    """It has no method that gives the block whole."""
    OTHERWISE = "otherwise"
    """What it gives does not make the block's hash and roots."""


@dataclass(frozen=True, slots=True)
class Unread:
    """One provider, and why the block could not be read from it."""

    why: Why
    reason: str
    cause: str = ""
    """As a provider's health has it; empty where nothing is held against it."""
    again_seconds: float | None = None


def unread(missing: Missing) -> Unread:
    """What an answer that is missing comes down to."""
    match missing.cause:
        case Meaning.UNKNOWN:
            return Unread(Why.UNKNOWN, missing.reason)
        case Meaning.UNSUPPORTED:
            return Unread(Why.UNABLE, missing.reason)
        case "wrong":
            return Unread(Why.OTHERWISE, missing.reason, "wrong")
        case cause:
            return Unread(Why.AWAY, missing.reason, cause, missing.again_seconds)


def refusal(chain: str, block_hash: str, unread: Sequence[Unread], *, retracted: bool) -> Problem:
    """What to answer where no provider gave the block. Whoever is away may have what the others lack."""
    away = [each for each in unread if each.why is Why.AWAY]
    if away or not unread:
        seconds = ceil(min((each.again_seconds or again_seconds_default for each in away), default=1))
        reason = away[0].reason if away else "none is left to ask"
        return ProviderUnavailable(
            f"no provider of {chain} gives the block at the moment: {reason}", headers={"Retry-After": str(seconds)}
        )
    for why, what in _LASTING:
        found = next((each for each in unread if each.why is why), None)
        if found is not None:
            return NotProvable(f"{what} ({found.reason})", chain=chain, hash=block_hash)
    because = ": a reorganisation took it from the chain" if retracted else ", or not yet"
    return BlockGone(
        f"no provider has block {block_hash} of {chain} any more{because}",
        chain=chain,
        hash=block_hash,
        retracted=retracted,
    )


_LASTING = (
    (
        Why.OTHERWISE,
        "what the providers answer does not make the roots that the block's header has, so nothing can be proven with "
        "it: the chain may count what its nodes do not list, as Arbitrum and Polygon do, or its headers have what is "
        "not known here. Compare with a node of your own",
    ),
    (
        Why.UNABLE,
        "no provider of the chain gives all receipts of a block, and a proof is made of all of them. Ask the relay's "
        "operator for one that does, or give tocsin.proofs.prove what a node of your own answers",
    ),
)
