"""What a node means by an error. Codes and texts follow no standard, so this is a table of what has been seen."""

from __future__ import annotations

import re
from enum import StrEnum


class Meaning(StrEnum):
    """What an error says about the provider, or about what was asked."""

    LIMITED = "limited"
    """Too many calls a second: other calls would fare no better, for some seconds."""
    EXHAUSTED = "exhausted"
    """The account has used up its day or month."""
    UNSUPPORTED = "unsupported"
    """There is no such method, or no such block tag, here."""
    UNKNOWN = "unknown"
    """What was asked for is not known here, or not yet."""
    OTHER = "refused"
    """Anything else."""


# JSON-RPC 2.0 §5.1, EIP-1474 "method not supported".
_UNSUPPORTED_CODES = frozenset({-32601, -32004})
# EIP-1474: "resource not found"; the execution APIs: a safe or finalized block is not known yet.
_UNKNOWN_CODES = frozenset({-32001, -39001})
# Alchemy gives the HTTP status as the code; QuickNode and others count down from -32000 for requests a second.
_LIMITED_CODES = frozenset({429, -32007, -32029, -32097, -32090})

# In this order: a text that speaks of results or a range is about the question, though it says "limit exceeded", too.
_TEXTS: tuple[tuple[re.Pattern[str], Meaning], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), meaning)
    for pattern, meaning in (
        (r"more than \d+ (results|logs)|block range|range is too (large|wide)|response size", Meaning.OTHER),
        (r"(monthly|daily|annual)\b.*(limit|quota|capacity|count)|quota|out of (requests|credits)", Meaning.EXHAUSTED),
        (r"exceeded (your|the) (monthly|daily|plan)|usage limit|upgrade your (plan|tier)", Meaning.EXHAUSTED),
        (r"rate.?limit|request rate|too many requests|throttl|compute units per second", Meaning.LIMITED),
        (r"requests?.(per|a).second|/second|request limit reached|capacity exceeded|limit exceeded", Meaning.LIMITED),
        (r"slow down|over(loaded| capacity)|server is busy|try again later", Meaning.LIMITED),
        (r"(safe|finalized) block not found|unknown block|(header|block) not found", Meaning.UNKNOWN),
        (r"method .*(not|un)\s?(found|supported|available|allowed)", Meaning.UNSUPPORTED),
        (r"does not exist/is not available", Meaning.UNSUPPORTED),
        (r"(invalid|unknown|unsupported) block (tag|number|parameter)|cannot (wrap|unmarshal)", Meaning.UNSUPPORTED),
    )
)  # fmt: skip


def meaning_of(status: int, code: int, message: str) -> Meaning:
    """What an error means, by the HTTP status it came with, its code and its text."""
    if code in _UNSUPPORTED_CODES:
        return Meaning.UNSUPPORTED
    if code in _UNKNOWN_CODES:
        return Meaning.UNKNOWN
    for pattern, meaning in _TEXTS:
        if pattern.search(message):
            return meaning
    return Meaning.LIMITED if status == 429 or code in _LIMITED_CODES else Meaning.OTHER
