"""Inboxes: URLs that other services post their webhooks to. What is verified is told like anything else that is seen.

An inbox is a source that nobody polls. Its token is in nobody's hands but its owner's and the sender's; here it is
found by its hash, and opened only to be shown to its owner.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from math import ceil
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.bucket import Bucket, taken
from app.kit import limits
from app.kit.ids import Ids
from app.kit.operations import Incoming, require
from app.kit.sealing import Keyring, Sealed
from app.kit.telemetry import metrics
from app.subscriptions import inbox_book, store
from app.subscriptions.conditions import verdict
from app.subscriptions.inbox_terms import payload_of, same_as, sha256, token_of
from app.subscriptions.models import Inbox as Row
from app.subscriptions.models import Source
from app.subscriptions.telling import Seen
from app.subscriptions.verifying import Terms, expected, is_secret, verify
from tocsin.problems import InvalidBody, TooManyRequests, UnsupportedMediaType, UnverifiedWebhook
from tocsin.schemas.subscriptions import InboxPosition, Subscription
from tocsin.schemas.web import Inbox

__all__ = ["Accepted", "Inboxes", "reseal"]

_PURPOSE = "inbox"
_PATH = "/v1/inbox/"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A webhook that was verified: what to tell of it, on a source that is locked.

    Nothing where it came before, or where it is not what was asked for.
    """

    source: Source
    event_id: str
    is_known: bool
    seen: Seen | None = None


class Inboxes:
    """Opens inboxes, shows them to their owners, and takes what is posted to them."""

    def __init__(self, ids: Ids, keyring: Keyring, origin: str, bytes_per_day_max: int) -> None:
        self._ids = ids
        self._keyring = keyring
        self._origin = origin
        self._bytes_per_day_max = bytes_per_day_max

    def possible(self, wanted: Inbox) -> Inbox:
        """The wish with a URL of its own. Raises what has to be changed about it."""
        if wanted.url is not None:
            raise InvalidBody.at("/source/url", "leave it out: the relay makes the URL")
        verification = wanted.verify
        if verification.scheme == "none" and verification.secret is not None:
            raise InvalidBody.at("/source/verify/secret", "leave it out: with the scheme none nothing is verified")
        if verification.scheme != "none" and not is_secret(verification.scheme, verification.secret or ""):
            raise InvalidBody.at("/source/verify/secret", _SECRETS.get(verification.scheme, _SECRETS[""]))
        return wanted.model_copy(update={"url": self._url(secrets.token_urlsafe(32))})

    async def open(self, db: AsyncSession, source_id: str, agent_id: str, wanted: Inbox, now: datetime) -> None:
        """Open the inbox of a source that is new, and locked. From its commit on it takes what is posted."""
        token = token_of(wanted)
        kept = orjson.dumps({"token": token, "secret": wanted.verify.secret})
        sealed = self._keyring.seal(kept, _PURPOSE, source_id)
        row = Row(
            source_id=source_id,
            agent_id=agent_id,
            token_sha256=sha256(token.encode()),
            sealed_with=sealed.key,
            sealed=sealed.text,
            created_at=now,
        )
        position = InboxPosition(opened_at=now).model_dump(mode="json")
        await inbox_book.add(db, row, position)

    async def shown(self, db: AsyncSession, subscription: Subscription) -> Subscription:
        """A subscription with the URL of its inbox, if it is to one. For its owner's eyes."""
        if not isinstance(subscription.source, Inbox):
            return subscription
        row = require(await inbox_book.of_source(db, subscription.source_id), "inbox")
        source = subscription.source.model_copy(update={"url": self._url(self._opened(row)["token"])})
        return subscription.model_copy(update={"source": source})

    async def accept(self, db: AsyncSession, token: str, incoming: Incoming, now: datetime) -> Accepted:
        """Take what was posted to the inbox of this token. Raises the refusal, which changes nothing."""
        row = require(await inbox_book.by_token(db, sha256(token.encode())), "inbox")
        if incoming.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise UnsupportedMediaType("send the body as it is, without Content-Encoding")
        source = require(await store.source(db, row.source_id), "inbox")
        terms = Terms(**source.params["verify"])
        verified = verify(terms, self._opened(row)["secret"], incoming.headers, incoming.body, now)
        if verified is None:
            raise UnverifiedWebhook(f"expected: {expected(terms)}")
        # Locked from here, in the order of all who tell: the source, then what belongs to it.
        source = await store.lock_source(db, row.source_id)
        await self._spend(db, row.source_id, 1 + len(incoming.body) // limits.inbox_event_bytes, now)
        event_id = self._ids.new("evt")
        known = await inbox_book.remember(db, source.id, *same_as(verified, incoming.body, now), event_id, now)
        if known is not None:
            return Accepted(source, known, is_known=True)
        await self._require_room(db, row.agent_id, len(incoming.body) + limits.inbox_event_bytes_more, now)
        payload = payload_of(incoming.headers, incoming.body, terms.scheme, now)
        verdicts = {each.id: verdict(each.spec, payload) for each in await store.filters(db, source.id)}
        metrics.conditions_unknown.labels("inbox").inc(list(verdicts.values()).count(None))
        met = [filter_id for filter_id, held in verdicts.items() if held]
        seen = Seen(event_id, "inbox", met, payload) if met else None
        return Accepted(source, event_id, is_known=False, seen=seen)

    async def _spend(self, db: AsyncSession, source_id: str, wanted: int, now: datetime) -> None:
        """Count one more, which counts as so many, within the rate of one inbox."""
        # Ended meanwhile: then it is as if it had never been.
        row = require(await inbox_book.of_source(db, source_id), "inbox")
        before = None if row.filled_at is None else Bucket(row.tokens, row.filled_at)
        granted, bucket = taken(before, limits.inbox_events_per_second, wanted, now)
        if granted < wanted:
            # What it holds fills up within a second.
            raise TooManyRequests(
                f"an inbox takes {limits.inbox_events_per_second} webhooks a second; one of more than "
                f"{limits.inbox_event_bytes} bytes counts as several",
                headers={"Retry-After": "1"},
            )
        await inbox_book.keep_bucket(db, source_id, bucket.tokens, bucket.at)

    async def _require_room(self, db: AsyncSession, agent_id: str, size: int, now: datetime) -> None:
        """Refuse more than the inboxes of one agent may take in a day: all of it is kept for weeks."""
        today = now.astimezone(UTC).date()
        if await inbox_book.has_room(db, agent_id, today, size, self._bytes_per_day_max):
            return
        tomorrow = datetime.combine(today + timedelta(days=1), time(), UTC)
        raise TooManyRequests(
            f"the inboxes of one agent take {self._bytes_per_day_max} bytes a day (UTC), and these have",
            headers={"Retry-After": str(ceil((tomorrow - now).total_seconds()))},
        )

    def _opened(self, row: Row) -> Mapping[str, Any]:
        return orjson.loads(self._keyring.open(Sealed(row.sealed_with, row.sealed), _PURPOSE, row.source_id))

    def _url(self, token: str) -> str:
        return f"{self._origin}{_PATH}{token}"


async def reseal(db: AsyncSession, keyring: Keyring, limit: int) -> int:
    """Seal inboxes that are not sealed with the current key, at most `limit`. Returns how many; 0: none is left."""
    rows = await inbox_book.sealed_otherwise(db, keyring.current, limit)
    for row in rows:
        opened = keyring.open(Sealed(row.sealed_with, row.sealed), _PURPOSE, row.source_id)
        row.sealed_with, row.sealed = keyring.seal(opened, _PURPOSE, row.source_id)
    await db.flush()
    return len(rows)


_SECRETS = {
    "standard-webhooks": "give the sender's secret: whsec_ and the base64 of 24 to 64 bytes",
    "": "give the secret that the sender signs with, 8 to 500 characters; for nothing to be verified: the scheme none",
}
