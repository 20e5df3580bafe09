"""The same key and the same request give the same answer (draft-ietf-httpapi-idempotency-key-header-07).

A key belongs to its agent. The answer is kept in the transaction of the effect, so either both exist or neither does.
Only successes are kept: a refusal has changed nothing, and may be asked again. All of them are kept sealed: some show a
secret, which is shown this once, and nobody but us has to read any.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import orjson
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import JSON, Column, DateTime, Field, LargeBinary, SQLModel, col, func, select

from app.kit import limits
from app.kit.sealing import Keyring, Sealed
from app.kit.sql import sql
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
        # A lock of the transaction: a second request is refused at once, and does not wait for the first. One that
        # commits after this statement has begun and before it has the lock is not seen here. What it did may refuse us,
        # or `keep` does, as it meets its answer; who is refused looks for that once more.
        statement = sql(
            f"""
            select pg_try_advisory_xact_lock(hashtextextended(:lock, 0)), {_columns}
            from (select) as always left join kept_answers k on k.agent_id = :agent_id and k.key = :key
            """
        )
        values = {"lock": f"{agent_id}:{key}", "agent_id": agent_id, "key": key}
        [is_ours, *columns] = (await db.execute(statement, values)).one()
        if not is_ours:
            raise _conflict()
        return self._given(incoming, f"{agent_id}/{key}", _Row._make(columns))

    async def find(self, db: AsyncSession, agent_id: str, incoming: "Incoming") -> Kept | None:
        """The answer that this request's key was given before, if any."""
        if (key := key_of(incoming)) is None:
            return None
        statement = sql(f"select {_columns} from kept_answers k where k.agent_id = :agent_id and k.key = :key")
        row = (await db.execute(statement, {"agent_id": agent_id, "key": key})).one_or_none()
        return None if row is None else self._given(incoming, f"{agent_id}/{key}", _Row._make(row))

    async def keep(self, db: AsyncSession, agent_id: str, incoming: "Incoming", answer: Kept, now: datetime) -> None:
        """Keep this answer for the request's key, if it has one. Raises IdempotencyConflict where it has one by now."""
        if (key := key_of(incoming)) is None:
            return
        status, body, headers = answer
        sealed = self._keyring.seal(body, _PURPOSE, f"{agent_id}/{key}")
        values = {
            "agent_id": agent_id,
            "key": key,
            "fingerprint": _fingerprint(incoming),
            "status": status,
            "headers": orjson.dumps(dict(headers)).decode(),
            "body": sealed.text.encode(),
            "sealed_with": sealed.key,
            "expires_at": now + timedelta(hours=limits.idempotency_hours),
        }
        statement = sql(
            """
            insert into kept_answers (agent_id, key, fingerprint, status, headers, body, sealed_with, expires_at)
            values (:agent_id, :key, :fingerprint, :status, cast(:headers as json), :body, :sealed_with, :expires_at)
            on conflict do nothing returning 1
            """
        )
        if (await db.execute(statement, values)).first() is None:
            raise _conflict()

    def _given(self, incoming: "Incoming", owner: str, row: "_Row") -> Kept | None:
        if row.fingerprint is None:
            return None
        if row.fingerprint != _fingerprint(incoming):
            raise IdempotencyKeyReused
        body = _opened(row.body, row.sealed_with, owner, self._keyring)
        return row.status, body, {**orjson.loads(row.headers), "idempotent-replayed": "true"}


class _Row(NamedTuple):
    """A kept answer as it is read; all None: there is none."""

    fingerprint: bytes | None
    status: int
    headers: str
    body: bytes
    sealed_with: str | None


_columns = "k.fingerprint, k.status, cast(k.headers as text), k.body, k.sealed_with"


async def reseal(db: AsyncSession, keyring: Keyring, limit: int) -> int:
    """Seal answers that are not sealed with the current key, at most `limit`. Returns how many; 0: none is left."""
    otherwise = col(KeptAnswer.sealed_with).is_distinct_from(keyring.current)
    question = select(KeptAnswer).where(otherwise).order_by(col(KeptAnswer.agent_id), col(KeptAnswer.key)).limit(limit)
    rows = (await db.scalars(question.with_for_update())).all()
    for kept in rows:
        owner = f"{kept.agent_id}/{kept.key}"
        sealed = keyring.seal(_opened(kept.body, kept.sealed_with, owner, keyring), _PURPOSE, owner)
        kept.body, kept.sealed_with = sealed.text.encode(), sealed.key
    await db.flush()
    return len(rows)


async def sealed_by(db: AsyncSession) -> Mapping[str | None, int]:
    """How many answers are sealed with each key; None: with none."""
    question = select(KeptAnswer.sealed_with, func.count()).group_by(col(KeptAnswer.sealed_with))
    return {key: count for key, count in await db.execute(question)}


async def forget_expired(db: AsyncSession, now: datetime) -> int:
    """Drop answers whose time is over. Returns how many."""
    dropped = await db.execute(sql("delete from kept_answers where expires_at <= :now returning 1"), {"now": now})
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


def _conflict() -> IdempotencyConflict:
    return IdempotencyConflict(headers={"Retry-After": "1"})


def _opened(body: bytes, sealed_with: str | None, owner: str, keyring: Keyring) -> bytes:
    return body if sealed_with is None else keyring.open(Sealed(sealed_with, body.decode()), _PURPOSE, owner)
