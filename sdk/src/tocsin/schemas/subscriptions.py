"""Subscriptions: what an agent wants to hear of, and what was seen for it."""

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tocsin.schemas.evm import (
    EvmBlock,
    EvmCall,
    EvmContractCreated,
    EvmLiquidity,
    EvmLog,
    EvmNftMint,
    EvmPrice,
    EvmTransfer,
    EvmWatched,
)
from tocsin.schemas.webhooks import EventMatched, EventRetracted
from tocsin.schemas.wire import ListQuery, Name, Query, Timestamp, Wire

__all__ = [
    "BlockPosition",
    "EventPage",
    "EventsQuery",
    "EvmBlock",
    "EvmCall",
    "EvmContractCreated",
    "EvmLiquidity",
    "EvmLog",
    "EvmNftMint",
    "EvmPrice",
    "EvmTransfer",
    "FetchPosition",
    "HttpJson",
    "NewSubscription",
    "SourceState",
    "Subscription",
    "SubscriptionQuery",
    "Watched",
]

interval_min = timedelta(seconds=5)
interval_max = timedelta(days=1)
wait_seconds_max = 30

SourceState = Literal["starting", "active", "halted"]


def _is_pointer(value: str) -> str:
    if not re.fullmatch(r"(/([^~/]|~[01])*)*", value):
        raise ValueError("a JSON pointer (RFC 6901) is empty, or begins with a slash and escapes ~ as ~0 and / as ~1")
    return value


class HttpJson(Wire):
    """A value in a JSON document, whenever it changes."""

    kind: Literal["http.json"]
    url: str = Field(min_length=1, max_length=2048, description="https URL that answers GET with JSON.")
    interval: timedelta = Field(
        default=timedelta(minutes=1), ge=interval_min, le=interval_max, description="How often to look: PT5S to P1D."
    )
    pointer: Annotated[str, Field(max_length=500), AfterValidator(_is_pointer)] = Field(
        default="", description="JSON pointer (RFC 6901) to the value; empty for the whole document."
    )


Watched = Annotated[EvmWatched | HttpJson, Field(discriminator="kind")]
"""What can be watched."""


class NewSubscription(Wire):
    """What to hear of, and where to be rung. Without an endpoint the events are kept to be read."""

    source: Watched
    endpoint_id: str | None = Field(default=None, max_length=100, description="One of your endpoints.")
    description: Name | None = Field(default=None, description="For people.")


class BlockPosition(Wire):
    """A block."""

    number: int
    hash: str
    timestamp: int = Field(description="Unix seconds, as the block says.")


class FetchPosition(Wire):
    """A document, as it was read at some time."""

    fetched_at: Timestamp
    body_sha256: str


class Subscription(Wire):
    """A subscription. Everything in its source after `begins_after` is told, once `state` is active."""

    id: str = Field(description="sub_…")
    source: Watched
    source_id: str = Field(description="src_…; equal for all who watch the same place: one watcher serves them.")
    filter_id: str = Field(description="flt_…; equal for all who want the same from it.")
    endpoint_id: str | None = None
    description: str | None = None
    state: SourceState = Field(
        description="starting until the watcher has looked once; halted when what it saw cannot be trusted."
    )
    state_reason: str | None = Field(default=None, description="Why it is halted.")
    begins_after: BlockPosition | FetchPosition | None = Field(
        default=None, description="Where the source stood when this subscription began; null while it is starting."
    )
    created_at: Timestamp


class SubscriptionQuery(ListQuery):
    """Which subscriptions, oldest first."""


class EventsQuery(Query):
    """Which events of a subscription, and how long to wait for one."""

    after: str | None = Field(default=None, max_length=512, description="`next` of the page before; absent to begin.")
    limit: int = Field(default=50, ge=1, le=100, description="How many at most.")
    wait: int = Field(default=0, ge=0, le=wait_seconds_max, description="Seconds to wait while there is none.")


class EventPage(Wire):
    """Events in the order of their source, each exactly as it is rung. Go on at `next`, also when there were none."""

    items: list[Annotated[EventMatched | EventRetracted, Field(discriminator="type")]]
    next: str
