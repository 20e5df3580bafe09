"""Endpoints: where an agent wants to be rung."""

import base64
import binascii
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from tocsin.schemas.messages import TypePattern
from tocsin.schemas.wire import Json, ListQuery, Name, Timestamp, Wire, in_words

__all__ = [
    "HEADER_SHOWN_AS",
    "CreatedEndpoint",
    "DeliveryError",
    "DeliveryStatus",
    "Endpoint",
    "EndpointQuery",
    "EndpointSecret",
    "EndpointState",
    "McpSubscription",
    "NewEndpoint",
    "PatchEndpoint",
    "RefreshEndpoint",
    "RotateSecret",
    "RotatedEndpoint",
    "Secret",
]

secret_bytes_min = 24
secret_bytes_max = 64

Profile = Literal["standard", "mcp"]
EndpointState = Literal["pending", "active", "paused", "disabled"]


def _of_good_length(secret: str) -> str:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError("a secret is whsec_ followed by base64, with its padding") from None
    if not secret_bytes_min <= len(key) <= secret_bytes_max:
        raise ValueError(f"a secret is whsec_ and the base64 of {secret_bytes_min} to {secret_bytes_max} random bytes")
    return secret


_SECRET = r"whsec_[A-Za-z0-9+/]{32,86}={0,2}"
Secret = Annotated[
    str,
    Field(pattern=f"^{_SECRET}$", description="whsec_ and the base64 of 24 to 64 random bytes."),
    in_words(_SECRET, f"a secret is whsec_ and the base64 of {secret_bytes_min} to {secret_bytes_max} random bytes"),
    AfterValidator(_of_good_length),
]

Url = Annotated[str, Field(min_length=1, max_length=2048)]

MaxInFlight = Annotated[
    int,
    Field(ge=1, le=100, description="Requests to this endpoint at a time, over all workers; null: as many as suit."),
]
RatePerSecond = Annotated[
    float, Field(ge=0.01, le=1_000, description="Requests to this endpoint a second, in bursts of a second's worth.")
]
RetrySeconds = Annotated[
    list[Annotated[int, Field(ge=1, le=86_400)]],
    Field(
        max_length=19,
        description="Seconds to wait before the second attempt, the third, and so on; after the last, the delivery has "
        "failed. Null: the relay's own ladder.",
    ),
]
TimeoutSeconds = Annotated[
    float, Field(ge=1, le=30, description="Bound on one attempt, at most the relay's own; null: the relay's own.")
]
Headers = Annotated[
    dict[str, str],
    Field(
        max_length=20,
        description="Headers sent along with every request to this endpoint, such as Authorization, 8192 "
        "characters at most. Their values are not shown again.",
    ),
]
HEADER_SHOWN_AS = "***"
"""What stands for a header's value where an endpoint is shown."""

Types = Annotated[
    list[TypePattern],
    Field(
        max_length=50,
        description="Types of published messages that it takes: `order.paid`, `order.*`, `*`; null: all. What "
        "schedules and subscriptions ring comes whatever stands here.",
    ),
]
Filter = Annotated[
    dict[str, Json], Field(description="What the `data` of published messages must be: see docs/protocol/messages.md.")
]
_AGENT = r"agt_[0-9a-hjkmnp-tv-z]{26}"
Senders = Annotated[
    list[
        Annotated[
            str,
            Field(pattern=f"^{_AGENT}$"),
            in_words(_AGENT, "name an agent by its id, agt_… and 26 characters, as `tocsin me` shows it"),
        ]
    ],
    Field(max_length=100, description="Agents besides yourself that may publish to it."),
]

ttl_seconds_default = 3_600
TtlSeconds = Annotated[
    int,
    Field(ge=1, description="How long it holds unless it is refreshed, at least 60 and at most 86400; null: no end."),
]


McpVersion = Literal["2026-07-28"]
EventName = Annotated[str, Field(max_length=128, pattern=r"^[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)*$")]


class McpSubscription(Wire):
    """What an MCP host subscribed to. With the agent and the URL, `name` and `arguments` are the subscription."""

    version: McpVersion = Field(default="2026-07-28", description="The draft of MCP Events that is spoken.")
    name: EventName = Field(description="The event: the type of the messages that it takes, unless `types` say more.")
    arguments: dict[str, Json] = Field(default_factory=dict[str, Json])
    ttl_seconds: TtlSeconds | None = ttl_seconds_default


class RefreshEndpoint(Wire):
    """For how long a subscription of MCP Events is to hold from now on, and what signs from now on."""

    ttl_seconds: TtlSeconds | None = ttl_seconds_default
    secret: Secret | None = None


class NewEndpoint(Wire):
    """An endpoint to register. It is asked to prove that it wants to be rung before the first ring."""

    url: Url = Field(description="https URL without credentials or fragment, at a public address.")
    description: Name | None = Field(default=None, description="For people.")
    secret: Secret | None = Field(default=None, description="Your own webhook secret; one is made for you when absent.")
    max_in_flight: MaxInFlight | None = None
    rate_per_second: RatePerSecond | None = None
    retry_seconds: RetrySeconds | None = None
    timeout_seconds: TimeoutSeconds | None = None
    types: Types | None = None
    filter: Filter | None = None
    senders: Senders | None = None
    headers: Headers | None = None
    profile: Profile = Field(default="standard", description="`mcp`: the webhook mode of MCP Events.")
    mcp: McpSubscription | None = None

    @model_validator(mode="after")
    def _is_of_one_profile(self) -> Self:
        if (self.profile == "mcp") != (self.mcp is not None):
            raise ValueError("profile mcp and the member mcp come together")
        if self.mcp is not None and self.secret is None:
            raise ValueError("a subscription of MCP Events brings its own secret")
        return self


class PatchEndpoint(Wire):
    """What to change; absent members stay as they are. A new URL has to be verified before the next ring."""

    url: Url | None = Field(default=None, description="https URL without credentials or fragment, at a public address.")
    description: Name | None = Field(default=None, description="For people; null removes it.")
    max_in_flight: MaxInFlight | None = None
    rate_per_second: RatePerSecond | None = None
    retry_seconds: RetrySeconds | None = None
    timeout_seconds: TimeoutSeconds | None = None
    types: Types | None = None
    filter: Filter | None = None
    senders: Senders | None = None
    headers: Headers | None = Field(default=None, description="Replaces all of them; null or {} removes them.")


class RotateSecret(Wire):
    """A new webhook secret for an endpoint. Those before it sign, too, until the overlap has passed."""

    secret: Secret | None = Field(default=None, description="Your own new secret; one is made for you when absent.")
    overlap_seconds: int = Field(
        default=86_400, ge=0, le=604_800, description="How long the secrets before still sign; 0 after a leak."
    )


class EndpointSecret(Wire):
    """One of the secrets that sign for an endpoint, without the secret."""

    created_at: Timestamp
    expires_at: Timestamp | None = Field(default=None, description="When it signs no more; null: no end in sight.")


DeliveryError = Literal["connection_refused", "timeout", "tls_error", "http_4xx", "http_5xx", "challenge_failed"]


class DeliveryStatus(Wire):
    """How the deliveries of a subscription of MCP Events do, without a word of what its host answered."""

    active: bool = Field(
        description="Whether events are sent to it; false while it is pending, paused or disabled, or left alone for "
        "its failures."
    )
    last_delivery_at: Timestamp | None = Field(default=None, description="When its host took something last.")
    last_error: DeliveryError | None = Field(default=None, description="While it fails: how it did last.")
    failed_since: Timestamp | None = Field(default=None, description="Since when it has done nothing but fail.")
    throttled: bool = Field(description="Whether it is left alone for a while because its host asked for that.")
    retry_after_ms: int | None = Field(default=None, description="When it is left alone: for how long yet.")


class Endpoint(Wire):
    """An endpoint as the relay knows it."""

    id: str = Field(description="ep_…; every webhook-id sent here begins with it, but those of MCP Events.")
    url: str
    description: str | None = None
    state: EndpointState = Field(
        description="pending until verified; paused by you; disabled after 410 Gone or days of failure. In all three, "
        "deliveries wait."
    )
    state_reason: str | None = Field(default=None, description="Why it is pending or disabled, where that is known.")
    max_in_flight: int | None = None
    rate_per_second: float | None = None
    retry_seconds: list[int] | None = None
    timeout_seconds: float | None = None
    types: list[str] | None = None
    filter: dict[str, Json] | None = None
    senders: list[str] = Field(default_factory=list[str])
    headers: dict[str, str] = Field(default_factory=dict[str, str], description="By name; values are shown as ***.")
    secrets: list[EndpointSecret] = Field(
        default_factory=list[EndpointSecret], description="Those that sign, the current one first."
    )
    profile: Profile = "standard"
    subscription_id: str | None = Field(default=None, description="Of MCP Events: sent as `X-MCP-Subscription-Id`.")
    expires_at: Timestamp | None = Field(default=None, description="Refresh before then; null: it has no end.")
    delivery_status: DeliveryStatus | None = Field(
        default=None,
        description="Of MCP Events, where this one endpoint is shown, created or refreshed; null otherwise. After a "
        "refresh: as it was before.",
    )
    next_verification_at: Timestamp | None = Field(default=None, description="When it is challenged next.")
    verified_at: Timestamp | None = None
    created_at: Timestamp
    updated_at: Timestamp


class CreatedEndpoint(Endpoint):
    """A new endpoint with its webhook secret, which is shown this once."""

    secret: str = Field(description="Verifies `v1` signatures. Keep it; the relay does not show it again.")


class RotatedEndpoint(CreatedEndpoint):
    """An endpoint with its new webhook secret, which is shown this once."""

    previous_expires_at: Timestamp | None = Field(
        default=None, description="When the secret before signs no more; null: it has ended already."
    )


class EndpointQuery(ListQuery):
    """Which endpoints, oldest first."""

    state: EndpointState | None = None
