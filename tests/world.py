"""The outside, as tests make it: a clock that they own, and agents that sign."""

import json as jsonlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncSession

from tocsin import signatures
from tocsin.keys import PrivateKey

EPOCH = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)
ORIGIN = "http://relay.test"
AUTHORITY = "relay.test"


class OwnClock:
    """A clock that stands still until the test moves it."""

    def __init__(self, at: datetime = EPOCH) -> None:
        self.at = at

    async def now(self, db: AsyncSession) -> datetime:
        return self.at

    def wall(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - EPOCH).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=max(0.0, seconds))

    def advance(self, **delta: float) -> None:
        """Move on, as `advance(minutes=5)`."""
        self.at += timedelta(**delta)


_numbers = count()


@dataclass
class TestAgent:
    """An agent with a key of its own, which signs what it sends through `http`."""

    __test__ = False

    http: httpx.AsyncClient
    clock: OwnClock
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    id: str = ""

    async def register(self, **members: Any) -> httpx.Response:
        """Register this agent's key."""
        answer = await self.post("/v1/agents", {"public_key": self.key.public.jwk, **members})
        if answer.status_code == 201:
            self.id = answer.json()["id"]
        return answer

    async def get(self, path: str) -> httpx.Response:
        return await self.call("GET", path)

    async def post(self, path: str, json: Any = None, **headers: str) -> httpx.Response:
        return await self.call("POST", path, json, headers)

    async def call(
        self, method: str, path: str, json: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Send one signed request; underscores in header names stand for hyphens."""
        return await self.http.send(self.signed(method, path, json, headers))

    def signed(self, method: str, path: str, json: Any = None, headers: dict[str, str] | None = None) -> httpx.Request:
        """A signed request, not yet sent. Bytes are sent as they are."""
        body = json if isinstance(json, bytes) else b"" if json is None else jsonlib.dumps(json).encode()
        named = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        created = self.clock.wall()
        added = signatures.sign(
            signatures.Request.of(method, f"{ORIGIN}{path}", named, body),
            self.key,
            created=created,
            expires=created + timedelta(seconds=60),
            nonce=f"test-nonce-{next(_numbers)}",
        )
        media_type = {"content-type": "application/json"} if body else {}
        return self.http.build_request(method, path, content=body, headers={**media_type, **named, **added})
