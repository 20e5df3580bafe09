"""What a relay can be asked, area by area. Each method is written once and serves both clients."""

from tocsin.client.calls import Area, C, Call, get, listing, operation, post
from tocsin.keys import PrivateKey, base64url, rotation_statement
from tocsin.schemas.agents import Agent, Jwk, NewAgent, RevokeKey, RotateKey
from tocsin.schemas.events import Event
from tocsin.schemas.wire import Page

__all__ = ["Agents", "Events"]


class Agents(Area[C]):
    """You."""

    @operation
    def register(self, key: PrivateKey, name: str | None = None) -> Call[Agent]:
        """Register the key that this client signs with."""
        return post("/v1/agents", Agent, NewAgent(public_key=_jwk(key), name=name))

    @operation
    def me(self) -> Call[Agent]:
        """Show the agent that this client's key speaks for."""
        return get("/v1/agents/me", Agent)

    @operation
    def rotate(self, me: Agent, new: PrivateKey) -> Call[Agent]:
        """Let a new key speak for you. This client still signs with the old one, which ends with the answer."""
        proof = base64url(new.sign(rotation_statement(me.id, me.keyid, new.public.keyid)))
        return post("/v1/agents/me/rotate", Agent, RotateKey(public_key=_jwk(new), proof=proof))

    @operation
    def revoke(self, reason: str | None = None) -> Call[Agent]:
        """End your key for good; no other follows it."""
        return post("/v1/agents/me/revoke", Agent, RevokeKey(reason=reason))


class Events(Area[C]):
    """What happened to your things."""

    @listing
    def list(self, kind: str | None = None, subject: str | None = None) -> Call[Page[Event]]:
        """What happened, oldest first."""
        return get("/v1/events", Page[Event], kind=kind, subject=subject, limit=100)


def _jwk(key: PrivateKey) -> Jwk:
    return Jwk(x=base64url(key.public.raw))
