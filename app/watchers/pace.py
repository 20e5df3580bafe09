"""How soon to look again."""

from __future__ import annotations


def again_after(seconds: float, failures: int, *, seconds_max: float) -> float:
    """The wait after one more failure: at first the usual one, then twice as long each time, up to a bound."""
    return max(seconds, min(seconds * 2.0 ** min(failures, 20), seconds_max))
