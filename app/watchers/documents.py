"""Looking at a document: fetch it, unless it has not changed, and tell what each filter finds new in it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.attempts import retry_after
from app.kit import limits, telemetry
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.foreign_json import Unreadable
from app.kit.ids import Ids
from app.kit.outbound import Answer, Fault, Outbound
from app.kit.telemetry import metrics
from app.subscriptions.conditions import verdict
from app.subscriptions.models import Filter, Source
from app.subscriptions.service import Looked, Subscriptions
from app.subscriptions.telling import Seen
from app.watchers import store
from app.watchers.fetching import Misled, fetch
from app.watchers.media import Fetched, Medium
from app.watchers.models import Watcher
from app.watchers.pace import again_after
from app.watchers.rules import Judged, Memory
from tocsin.schemas.subscriptions import FetchPosition

log = telemetry.logger(__name__)


@dataclass(frozen=True, slots=True)
class Same:
    """The document is what it was."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """The document as it is now, and how to ask whether it changes."""

    value: Any
    sha256: str
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """No document that can be read, and how it asked to be left alone."""

    reason: str
    retry_after: str | None = None


Finding: TypeAlias = Same | Fresh | Failed


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a document says to one filter, which remembered this before; nothing yet where there was no time for it."""

    before: Memory | None
    result: Judged
    payloads: Sequence[Mapping[str, Any]] = ()
    in_time: bool = True


def finding(medium: Medium, url: str, result: Answer | Fault | Misled, known_sha256: str | None) -> Finding:
    """What an answer says of the document; `known_sha256` is that of the body which was read before."""
    if isinstance(result, Fault):
        return Failed(result.category)
    if isinstance(result, Misled):
        return Failed(result.reason)
    if result.status == 304 and known_sha256 is not None:
        return Same()
    if result.status != 200:
        return Failed(f"HTTP status {result.status}", _header(result, "retry-after"))
    if _header(result, "content-encoding") not in (None, "", "identity"):
        return Failed("the document is compressed, which was not asked for")
    if result.truncated:
        return Failed(f"the document has more than {medium.bytes_max} bytes")
    sha256 = hashlib.sha256(result.body).hexdigest()
    if sha256 == known_sha256:
        return Same()
    try:
        value = medium.read(result.body, _header(result, "content-type"), url)
    except Unreadable as unreadable:
        return Failed(str(unreadable))
    return Fresh(value, sha256, _validator(result, "etag"), _validator(result, "last-modified"))


class Documents:
    """The watcher of documents of one kind."""

    def __init__(
        self,
        medium: Medium,
        transaction: Transaction,
        clock: Clock,
        ids: Ids,
        subscriptions: Subscriptions,
        outbound: Outbound,
    ) -> None:
        self.kind = medium.kind
        self._medium = medium
        self._transaction = transaction
        self._clock = clock
        self._ids = ids
        self._subscriptions = subscriptions
        self._outbound = outbound

    async def look(self, taken: Source) -> bool:
        """Look once at a document that was taken; whether anything was told of it."""
        url: str = taken.params["url"]
        async with self._transaction() as db:
            watcher = await store.watcher(db, taken.id)
            known = await self._known(db, taken, watcher)
        got = await fetch(
            self._outbound,
            self._clock,
            url,
            _headers(self._medium, watcher if known is not None else None),
            seconds=limits.poll_timeout_seconds,
            bytes_max=self._medium.bytes_max,
        )
        # Reading and judging take as long as strangers make them, within bounds: others go on meanwhile, and nothing
        # is locked.
        found = await asyncio.to_thread(finding, self._medium, url, got.result, known)
        judged: Mapping[str, Judgement] = await self._judged(taken, found) if isinstance(found, Fresh) else {}
        # Nothing has changed so far. If we die here, the lease ends and somebody looks again.
        async with self._transaction() as db:
            held = await self._subscriptions.hold(db, taken)
            if held is None:
                return False
            now = await self._clock.now(db)
            if held.state == "starting" and isinstance(found, Fresh):
                await store.forget(db, held.id)
            told = await self._tell(db, held, found, judged, now) if isinstance(found, Fresh) else 0
            await self._conclude(db, held, watcher, found, now, got.calls)
        if not isinstance(found, Same):
            reason = found.reason if isinstance(found, Failed) else None
            log.info("looked at a document", source=taken.id, told=told, failed=reason)
        return told > 0

    async def _known(self, db: AsyncSession, taken: Source, watcher: Watcher) -> str | None:
        """The hash of the body that was read before; None when it has to be read in any case."""
        if taken.state == "starting" or await self._unread(db, taken.id) or await store.is_waiting(db, taken.id):
            return None
        return watcher.body_sha256

    async def _unread(self, db: AsyncSession, source_id: str) -> Collection[str]:
        """Filters that were added after the document was last read: what they find in it is not known yet."""
        wanted = await self._subscriptions.wanted(db, source_id)
        return {each.id for each in wanted} - await store.have_read(db, source_id)

    async def _judged(self, taken: Source, fresh: Fresh) -> Mapping[str, Judgement]:
        """What the document says to each filter that is there now. Whoever took the source is alone to judge it."""
        async with self._transaction() as db:
            fetched = Fetched(taken.params["url"], await self._clock.now(db), fresh.sha256)
            wanted = await self._subscriptions.wanted(db, taken.id)
            before: Mapping[str, Memory] = {} if taken.state == "starting" else await store.selections(db, taken.id)
        # Each time it is another's turn to be the first: those that time does not suffice for are not always the same.
        # Before all come those that ask no expression, and take no time.
        ordered = sorted(wanted, key=lambda each: each.id)
        first = taken.attempts % max(1, len(ordered))
        ordered = sorted((*ordered[first:], *ordered[:first]), key=_asks_an_expression)
        asked = [(each, before.get(each.id)) for each in ordered]
        return await asyncio.to_thread(self._judge, fresh, fetched, asked)

    def _judge(
        self, fresh: Fresh, fetched: Fetched, asked: Sequence[tuple[Filter, Memory | None]]
    ) -> Mapping[str, Judgement]:
        ends_at = self._clock.monotonic() + limits.judging_seconds_max
        judgements = dict[str, Judgement]()
        for each, memory in asked:
            if judgements and self._clock.monotonic() >= ends_at:
                late = Judged(memory or {}, trouble="all that is asked of this document takes too long")
                judgements[each.id] = Judgement(memory, late, in_time=False)
            else:
                judgements[each.id] = self._judgement(fresh, fetched, each, memory)
        return judgements

    def _judgement(self, fresh: Fresh, fetched: Fetched, wanted: Filter, memory: Memory | None) -> Judgement:
        result = self._medium.judge(fresh.value, wanted.spec, memory)
        payloads = self._medium.payloads(fresh.value, wanted.spec, fetched, result)
        return Judgement(memory, result, [payload for payload in payloads if self._is_met(wanted, payload)])

    def _is_met(self, wanted: Filter, payload: Mapping[str, Any]) -> bool:
        held = verdict(wanted.spec, payload)
        metrics.conditions_unknown.labels(self.kind).inc(held is None)
        return held is True

    async def _tell(
        self, db: AsyncSession, held: Source, fresh: Fresh, judged: Mapping[str, Judgement], now: datetime
    ) -> int:
        """Remember what every filter found, and tell what is new to it. Returns how much that was."""
        wanted = await self._subscriptions.wanted(db, held.id)
        # Without those that nobody wants any more. Those that came meanwhile are judged by the next look.
        known = [(each, judged[each.id]) for each in wanted if each.id in judged]
        seen = [
            Seen(self._ids.new("evt"), self.kind, [each.id], payload)
            for each, judgement in known
            for payload in judgement.payloads
        ]
        await self._subscriptions.tell(db, held, seen, now)
        changed = {each.id: new.result.memory for each, new in known if new.before != new.result.memory}
        await store.keep_selections(db, held.id, changed, [each.id for each in wanted])
        # Without them the next look reads the document for those that are left, though it may not have changed.
        is_read = all(judgement.in_time for _, judgement in known)
        validators = (fresh.etag, fresh.last_modified, fresh.sha256) if is_read else (None, None, None)
        await store.keep_validators(db, held.id, *validators)
        trouble = {each.id: judgement.result.trouble for each, judgement in known}
        await self._subscriptions.mark_trouble(db, held.id, trouble)
        return len(seen)

    async def _conclude(
        self, db: AsyncSession, held: Source, watcher: Watcher, found: Finding, now: datetime, calls: int
    ) -> None:
        interval: float = held.params["interval_seconds"]
        if isinstance(found, Failed):
            looked = Looked(held.state, now + _left_alone(interval, watcher.failures, found, now), held.state_reason)
        elif await self._unread(db, held.id):
            # Somebody subscribed while we asked whether it had changed, or judged it: it has to be read for them.
            looked = Looked(held.state, now)
        else:
            sha256 = found.sha256 if isinstance(found, Fresh) else watcher.body_sha256
            position = FetchPosition(fetched_at=now, body_sha256=sha256 or "").model_dump(mode="json")
            looked = Looked("active", now + timedelta(seconds=interval), position=position)
        error = found.reason if isinstance(found, Failed) else None
        await store.conclude_look(db, held.id, now=now, calls=calls, error=error)
        await self._subscriptions.conclude(db, held, looked, now)


def _asks_an_expression(wanted: Filter) -> bool:
    rule: Mapping[str, Any] = wanted.spec.get("rule", {})
    return wanted.spec.get("jmespath") is not None or rule.get("key") is not None


def _left_alone(interval: float, failures: int, failed: Failed, now: datetime) -> timedelta:
    """For how long nobody asks again: longer with each failure, and as long as the site wishes, within reason."""
    seconds = again_after(interval, failures, seconds_max=limits.look_again_seconds_max)
    asked = retry_after(failed.retry_after, now) or timedelta(0)
    return max(timedelta(seconds=seconds), min(asked, timedelta(seconds=limits.retry_after_seconds_max)))


def _headers(medium: Medium, watcher: Watcher | None) -> dict[str, str]:
    headers = {"accept": medium.accept, "accept-encoding": "identity"}
    if watcher is not None and watcher.etag is not None:
        headers["if-none-match"] = watcher.etag
    if watcher is not None and watcher.last_modified is not None:
        headers["if-modified-since"] = watcher.last_modified
    return headers


def _validator(answer: Answer, name: str) -> str | None:
    """A validator to be sent back as it came; None where it is nothing that a header may hold."""
    value = _header(answer, name)
    is_sendable = (
        value is not None and len(value) <= limits.validator_chars_max and value.isascii() and value.isprintable()
    )
    return value if is_sendable else None


def _header(answer: Answer, name: str) -> str | None:
    return next((value for header, value in answer.headers.items() if header.lower() == name), None)
