"""What is told of a source: that an event was seen, or that one is taken back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Seen", "Told", "Undone", "payload_of"]


@dataclass(frozen=True, slots=True)
class Seen:
    """An event, and the filters that let it through. On a chain, the block it is in."""

    event_id: str
    kind: str
    filter_ids: Sequence[str]
    payload: Mapping[str, Any]
    block_hash: str | None = None
    block_number: int | None = None
    undoes: None = None

    def __post_init__(self) -> None:
        # Without its number an event would be told before its block is as deep as was asked for.
        assert (self.block_hash is None) == (self.block_number is None), "a block has a hash and a number"


@dataclass(frozen=True, slots=True)
class Undone:
    """An event that is taken back: where and how it was seen, and what the retraction adds to its payload."""

    event_id: str
    kind: str
    filter_ids: Sequence[str]
    block_hash: str | None
    block_number: int | None
    undoes: int
    payload: str
    because: Mapping[str, Any]


Told: TypeAlias = Seen | Undone


def payload_of(told: Told) -> str:
    """What is kept of it, as JSON. A retraction says the event again."""
    payload = told.payload if isinstance(told, Seen) else json.loads(told.payload) | told.because
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
