"""Endpoints: where an agent wants to be rung."""

import base64
import binascii
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tocsin.schemas.wire import ListQuery, Name, Timestamp, Wire

__all__ = ["CreatedEndpoint", "Endpoint", "EndpointQuery", "EndpointState", "NewEndpoint", "PatchEndpoint", "Secret"]

secret_bytes_min = 24
secret_bytes_max = 64

EndpointState = Literal["pending", "active", "disabled"]


def _of_good_length(secret: str) -> str:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError("a secret is whsec_ followed by base64, with its padding") from None
    if not secret_bytes_min <= len(key) <= secret_bytes_max:
        raise ValueError(f"a secret is whsec_ and the base64 of {secret_bytes_min} to {secret_bytes_max} random bytes")
    return secret


Secret = Annotated[
    str,
    Field(pattern=r"^whsec_[A-Za-z0-9+/]{32,86}={0,2}$", description="whsec_ and the base64 of 24 to 64 random bytes."),
    AfterValidator(_of_good_length),
]

Url = Annotated[str, Field(min_length=1, max_length=2048)]


class NewEndpoint(Wire):
    """An endpoint to register. It is asked to prove that it wants to be rung before the first ring."""

    url: Url = Field(description="https URL without credentials or fragment, at a public address.")
    description: Name | None = Field(default=None, description="For people.")
    secret: Secret | None = Field(default=None, description="Your own webhook secret; one is made for you when absent.")


class PatchEndpoint(Wire):
    """What to change; absent members stay as they are. A new URL has to be verified before the next ring."""

    url: Url | None = Field(default=None, description="https URL without credentials or fragment, at a public address.")
    description: Name | None = Field(default=None, description="For people; null removes it.")


class Endpoint(Wire):
    """An endpoint as the relay knows it."""

    id: str = Field(description="ep_…; every webhook-id sent here begins with it.")
    url: str
    description: str | None = None
    state: EndpointState = Field(
        description="pending until verified; disabled after 410 Gone. Deliveries wait in both."
    )
    state_reason: str | None = Field(default=None, description="Why it is pending or disabled, where that is known.")
    next_verification_at: Timestamp | None = Field(default=None, description="When it is challenged next.")
    verified_at: Timestamp | None = None
    created_at: Timestamp
    updated_at: Timestamp


class CreatedEndpoint(Endpoint):
    """A new endpoint with its webhook secret, which is shown this once."""

    secret: str = Field(description="Verifies `v1` signatures. Keep it; the relay does not show it again.")


class EndpointQuery(ListQuery):
    """Which endpoints, oldest first."""

    state: EndpointState | None = None
