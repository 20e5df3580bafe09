"""Who gets a message: those of the endpoints that were named, or of the sender's own, which want it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from pydantic_core import from_json

from app.kit import limits
from tocsin.filters import Filter
from tocsin.schemas.messages import NewMessage, takes

__all__ = ["Candidate", "Looks", "NotThere", "TooFar", "audience", "named"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An endpoint that takes messages from the sender, and what it wants of them, as JSON."""

    id: str
    agent_id: str
    types: str | None
    filter: str | None


class NotThere(Exception):
    """The entry at `position` names nobody who takes messages from the sender."""

    def __init__(self, position: int) -> None:
        self.position = position


class TooFar(Exception):
    """The filters would have to look further than a request may cost."""


class Looks:
    """How many steps all filters together may still take, at all messages of one request."""

    def __init__(self, steps_max: int) -> None:
        self._left = steps_max

    def spend(self, steps: int) -> None:
        """So many have been taken. Raises TooFar."""
        self._left -= steps
        if self._left < 0:
            raise TooFar


def named(messages: Iterable[NewMessage], sender_id: str) -> tuple[list[str], list[str]]:
    """The agents and the endpoints that are to be looked up for these messages."""
    names = {name for message in messages for name in message.to or (sender_id,)}
    return sorted(n for n in names if n.startswith("agt_")), sorted(n for n in names if n.startswith("ep_"))


def audience(message: NewMessage, sender_id: str, candidates: Sequence[Candidate], looks: Looks) -> list[str]:
    """The endpoints that get this message, each once, in order. Raises NotThere and TooFar."""
    if message.to is None:
        among = [each for each in candidates if each.agent_id == sender_id]
    else:
        there = {each.id for each in candidates} | {each.agent_id for each in candidates} | {sender_id}
        for position, name in enumerate(message.to):
            if name not in there:
                raise NotThere(position)
        wanted = set(message.to)
        among = [each for each in candidates if each.id in wanted or each.agent_id in wanted]
    return [each.id for each in among if _takes(each, message.type, message.data, looks)]


def _takes(candidate: Candidate, type_: str, data: Any, looks: Looks) -> bool:
    if candidate.types is not None and not takes(_patterns(candidate.types), type_):
        return False
    wanted = None if candidate.filter is None else _filter(candidate.filter)
    if wanted is None:
        return True
    is_wanted, steps = wanted.looked(data)
    looks.spend(steps)
    return is_wanted


# By their text: endpoints are many, and what they want is asked of every message.
@lru_cache(maxsize=limits.publish_filters_cached_max)
def _patterns(text: str) -> list[str] | None:
    return orjson.loads(text)


@lru_cache(maxsize=limits.publish_filters_cached_max)
def _filter(text: str) -> Filter | None:
    spec = from_json(text)  # which keeps all digits of an integer
    return None if spec is None else Filter(spec)
