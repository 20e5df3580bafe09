"""The secrets of an endpoint: sealed in its row, opened in memory, several alive while one replaces another.

A row keeps them as JSON, the one that signs first in front: `[{"key", "sealed", "created_at", "expires_at"}]`. Releases
before sealing left one text as it is, `whsec_…`; it works until it is sealed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson

from app.kit import limits
from app.kit.sealing import Keyring, Sealed
from tocsin import webhooks

__all__ = ["Entry", "Secrets", "alive", "stored", "stored_headers"]

Entry = dict[str, Any]
"""One sealed secret, as it stands in the row."""

_SECRET = "endpoint secret"
_HEADERS = "endpoint headers"


@dataclass(frozen=True, slots=True)
class _Opened:
    """What signs, and until when."""

    secret: bytes = field(repr=False)
    expires_at: datetime | None


class Secrets:
    """Seals what endpoints' owners entrust to us, and opens it where it is needed."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        # Opened once, not for each of the thousands of rings that it signs; found again by the very text of its row.
        self._opened = lru_cache(maxsize=limits.secrets_opened_max)(self._open_all)
        self._headers = lru_cache(maxsize=limits.secrets_opened_max)(self._open_headers)

    def signing(self, endpoint_id: str, stored: str, at: datetime) -> Sequence[bytes]:
        """The secrets that sign at this time, the current one first. `stored` is the row's own text: see `stored`."""
        opened = self._opened(endpoint_id, stored)
        return [each.secret for each in opened if each.expires_at is None or each.expires_at > at]

    def headers(self, endpoint_id: str, stored: str | None) -> Mapping[str, str]:
        """What is sent along to this endpoint. `stored` is the row's JSON as text."""
        return {} if stored in (None, "null") else self._headers(endpoint_id, stored)

    def seal(self, endpoint_id: str, secret: str, created_at: datetime) -> Entry:
        """A secret as it is stored, without an end."""
        sealed = self._keyring.seal(secret.encode(), _SECRET, endpoint_id)
        return {"key": sealed.key, "sealed": sealed.text, "created_at": created_at.isoformat(), "expires_at": None}

    def seal_headers(self, endpoint_id: str, headers: Mapping[str, str]) -> Entry | None:
        """Headers as they are stored; None for none."""
        if not headers:
            return None
        sealed = self._keyring.seal(orjson.dumps(headers), _HEADERS, endpoint_id)
        return {"key": sealed.key, "sealed": sealed.text}

    def replaced(
        self, endpoint_id: str, entries: Sequence[Entry], secret: str, overlap_seconds: int, now: datetime
    ) -> list[Entry]:
        """These entries with a new secret in front. Those before it end with the overlap, or sooner where they do."""
        ends_at = now + timedelta(seconds=overlap_seconds)
        before = [
            {**entry, "expires_at": min(_moment(entry["expires_at"]) or ends_at, ends_at).isoformat()}
            for entry in alive(entries, now)
            # One that is taken up again is new from now on.
            if overlap_seconds and self.text(endpoint_id, entry) != secret
        ]
        return [self.seal(endpoint_id, secret, now), *before]

    def text(self, endpoint_id: str, entry: Entry) -> str:
        """The secret itself."""
        return self._keyring.open(Sealed(entry["key"], entry["sealed"]), _SECRET, endpoint_id).decode()

    def handed_over(self, endpoint_id: str, entries: Sequence[Entry], to: str) -> list[Entry]:
        """These entries, as another endpoint has them."""
        return [self._sealed_for(to, entry, _SECRET, endpoint_id) for entry in entries]

    def headers_handed_over(self, endpoint_id: str, headers: Entry | None, to: str) -> Entry | None:
        """These headers, as another endpoint has them."""
        return None if headers is None else self._sealed_for(to, headers, _HEADERS, endpoint_id)

    def resealed(self, endpoint_id: str, entries: Sequence[Entry]) -> list[Entry]:
        """These entries under the current key."""
        return [self._resealed(entry, _SECRET, endpoint_id) for entry in entries]

    def resealed_headers(self, endpoint_id: str, headers: Entry | None) -> Entry | None:
        """These headers under the current key."""
        return None if headers is None else self._resealed(headers, _HEADERS, endpoint_id)

    def _resealed(self, entry: Entry, purpose: str, owner: str) -> Entry:
        return entry if entry["key"] == self._keyring.current else self._sealed_for(owner, entry, purpose, owner)

    def _sealed_for(self, to: str, entry: Entry, purpose: str, owner: str) -> Entry:
        opened = self._keyring.open(Sealed(entry["key"], entry["sealed"]), purpose, owner)
        again = self._keyring.seal(opened, purpose, to)
        return {**entry, "key": again.key, "sealed": again.text}

    def _open_all(self, endpoint_id: str, stored: str) -> Sequence[_Opened]:
        if not stored.startswith("["):
            return [_Opened(webhooks.parse_secret(stored), None)]
        return [
            _Opened(webhooks.parse_secret(self.text(endpoint_id, entry)), _moment(entry["expires_at"]))
            for entry in orjson.loads(stored)
        ]

    def _open_headers(self, endpoint_id: str, stored: str) -> Mapping[str, str]:
        entry = orjson.loads(stored)
        return orjson.loads(self._keyring.open(Sealed(entry["key"], entry["sealed"]), _HEADERS, endpoint_id))


def alive(entries: Sequence[Entry], now: datetime) -> Sequence[Entry]:
    """Those that have not ended."""
    return [entry for entry in entries if (ends := _moment(entry["expires_at"])) is None or ends > now]


def stored(secret: str | None, entries: Sequence[Entry]) -> str:
    """What a row's two columns hold, as the one text that `coalesce(secret, cast(secrets as text))` is in SQL."""
    return secret if secret is not None else orjson.dumps(entries).decode()


def stored_headers(entry: Entry | None) -> str | None:
    """What a row's column holds, as the text that `cast(headers as text)` is in SQL."""
    return None if entry is None else orjson.dumps(entry).decode()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
