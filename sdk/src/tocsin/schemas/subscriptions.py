"""Subscriptions: what an agent wants to hear of, and what was seen for it."""

from typing import Annotated, Literal

from pydantic import Field

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
from tocsin.schemas.web import HttpFeed, HttpJson, Inbox
from tocsin.schemas.webhooks import EventBatch, EventMatched, EventRetracted, SubscriptionHeartbeat
from tocsin.schemas.wire import ListQuery, Name, Query, Timestamp, Wire

__all__ = [
    "BlockPosition",
    "CatchingUp",
    "ChainPosition",
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
    "FeedEvent",
    "FeedPosition",
    "FetchPosition",
    "HttpFeed",
    "HttpJson",
    "Inbox",
    "InboxPosition",
    "InboxTaken",
    "NewSubscription",
    "SourceState",
    "Subscription",
    "SubscriptionQuery",
    "SubscriptionState",
    "Watched",
]

wait_seconds_max = 30
heartbeat_blocks_max = 100_000

SourceState = Literal["starting", "active", "halted"]
SubscriptionState = Literal["starting", "catching_up", "active", "halted"]

Watched = Annotated[EvmWatched | HttpJson | HttpFeed | Inbox, Field(discriminator="kind")]
"""What can be watched."""


class NewSubscription(Wire):
    """What to hear of, and where to be rung. Without an endpoint the events are kept to be read."""

    source: Watched
    endpoint_id: str | None = Field(default=None, max_length=100, description="One of your endpoints.")
    description: Name | None = Field(default=None, description="For people.")
    batch: Literal["block"] | None = Field(
        default=None,
        description="block: one ring for all events of a block, `event.batch`. Absent: one for each event.",
    )
    heartbeat_blocks: int | None = Field(
        default=None,
        ge=1,
        le=heartbeat_blocks_max,
        description="After so many blocks of which nothing was told, `subscription.heartbeat` says so. Absent: never.",
    )
    from_block: int | None = Field(
        default=None,
        ge=0,
        le=2**53 - 1,
        description="Tell the past, too, from this block on, as far back as the relay goes. Of blocks, and of what is "
        "found by logs: `evm.log`, `evm.transfer` of a token, `evm.nft_mint` and `evm.liquidity`.",
    )


class CatchingUp(Wire):
    """How far a subscription from a past block has come. Caught up once `next_block` is beyond `until_block`."""

    from_block: int
    next_block: int = Field(description="The next one to be read.")
    until_block: int | None = Field(
        default=None, description="The last that is read from logs; what comes after it was seen live."
    )
    last_error: str | None = Field(default=None, description="Why the latest try came to nothing.")


class FeedPosition(Wire):
    """A place in a feed."""

    seq: int = Field(description="Number of the last entry before it; 0 at the feed's beginning.")
    hash: str = Field(description="Of that entry: the next one's `prev`.")


class BlockPosition(Wire):
    """A block."""

    number: int
    hash: str
    timestamp: int = Field(description="Unix seconds, as the block says.")


class ChainPosition(BlockPosition):
    """The newest block that was read, and how far the chain is safe and final."""

    safe: int | None = Field(default=None, description="Number of the newest safe block; null where none is known.")
    finalized: int | None = Field(
        default=None, description="Number of the newest final block; it never goes back. Null where none is known."
    )
    finalized_by: Literal["tags", "depth"] | None = Field(
        default=None,
        description="tags: its nodes name it; depth: enough blocks are on top, as the operator wants it, or as no node "
        "ever names one.",
    )


class FetchPosition(Wire):
    """A document, as it was read at some time."""

    fetched_at: Timestamp
    body_sha256: str


class InboxPosition(Wire):
    """An inbox, which takes what is posted from some time on."""

    opened_at: Timestamp


class InboxTaken(Wire):
    """A webhook was taken: it is told to whom the inbox belongs, and was not lost if you hear this."""

    event_id: str
    duplicate: bool = Field(description="Whether it came before; then it is not told again.")


class Subscription(Wire):
    """A subscription. Everything in its source after `begins_after` is told, once `state` is active."""

    id: str = Field(description="sub_…")
    source: Watched
    source_id: str = Field(description="src_…; equal for all who watch the same place: one watcher serves them.")
    filter_id: str = Field(description="flt_…; equal for all who want the same from it.")
    feed_id: str = Field(description="fed_…; equal for all who want it told in the same way: they hear the same rings.")
    joins_after: FeedPosition = Field(description="Where in the feed this subscription begins.")
    batch: Literal["block"] | None = None
    heartbeat_blocks: int | None = None
    catching_up: CatchingUp | None = Field(default=None, description="Of a subscription from a past block.")
    endpoint_id: str | None = None
    description: str | None = None
    state: SubscriptionState = Field(
        description="starting until the watcher has looked once; catching_up while the past is read; halted when what "
        "it saw cannot be trusted."
    )
    state_reason: str | None = Field(
        default=None, description="Why it is halted; of a chain that is followed, why nothing of it is final."
    )
    begins_after: ChainPosition | FetchPosition | InboxPosition | None = Field(
        default=None, description="Where the source stood when this subscription began; null while it is starting."
    )
    trouble: str | None = Field(
        default=None, description="Why nothing can be told of what is wanted, as the latest look found it."
    )
    created_at: Timestamp


class SubscriptionQuery(ListQuery):
    """Which subscriptions, oldest first."""


class EventsQuery(Query):
    """Which events of a subscription, and how long to wait for one."""

    after: str | None = Field(default=None, max_length=512, description="`next` of the page before; absent to begin.")
    after_seq: int = Field(
        default=0, ge=0, le=10**18, description="Instead: the `seq` of the last entry that you have."
    )
    limit: int = Field(default=50, ge=1, le=100, description="How many at most.")
    wait: int = Field(default=0, ge=0, le=wait_seconds_max, description="Seconds to wait while there is none.")
    exact: bool = Field(default=False, description="Give each entry as the text that is rung, in `bodies`.")


FeedEvent = Annotated[EventMatched | EventRetracted | EventBatch | SubscriptionHeartbeat, Field(discriminator="type")]
"""Whatever a feed says."""


class EventPage(Wire):
    """Entries of a feed in order, each as it is rung. Go on at `next`, also when there were none."""

    items: list[FeedEvent]
    bodies: list[str] | None = Field(
        default=None, description="Instead of `items`, where `exact` was asked for: the very texts, to be hashed."
    )
    next: str
