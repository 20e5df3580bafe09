"""Getting a document from a stranger: where it was moved to, how long to leave it alone, and when it is the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

from app.kit import limits
from app.kit.clock import Clock
from app.kit.outbound import Answer, Fault, Outbound
from app.kit.urls import BadUrl, parse_url

__all__ = ["Got", "Misled", "fetch", "next_hop"]

_MOVED = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Misled:
    """A redirect that is not followed, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Got:
    """What came of it, after so many requests."""

    result: Answer | Fault | Misled
    calls: int


async def fetch(
    outbound: Outbound, clock: Clock, url: str, headers: Mapping[str, str], *, seconds: float, bytes_max: int
) -> Got:
    """Get a document, where need be from where it was moved to. All requests together take at most `seconds`."""
    ends_at = clock.monotonic() + seconds
    for calls in range(1, limits.redirects_max + 2):
        left = max(0.0, ends_at - clock.monotonic())
        # Each hop is judged like the first: the client looks the host up and dials nothing that the guard refuses.
        result = await outbound.get(url, headers, timeout_seconds=left, body_bytes_max=bytes_max)
        if isinstance(result, Fault) or result.status not in _MOVED:
            return Got(result, calls)
        hop = next_hop(url, result.headers.get("location"))
        if isinstance(hop, Misled):
            return Got(hop, calls)
        url = hop
    return Got(Misled(f"more than {limits.redirects_max} redirects"), limits.redirects_max + 1)


def next_hop(url: str, location: str | None) -> str | Misled:
    """Where a redirect leads, as we understand it. What was asked for by https is not fetched in the clear."""
    try:
        target = parse_url(urljoin(url, (location or "").partition("#")[0]))
    except (BadUrl, ValueError):
        return Misled("a redirect to what is no URL that is called from here")
    if not location:
        return Misled("a redirect to nowhere")
    if url.startswith("https:") and target.scheme != "https":
        return Misled("a redirect from https to plain http is not followed")
    return str(target)
