"""The same key and the same request give the same answer (draft-ietf-httpapi-idempotency-key-header-07).

A key belongs to its agent. The answer is kept in the transaction of the effect, so either both exist or neither does.
Only successes are kept: a refusal has changed nothing, and may be asked again. All of them are kept sealed: some show a
secret, which is shown this once, and nobody but us has to read any.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import JSON, Column, DateTime, Field, LargeBinary, SQLModel, col, func, select

from app.kit import limits
from app.kit.sealing import Keyring, Sealed
from tocsin.problems import IdempotencyConflict, IdempotencyKeyReused, InvalidIdempotencyKey

if TYPE_CHECKING:
    from app.kit.operations import Incoming

Kept = tuple[int, bytes, Mapping[str, str]]
_PURPOSE = "kept answer"
_KEY = re.compile(r'"(?P<quoted>[ !#-\[\]-~]+)"|(?P<bare>[A-Za-z0-9._:~/+=-]+)')


class KeptAnswer(SQLModel, table=True):
    """The answer that a key was given."""

    __tablename__ = "kept_answers"  # pyright: ignore[reportAssignmentType]

    agent_id: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    fingerprint: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    status: int
    headers: dict[str, str] = Field(sa_column=Column(JSON, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    sealed_with: str | None = None  # null: `body` is as releases before sealing left it
    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, index=True))


class KeptAnswers:
    """The answers that keys were given, as one process keeps and finds them."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def begin(self, db: AsyncSession, agent_id: str, incoming: "Incoming") -> Kept | None:
        """Take the key for this transaction, or return the answer it was given before. None also when there is no key.

        Raises IdempotencyConflict while a request with this key runs, IdempotencyKeyReused when it was another request.
        """
        if (key := key_of(incoming)) is None:
            return None
        # A transaction-level lock, so that a second request is refused at once instead of waiting for the first.
        lock = text("select pg_try_advisory_xact_lock(hashtextextended(:key, 0))")
        if not (await db.execute(lock, {"key": f"{agent_id}:{key}"})).scalar_one():
            raise IdempotencyConflict(headers={"Retry-After": "1"})
        return await self.find(db, agent_id, incoming)

    async def find(self, db: AsyncSession, agent_id: str, incoming: "Incoming") -> Kept | None:
        """The answer that this request's key was given before, if any."""
        if (key := key_of(incoming)) is None:
            return None
        kept = await db.get(KeptAnswer, (agent_id, key))
        if kept is None:
            return None
        if kept.fingerprint != _fingerprint(incoming):
            raise IdempotencyKeyReused
        return kept.status, _opened(kept, self._keyring), {**kept.headers, "idempotent-replayed": "true"}

    async def keep(self, db: AsyncSession, agent_id: str, incoming: "Incoming", answer: Kept, now: datetime) -> None:
        """Keep this answer for the request's key, if it has one."""
        if (key := key_of(incoming)) is None:
            return
        status, body, headers = answer
        kept = KeptAnswer(
            agent_id=agent_id,
            key=key,
            fingerprint=_fingerprint(incoming),
            status=status,
            headers=dict(headers),
            body=b"",
            expires_at=now + timedelta(hours=limits.idempotency_hours),
        )
        _seal(kept, body, self._keyring)
        db.add(kept)
        await db.flush()


async def reseal(db: AsyncSession, keyring: Keyring, limit: int) -> int:
    """Seal answers that are not sealed with the current key, at most `limit`. Returns how many; 0: none is left."""
    otherwise = col(KeptAnswer.sealed_with).is_distinct_from(keyring.current)
    question = select(KeptAnswer).where(otherwise).order_by(col(KeptAnswer.agent_id), col(KeptAnswer.key)).limit(limit)
    rows = (await db.scalars(question.with_for_update())).all()
    for kept in rows:
        _seal(kept, _opened(kept, keyring), keyring)
    await db.flush()
    return len(rows)


async def sealed_by(db: AsyncSession) -> Mapping[str | None, int]:
    """How many answers are sealed with each key; None: with none."""
    question = select(KeptAnswer.sealed_with, func.count()).group_by(col(KeptAnswer.sealed_with))
    return {key: count for key, count in await db.execute(question)}


async def forget_expired(db: AsyncSession, now: datetime) -> int:
    """Drop answers whose time is over. Returns how many."""
    dropped = await db.execute(text("delete from kept_answers where expires_at <= :now returning 1"), {"now": now})
    return len(dropped.all())


def key_of(incoming: "Incoming") -> str | None:
    """The request's idempotency key, however it is quoted; None when it has none. Raises InvalidIdempotencyKey."""
    value = incoming.headers.get("idempotency-key")
    if value is None:
        return None
    match = _KEY.fullmatch(value)
    if match is None or len(value) > limits.idempotency_key_chars_max:
        raise InvalidIdempotencyKey
    return match["quoted"] or match["bare"]


def _fingerprint(incoming: "Incoming") -> bytes:
    parts = [incoming.method, incoming.path, incoming.query, hashlib.sha256(incoming.body).hexdigest()]
    # On another condition, it is another request.
    parts += [f"{name}: {incoming.headers[name]}" for name in ("if-match", "if-none-match") if name in incoming.headers]
    return hashlib.sha256("\n".join(parts).encode()).digest()


def _seal(kept: KeptAnswer, body: bytes, keyring: Keyring) -> None:
    sealed = keyring.seal(body, _PURPOSE, _owner(kept))
    kept.body, kept.sealed_with = sealed.text.encode(), sealed.key


def _opened(kept: KeptAnswer, keyring: Keyring) -> bytes:
    if kept.sealed_with is None:
        return kept.body
    return keyring.open(Sealed(kept.sealed_with, kept.body.decode()), _PURPOSE, _owner(kept))


def _owner(kept: KeptAnswer) -> str:
    return f"{kept.agent_id}/{kept.key}"
