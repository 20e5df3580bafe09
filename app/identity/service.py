"""The verbs of identity: register, rotate, revoke, and recognise who signed a request."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.events import Happened, record
from app.identity import store
from app.identity.models import Agent as AgentRow
from app.identity.models import AgentKey
from app.kit import idempotency
from app.kit.clock import Clock
from app.kit.ids import Ids
from app.kit.operations import Caller, Incoming
from app.settings import IdentitySettings
from tocsin import signatures
from tocsin.keys import PublicKey, base64url, rotation_statement, unbase64url
from tocsin.problems import (
    AlreadyRegistered,
    InvalidBody,
    RegistrationClosed,
    ReplayedNonce,
    RevokedKey,
    UnknownKey,
)
from tocsin.schemas.agents import Agent, Jwk, NewAgent, RevokeKey, RotateKey
from tocsin.signatures import Request, Signature


class Identity:
    """Agents and their keys. Implements the door's `Authenticator`."""

    def __init__(self, clock: Clock, ids: Ids, settings: IdentitySettings, authorities: frozenset[str]) -> None:
        self._clock = clock
        self._ids = ids
        self._settings = settings
        self._authorities = authorities

    async def authenticate(self, db: AsyncSession, incoming: Incoming, now: datetime) -> Caller:
        """The agent whose live key signed this request. Remembers the nonce of a write. Raises `Unauthorized`."""
        request = _request(incoming)
        signature = signatures.parse(request)
        key = await store.key(db, signature.keyid)
        if key is None:
            raise UnknownKey
        self._verified(request, signature, PublicKey(unbase64url(key.public_key)), now)
        # Only now: whether a key was ever known is nobody's business but its holder's.
        if key.retired_at is not None:
            raise RevokedKey
        if incoming.method not in {"GET", "HEAD"}:
            await self._use_nonce(db, signature)
        return Caller(id=key.agent_id, keyid=signature.keyid)

    async def remember(self, db: AsyncSession, incoming: Incoming, caller: Caller) -> None:
        """Remember the nonce of a request that was refused after its signature had been found good."""
        signature = signatures.parse(_request(incoming))
        await store.use_nonce(db, signature.keyid, signature.nonce, signature.nonce_until)

    async def register(self, db: AsyncSession, incoming: Incoming, body: NewAgent, now: datetime) -> Agent:
        """Register the key that signed this very request."""
        key = body.key()
        request = _request(incoming)
        # Signed by the key that is registered: nobody can register a key that is not theirs.
        signature = self._verified(request, signatures.parse(request), key, now)
        if self._settings.registration == "allowlist" and key.keyid not in self._settings.allowlist:
            raise RegistrationClosed
        await self._use_nonce(db, signature)
        agent = AgentRow(id=self._ids.new("agt"), name=body.name, created_at=now)
        db.add(agent)
        await db.flush()
        await self._add_key(db, agent.id, key, now)
        await record(db, Happened("agent.registered", agent.id, agent.id, now, {"keyid": key.keyid}))
        return _shown(agent, key)

    async def me(self, db: AsyncSession, caller: Caller) -> Agent:
        """The agent that asks."""
        agent = await store.agent(db, caller.id)
        assert agent is not None, "a key belongs to an agent"
        key = await store.latest_key(db, agent.id)
        return _shown(agent, PublicKey(unbase64url(key.public_key)))

    async def rotate(self, db: AsyncSession, caller: Caller, body: RotateKey, now: datetime) -> Agent:
        """Let a new key speak for the agent from now on. The old one signed the request, the new one the proof."""
        new = body.key()
        if not new.verify(rotation_statement(caller.id, caller.keyid, new.keyid), unbase64url(body.proof)):
            raise InvalidBody.at("/proof", "this is not the new key's signature over the rotation statement")
        await self._retire(db, caller, now)
        await self._add_key(db, caller.id, new, now)
        await record(db, Happened("agent.rotated", caller.id, caller.id, now, {"from": caller.keyid, "to": new.keyid}))
        return await self.me(db, caller)

    async def revoke(self, db: AsyncSession, caller: Caller, body: RevokeKey, now: datetime) -> Agent:
        """End the agent's key for good, with no other to follow it."""
        await self._retire(db, caller, now)
        agent = await store.agent(db, caller.id)
        assert agent is not None, "a key belongs to an agent"
        agent.revoked_at = now
        await record(
            db, Happened("agent.revoked", caller.id, caller.id, now, {"keyid": caller.keyid, "reason": body.reason})
        )
        return await self.me(db, caller)

    async def forget(self, db: AsyncSession, now: datetime) -> int:
        """Drop nonces and kept answers whose time is over. Returns how many."""
        return await store.forget_nonces(db, now) + await idempotency.forget_expired(db, now)

    def _verified(self, request: Request, signature: Signature, key: PublicKey, now: datetime) -> Signature:
        # The authority is held against the settings: a Host header says only what its sender wrote.
        return signatures.verify(request, key, now=now, signature=signature, authorities=self._authorities)

    async def _use_nonce(self, db: AsyncSession, signature: Signature) -> None:
        if not await store.use_nonce(db, signature.keyid, signature.nonce, signature.nonce_until):
            raise ReplayedNonce

    async def _add_key(self, db: AsyncSession, agent_id: str, key: PublicKey, now: datetime) -> None:
        new = AgentKey(keyid=key.keyid, agent_id=agent_id, public_key=base64url(key.raw), created_at=now)
        if not await store.add_key(db, new):
            raise AlreadyRegistered

    async def _retire(self, db: AsyncSession, caller: Caller, now: datetime) -> None:
        """End the caller's key. Two at once: the second waits, then finds its key retired."""
        live = await store.live_key(db, caller.id)
        if live is None or live.keyid != caller.keyid:
            raise RevokedKey
        live.retired_at = now
        await db.flush()


def _request(incoming: Incoming) -> Request:
    """The request as the signature covers it."""
    return Request(
        method=incoming.method,
        authority=incoming.authority.lower(),
        path=incoming.path,
        query=incoming.query,
        fields=incoming.headers,
        body=incoming.body,
    )


def _shown(agent: AgentRow, key: PublicKey) -> Agent:
    return Agent(
        id=agent.id,
        name=agent.name,
        keyid=key.keyid,
        public_key=Jwk(**key.jwk),  # pyright: ignore[reportArgumentType]
        created_at=agent.created_at,
        revoked_at=agent.revoked_at,
    )
