"""Looking at a JSON document: fetch it, unless it has not changed, and tell which selected values have."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy.ext.asyncio import AsyncSession

from app.kit import limits, telemetry
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.ids import Ids
from app.kit.outbound import Answer, Fault, Outbound
from app.subscriptions.models import Source
from app.subscriptions.service import Looked, Subscriptions
from app.subscriptions.telling import Seen
from app.watchers import store
from app.watchers.models import Watcher
from app.watchers.pace import again_after
from app.watchers.selection import Json, Unreadable, read, select
from tocsin.schemas.subscriptions import FetchPosition
from tocsin.schemas.watchers import JsonChanged, Selected

log = telemetry.logger(__name__)


@dataclass(frozen=True, slots=True)
class Same:
    """The document is what it was."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """The document as it is now, and how to ask whether it changes."""

    value: Json
    sha256: str
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """No document that can be read."""

    reason: str


Finding: TypeAlias = Same | Fresh | Failed


def finding(answer: Answer | Fault, known_sha256: str | None) -> Finding:
    """What an answer says of the document; `known_sha256` is that of the body which was read before."""
    if isinstance(answer, Fault):
        return Failed(answer.category)
    if answer.status == 304 and known_sha256 is not None:
        return Same()
    if answer.status != 200:
        followed = "; redirects are not followed" if 300 <= answer.status < 400 else ""
        return Failed(f"HTTP status {answer.status}{followed}")
    if answer.truncated:
        return Failed(f"the document has more than {limits.document_bytes_max} bytes")
    sha256 = hashlib.sha256(answer.body).hexdigest()
    if sha256 == known_sha256:
        return Same()
    try:
        value = read(answer.body)
    except Unreadable as unreadable:
        return Failed(str(unreadable))
    return Fresh(value, sha256, _validator(answer, "etag"), _validator(answer, "last-modified"))


class Documents:
    """The watcher of JSON documents."""

    kind = "http.json"

    def __init__(
        self, transaction: Transaction, clock: Clock, ids: Ids, subscriptions: Subscriptions, outbound: Outbound
    ) -> None:
        self._transaction = transaction
        self._clock = clock
        self._ids = ids
        self._subscriptions = subscriptions
        self._outbound = outbound

    async def look(self, taken: Source) -> bool:
        """Look once at a document that was taken; whether anything was told of it."""
        async with self._transaction() as db:
            watcher = await store.watcher(db, taken.id)
            known = await self._known(db, taken, watcher)
        answer = await self._outbound.get(
            taken.params["url"],
            _headers(watcher if known is not None else None),
            timeout_seconds=limits.poll_timeout_seconds,
            body_bytes_max=limits.document_bytes_max,
        )
        found = finding(answer, known)
        # Nothing has changed so far. If we die here, the lease ends and somebody looks again.
        async with self._transaction() as db:
            held = await self._subscriptions.hold(db, taken)
            if held is None:
                return False
            now = await self._clock.now(db)
            if held.state == "starting" and isinstance(found, Fresh):
                await store.forget(db, held.id)
            told = await self._tell(db, held, found, now) if isinstance(found, Fresh) else 0
            await self._conclude(db, held, watcher, found, now)
        if not isinstance(found, Same):
            reason = found.reason if isinstance(found, Failed) else None
            log.info("looked at a document", source=taken.id, told=told, failed=reason)
        return told > 0

    async def _known(self, db: AsyncSession, taken: Source, watcher: Watcher) -> str | None:
        """The hash of the body that was read before; None when it has to be read in any case."""
        if taken.state == "starting" or await self._unread(db, taken.id):
            return None
        return watcher.body_sha256

    async def _unread(self, db: AsyncSession, source_id: str) -> Collection[str]:
        """Filters that were added after the document was last read: what they select is not known yet."""
        wanted = await self._subscriptions.wanted(db, source_id)
        return {each.id for each in wanted} - set(await store.selections(db, source_id))

    async def _tell(self, db: AsyncSession, held: Source, fresh: Fresh, now: datetime) -> int:
        """Remember what every filter selects, and tell what has changed. Returns how much that was."""
        before = await store.selections(db, held.id)
        wanted = {each.id: each.spec["pointer"] for each in await self._subscriptions.wanted(db, held.id)}
        selected = {filter_id: select(fresh.value, pointer) for filter_id, pointer in wanted.items()}
        changed = [
            Seen(self._ids.new("evt"), "http.json", [filter_id], payload)
            for filter_id, payload in _changes(held.params["url"], wanted, before, selected, fresh.sha256, now)
        ]
        await self._subscriptions.tell(db, held, changed, now)
        kept = {filter_id: each.model_dump(mode="json") for filter_id, each in selected.items()}
        await store.keep_selections(db, held.id, kept)
        await store.keep_validators(db, held.id, fresh.etag, fresh.last_modified, fresh.sha256)
        return len(changed)

    async def _conclude(self, db: AsyncSession, held: Source, watcher: Watcher, found: Finding, now: datetime) -> None:
        interval: float = held.params["interval_seconds"]
        if isinstance(found, Failed):
            seconds = again_after(interval, watcher.failures, seconds_max=limits.look_again_seconds_max)
            looked = Looked(held.state, now + timedelta(seconds=seconds), held.state_reason)
        elif isinstance(found, Same) and await self._unread(db, held.id):
            # Somebody subscribed while we asked whether it had changed: it has to be read for them.
            looked = Looked(held.state, now)
        else:
            sha256 = found.sha256 if isinstance(found, Fresh) else watcher.body_sha256
            position = FetchPosition(fetched_at=now, body_sha256=sha256 or "").model_dump(mode="json")
            looked = Looked("active", now + timedelta(seconds=interval), position=position)
        error = found.reason if isinstance(found, Failed) else None
        await store.conclude_look(db, held.id, now=now, calls=1, error=error)
        await self._subscriptions.conclude(db, held, looked, now)


def _changes(
    url: str,
    wanted: Mapping[str, str],
    before: Mapping[str, Mapping[str, Any]],
    selected: Mapping[str, Selected],
    sha256: str,
    now: datetime,
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The filters whose value is another than before, with what to tell. The first value of a filter is no change."""
    for filter_id, current in selected.items():
        previous = Selected.model_validate(before[filter_id]) if filter_id in before else None
        if previous is not None and (previous.found, previous.sha256) != (current.found, current.sha256):
            changed = JsonChanged(
                url=url,
                pointer=wanted[filter_id],
                fetched_at=now,
                body_sha256=sha256,
                current=current,
                previous=previous,
            )
            yield filter_id, changed.model_dump(mode="json")


def _headers(watcher: Watcher | None) -> dict[str, str]:
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    if watcher is not None and watcher.etag is not None:
        headers["if-none-match"] = watcher.etag
    if watcher is not None and watcher.last_modified is not None:
        headers["if-modified-since"] = watcher.last_modified
    return headers


def _validator(answer: Answer, name: str) -> str | None:
    """A validator to be sent back as it came; None where it is nothing that a header may hold."""
    value = next((value for header, value in answer.headers.items() if header.lower() == name), None)
    is_sendable = (
        value is not None and len(value) <= limits.validator_chars_max and value.isascii() and value.isprintable()
    )
    return value if is_sendable else None
