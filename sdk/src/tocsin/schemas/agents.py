"""Agents and their keys."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import Field, model_validator

from tocsin.keys import PublicKey
from tocsin.problems import InvalidKey
from tocsin.schemas.wire import Name, Timestamp, Wire

__all__ = ["Agent", "Jwk", "NewAgent", "RevokeKey", "RotateKey"]

KeyId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$", description="RFC 7638 thumbprint of a key.")]


class Jwk(Wire):
    """An Ed25519 public key (RFC 8037)."""

    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    x: str = Field(min_length=43, max_length=43, description="The 32 bytes of the key in base64url.")
    kid: str | None = Field(default=None, max_length=200)
    use: str | None = Field(default=None, max_length=20)
    alg: str | None = Field(default=None, max_length=20)

    @model_validator(mode="before")
    @classmethod
    def _is_public(cls, value: Any) -> Any:
        members: Any = value
        if isinstance(members, Mapping) and "d" in cast(Mapping[str, Any], members):
            raise ValueError("d is the private part: never send it, and use another key from now on")
        return value


GivenKey = Annotated[
    Jwk | Annotated[str, Field(min_length=43, max_length=43)],
    Field(description="An Ed25519 public key: a JWK, or its 32 bytes in base64url."),
]


def _parsed(given: Jwk | str, pointer: str) -> PublicKey:
    try:
        return PublicKey.parse(given if isinstance(given, str) else given.x)
    except InvalidKey as refusal:
        raise InvalidKey.at(pointer, refusal.errors[0]["detail"]) from None


class NewAgent(Wire):
    """An agent to register. The request is signed by this very key."""

    public_key: GivenKey
    name: Name | None = Field(default=None, description="For people; need not be unique.")

    def key(self) -> PublicKey:
        """The key, checked."""
        return _parsed(self.public_key, "/public_key")


class Agent(Wire):
    """An agent as the relay knows it."""

    id: str = Field(description="agt_…")
    name: str | None = None
    keyid: KeyId
    public_key: Jwk
    created_at: Timestamp
    revoked_at: Timestamp | None = Field(default=None, description="Since when this agent has no key that counts.")


class RotateKey(Wire):
    """A new key for the agent that signs the request with its present one."""

    public_key: GivenKey
    proof: str = Field(
        min_length=86,
        max_length=86,
        description="base64url of the new key's Ed25519 signature over the lines `tocsin-rotation/v1`, the agent's id, "
        "the old keyid and the new keyid, each ended by a line feed.",
    )

    def key(self) -> PublicKey:
        """The new key, checked."""
        return _parsed(self.public_key, "/public_key")


class RevokeKey(Wire):
    """Ends the agent's key for good: it can sign nothing from now on."""

    reason: str | None = Field(default=None, max_length=500)
