"""What is told of a source: that an event was seen, or that one is taken back. The body is one for all who hear it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from tocsin.schemas.wire import rfc3339

__all__ = ["Seen", "Told", "Undone", "body_of"]


@dataclass(frozen=True, slots=True)
class Seen:
    """An event, and the filters that let it through."""

    event_id: str
    kind: str
    filter_ids: Sequence[str]
    payload: Mapping[str, Any]
    block_hash: str | None = None
    undoes: None = None


@dataclass(frozen=True, slots=True)
class Undone:
    """An event that is taken back: where and how it was told, and what the retraction adds to its payload."""

    event_id: str
    filter_ids: Sequence[str]
    block_hash: str | None
    undoes: int
    body: str
    because: Mapping[str, Any]


Told: TypeAlias = Seen | Undone


def body_of(told: Told, source_id: str, seq: int, now: datetime) -> dict[str, Any]:
    """What is rung. A retraction says the event again, under the same id."""
    moment = rfc3339(now)
    if isinstance(told, Seen):
        data = {"event_id": told.event_id, "source_id": source_id, "kind": told.kind, "seq": seq}
        data |= {"observed_at": moment, "payload": told.payload}
        return {"type": "event.matched", "timestamp": moment, "data": data}
    before: dict[str, Any] = json.loads(told.body)["data"]
    data = before | {"seq": seq, "observed_at": moment, "payload": before["payload"] | told.because}
    return {"type": "event.retracted", "timestamp": moment, "data": data | {"retracts": told.event_id}}
