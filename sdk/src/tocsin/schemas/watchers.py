"""Watchers: what was seen, and how the watching goes."""

from typing import Literal

from pydantic import Field

from tocsin.schemas.subscriptions import BlockPosition, FetchPosition, SourceState
from tocsin.schemas.wire import Json, ListQuery, Timestamp, Wire

__all__ = ["JsonChanged", "Log", "LogSeen", "SeenBlock", "Selected", "Transaction", "Watcher", "WatcherQuery"]


class SeenBlock(BlockPosition):
    """The block that an event is in."""

    parent_hash: str


class Transaction(Wire):
    """The transaction that an event is of."""

    hash: str
    index: int
    verified: Literal["transactions-root", "rpc"] = Field(
        default="rpc",
        description="How far the hash was checked: receipts do not commit to it. rpc: taken as the node answered.",
    )


class Log(Wire):
    """A log. Hexadecimal is lower case."""

    index: int = Field(description="Its place among the logs of its transaction, not of its block.")
    address: str
    topics: list[str]
    data: str


class LogSeen(Wire):
    """The `payload` of an event of kind `evm.log`. Chain, block hash and both indices make the event's id."""

    chain: str
    block: SeenBlock
    transaction: Transaction
    log: Log
    verified: Literal["receipts-root", "bloom", "rpc"] = Field(
        description=(
            "How far this was checked against the block's hash: all but the transaction's hash. receipts-root: all "
            "receipts of the block make the receiptsRoot of its header. bloom: all its logs make the logsBloom, which "
            "says nothing of data and order. rpc: taken as the node answered, where it did not contradict itself."
        )
    )
    replaced_by: str | None = Field(
        default=None, description="Of a retraction: hash of the block now at this height, where there is one."
    )


class Selected(Wire):
    """What a JSON pointer pointed at."""

    found: bool = Field(description="Whether there was anything.")
    value: Json = None
    omitted: bool = Field(default=False, description="The value is there but too large, or cannot be stored as it is.")
    sha256: str | None = Field(default=None, description="Of the value as JSON with sorted keys and without spaces.")


class JsonChanged(Wire):
    """The `payload` of an event of kind `http.json`: a value is another than when it was last looked at."""

    url: str
    pointer: str
    fetched_at: Timestamp
    body_sha256: str = Field(description="Of the document, as it came.")
    current: Selected
    previous: Selected


class Watcher(Wire):
    """The one watcher of a source, as those see it who subscribe to the source."""

    source_id: str
    kind: Literal["evm", "http.json"]
    target: str = Field(description="The chain or the URL.")
    state: SourceState
    state_reason: str | None = None
    subscriptions: int = Field(description="How many share this watcher, whoever owns them.")
    position: BlockPosition | FetchPosition | None = None
    events: int = Field(description="Told so far, matches and retractions.")
    upstream_calls: int = Field(description="Made so far: their number does not depend on that of subscriptions.")
    looked_at: Timestamp | None = None
    next_look_at: Timestamp | None = None
    last_error: str | None = Field(
        default=None, description="Why the latest look came to nothing; null when it did not."
    )


class WatcherQuery(ListQuery):
    """Which watchers."""
