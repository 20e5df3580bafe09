"""Streams: the entries of a feed as server-sent events. An open stream holds no connection to the database."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from app.kit import limits
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.subscriptions import feed_store, store
from app.subscriptions.models import FeedEntry
from app.subscriptions.tail import Tail
from tocsin.problems import InvalidCursor, TooManyRequests

__all__ = ["Streams", "last_seen", "piece"]

_SEQ = re.compile(r"[0-9]{1,18}")
_comment = b":\n\n"


@dataclass(frozen=True, slots=True)
class Listening:
    """Who listens to what, and from where on."""

    agent_id: str
    subscription_id: str
    feed_id: str
    after: int


class Streams:
    """The streams that are open at this process, and the requests that wait: an agent has so many places for both."""

    def __init__(self, clock: Clock, tail: Tail) -> None:
        self._clock = clock
        self._tail = tail
        self._open = Counter[str]()

    def admit(self, agent_id: str) -> None:
        """Refuse an agent that has as many as it may."""
        if self._is_full(agent_id):
            raise TooManyRequests(
                f"you have {limits.streams_per_agent_max} streams and waiting requests open: end one of them first",
                headers={"Retry-After": str(limits.stream_comment_seconds)},
            )

    @contextmanager
    def place(self, agent_id: str) -> Generator[None]:
        """One of the agent's places, for as long as the block takes."""
        self._open[agent_id] += 1
        try:
            yield
        finally:
            self._open[agent_id] -= 1
            if not self._open[agent_id]:
                del self._open[agent_id]

    async def follow(self, transaction: Transaction, listening: Listening) -> AsyncGenerator[bytes]:
        """Every entry as it comes, and a comment now and then, until the subscription ends or the time is over.

        Nothing, where others that were admitted at the same time have begun before it.
        """
        if self._is_full(listening.agent_id):
            return
        with self.place(listening.agent_id):
            async for each in self._pieces(transaction, listening):
                yield each

    def _is_full(self, agent_id: str) -> bool:
        return self._open[agent_id] >= limits.streams_per_agent_max

    async def _pieces(self, transaction: Transaction, listening: Listening) -> AsyncGenerator[bytes]:
        after = listening.after
        until = self._clock.monotonic() + limits.stream_seconds_max
        yield _comment
        while self._clock.monotonic() < until:
            async with transaction() as db:
                # Looked for again and again: it may have ended meanwhile.
                if await store.subscription(db, listening.agent_id, listening.subscription_id) is None:
                    return
                found = await feed_store.entries(db, listening.feed_id, after, limits.stream_page_max)
            for entry in found:
                yield piece(entry)
                after = entry.seq
            for _ in range(0 if found else limits.stream_comments_max):
                if await self._tail.moved(listening.feed_id, after, limits.stream_comment_seconds):
                    break
                yield _comment


def piece(entry: FeedEntry) -> bytes:
    """An entry as one server-sent event. Its body is compact JSON, which has no line breaks."""
    return f"id: {entry.seq}\nevent: {entry.type}\ndata: {entry.body}\n\n".encode()


def last_seen(last_event_id: str | None) -> int:
    """The number after which to go on."""
    if last_event_id is None or last_event_id == "":
        return 0
    if not _SEQ.fullmatch(last_event_id):
        raise InvalidCursor("Last-Event-ID is the id of an event of this stream: its seq")
    return int(last_event_id)
