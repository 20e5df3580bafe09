"""How a message looks on its way to an endpoint, by the endpoint's profile.

`standard` is Standard Webhooks: the body as it was stored, byte for byte. `mcp` is the webhook mode of MCP Events: an
event of five members under an id of its own, and the subscription in a header.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from app.deliveries.attempts import Profile
from app.kit.ids import derived_id
from tocsin.schemas.webhooks import Challenge, EndpointVerification

__all__ = [
    "DELETED",
    "ENDED",
    "EXPIRED",
    "REVOKED",
    "Shaped",
    "challenge",
    "expiry",
    "farewell",
    "shaped",
    "subscription_id",
    "timeout_of",
]

ttl_seconds_min = 60
ttl_seconds_max = 86_400
# A host answers as soon as it has an event, and acts on it afterwards.
mcp_timeout_seconds = 5.0

# Why a subscription of MCP Events has ended, as it stands in its endpoint's row; the last has no row that is shown.
EXPIRED = "expired: POST …/refresh takes it up again"
REVOKED = "the agent was revoked"
DELETED = "deleted"
ENDED = (EXPIRED, REVOKED, DELETED)

# What a host is told of it, as a JSON-RPC error: that it is no more, or that its principal may not have it any more.
_ERRORS: dict[str, dict[str, Any]] = {
    EXPIRED: {"code": -32011, "message": "NotFound", "data": {"kind": "subscription", "reason": "expired"}},
    REVOKED: {"code": -32012, "message": "Forbidden", "data": {"reason": "Access revoked"}},
    DELETED: {"code": -32011, "message": "NotFound", "data": {"kind": "subscription", "reason": "deleted"}},
}


class Shaped(NamedTuple):
    """What is signed and posted."""

    webhook_id: str
    body: bytes
    headers: dict[str, str]


def shaped(profile: Profile | None, endpoint_id: str, message_id: str, body: str) -> Shaped:
    """A message for an endpoint. The same over all attempts, so it can be made anew for each."""
    if profile != "mcp":
        return Shaped(f"{endpoint_id}_{message_id}", body.encode(), {})
    said: dict[str, Any] = from_json(body)
    event = {
        "eventId": message_id,
        "name": said["type"],
        "timestamp": said["timestamp"],
        "data": said["data"],
        # Nothing can be read again from a position: a null cursor means from now on.
        "cursor": None,
    }
    return Shaped(message_id, to_json(event), _of(endpoint_id))


def challenge(profile: str, endpoint_id: str, message_id: str, nonce: str, at: datetime) -> Shaped:
    """The question whether an endpoint wants to be rung."""
    if profile == "mcp":
        body = to_json({"type": "verification", "challenge": nonce})
        return Shaped(f"msg_verification_{message_id.removeprefix('msg_')}", body, _of(endpoint_id))
    ring = EndpointVerification(timestamp=at, data=Challenge(endpoint_id=endpoint_id, challenge=nonce))
    return Shaped(f"{endpoint_id}_{message_id}", ring.model_dump_json().encode(), {})


def farewell(subscription: str, ending: str, reason: str) -> Shaped:
    """The news that a subscription of MCP Events has ended, for one of `ENDED`. The same over all attempts at it:
    `ending` is what this one has, and no other."""
    told = derived_id("msg", subscription, ending, reason).removeprefix("msg_")
    body = to_json({"type": "terminated", "error": _ERRORS[reason]})
    return Shaped(f"msg_terminated_{told}", body, _of(subscription))


def timeout_of(profile: str | None, own_seconds: float | None, most_seconds: float) -> float:
    """How long an attempt may take: what the endpoint's owner chose, or what its profile suggests; and never more than
    the relay permits."""
    if own_seconds is not None:
        return min(own_seconds, most_seconds)
    return min(mcp_timeout_seconds, most_seconds) if profile == "mcp" else most_seconds


def subscription_id(agent_id: str, url: str, name: str, arguments: object) -> str:
    """The id of this agent's subscription to these events at this URL: the same whenever it is asked for.

    It is the id of the endpoint itself. Arguments count by their value, not by the order of their members.
    """
    return derived_id("ep", agent_id, url, name, to_json(_sorted(arguments)).decode())


def expiry(ttl_seconds: int | None, now: datetime) -> datetime | None:
    """Until when a subscription holds that asked for so long; None: it asked for no end."""
    if ttl_seconds is None:
        return None
    return now + timedelta(seconds=min(max(ttl_seconds, ttl_seconds_min), ttl_seconds_max))


def _of(endpoint_id: str) -> dict[str, str]:
    return {"X-MCP-Subscription-Id": endpoint_id}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return [_sorted(each) for each in value] if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]
