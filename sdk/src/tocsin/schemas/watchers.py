"""Watchers: what was seen, and how the watching goes."""

from typing import Literal

from pydantic import ConfigDict, Field

from tocsin.schemas.subscriptions import BlockPosition, ChainPosition, FetchPosition, InboxPosition, SourceState
from tocsin.schemas.web import Scheme
from tocsin.schemas.wire import Json, ListQuery, Timestamp, Wire

__all__ = [
    "BlockSeen",
    "CallChanged",
    "ContractCreated",
    "FeedItem",
    "InboxReceived",
    "JsonAppeared",
    "JsonChanged",
    "JsonCrossed",
    "LiquidityChanged",
    "Log",
    "LogSeen",
    "NftMinted",
    "PriceChanged",
    "Provider",
    "SeenBlock",
    "Selected",
    "Transaction",
    "TransferSeen",
    "Watcher",
    "WatcherQuery",
]


class SeenBlock(BlockPosition):
    """The block that an event is in."""

    parent_hash: str


class Transaction(Wire):
    """The transaction that an event is of. Its members beside hash and index are told where the filter needs them."""

    model_config = ConfigDict(serialize_by_alias=True)

    hash: str
    index: int
    from_: str | None = Field(default=None, alias="from")
    to: str | None = None
    value: str | None = Field(default=None, description="In the smallest unit, as decimal text.")
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


class OnChain(Wire):
    """What all payloads have that are of a chain. Where something is makes its event's id."""

    chain: str
    block: SeenBlock
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


class BlockSeen(OnChain):
    """The `payload` of an event of kind `evm.block`. Chain and block hash make its id."""


class LogSeen(OnChain):
    """The `payload` of an event of kind `evm.log`. Chain, block hash and both indices make the event's id."""

    transaction: Transaction
    log: Log
    event: str | None = Field(default=None, description="Its name, where the filter names one.")
    decoded: dict[str, Json] | None = Field(
        default=None,
        description="Its parameters by name: integers as decimal text, bytes as hexadecimal, what is indexed and would "
        "not fit into a topic as its hash. Null where the contract wrote something else.",
    )
    undecoded: str | None = Field(default=None, description="Why it could not be decoded.")


class Transferred(Wire):
    """Who paid whom, and how much."""

    model_config = ConfigDict(serialize_by_alias=True)

    asset: str = Field(description="`native`, or the token.")
    from_: str = Field(alias="from")
    to: str | None = None
    amount: str = Field(description="In whole tokens, as decimal text; exact.")
    units: str = Field(description="In the smallest unit, as decimal text.")


class TransferSeen(OnChain):
    """The `payload` of an event of kind `evm.transfer`. There is a log unless it is the chain's own currency.

    Its id is that of the log, or else is made of chain, block hash and the transaction's index.
    """

    transaction: Transaction
    log: Log | None = None
    transfer: Transferred


class Created(Wire):
    """A contract, and who signed the transaction that made it."""

    contract: str
    creator: str


class ContractCreated(OnChain):
    """The `payload` of an event of kind `evm.contract_created`.

    Chain, block hash and the transaction's index make its id.
    """

    transaction: Transaction
    created: Created


class Minted(Wire):
    """Tokens that came into being."""

    standard: Literal["erc721", "erc1155"]
    collection: str
    to: str
    ids: list[str]
    amounts: list[str] = Field(description="Of each id; 1 of an ERC-721 token.")


class NftMinted(OnChain):
    """The `payload` of an event of kind `evm.nft_mint`. Its id is that of the log."""

    transaction: Transaction
    log: Log
    mint: Minted


class LiquidityChange(Wire):
    """What was put into a pool or taken out of it, in the smallest units."""

    pool: str
    change: Literal["added", "removed"]
    version: Literal["v2", "v3"]
    amount0: str
    amount1: str
    liquidity: str | None = Field(default=None, description="Of v3 only.")


class LiquidityChanged(OnChain):
    """The `payload` of an event of kind `evm.liquidity`. Its id is that of the log."""

    transaction: Transaction
    log: Log
    liquidity: LiquidityChange


class PriceSince(Wire):
    """The block at whose end a price was observed."""

    number: int
    timestamp: int


class PriceChange(Wire):
    """The price at the end of a block, and the one that it is compared with."""

    pool: str
    version: Literal["v2", "v3"]
    price: str
    previous: str
    change_percent: str


class PriceChanged(OnChain):
    """The `payload` of an event of kind `evm.price`. Its id is that of the log, the pool's last in the block."""

    transaction: Transaction
    log: Log
    price: PriceChange
    since: PriceSince = Field(description="Where the previous price was observed.")


class Called(Wire):
    """A call of a contract."""

    address: str
    data: str


class CallAnswer(Wire):
    """What a contract answered."""

    reverted: bool
    data: str | None = Field(default=None, description="Null where it reverted.")
    decoded: dict[str, Json] | None = None
    undecoded: str | None = Field(default=None, description="Why it could not be decoded.")


class CallChanged(OnChain):
    """The `payload` of an event of kind `evm.call`. Chain, block hash and the hash of the call make its id.

    The hash is the Keccak-256 of the contract's address and the data, as hexadecimal without 0x.
    """

    call: Called
    current: CallAnswer
    previous: CallAnswer


class Selected(Wire):
    """What a JSON pointer or a JMESPath expression selected."""

    found: bool = Field(description="Whether there was anything.")
    value: Json = None
    omitted: bool = Field(default=False, description="The value is there but too large, or cannot be stored as it is.")
    sha256: str | None = Field(default=None, description="Of the value as JSON with sorted keys and without spaces.")


class JsonSeen(Wire):
    """What the payload of every event of kind `http.json` says: where it was seen, and when."""

    url: str
    pointer: str | None = Field(description="How the value was selected: by this, or by `jmespath`.")
    jmespath: str | None = None
    fetched_at: Timestamp
    body_sha256: str = Field(description="Of the document, as it came.")


class JsonChanged(JsonSeen):
    """The `payload` of an event of kind `http.json`: a value is another than when it was last looked at."""

    rule: Literal["changed"] = "changed"
    current: Selected
    previous: Selected


class JsonCrossed(JsonSeen):
    """The `payload` of an event of kind `http.json`: a number has come to be above or below a bound."""

    rule: Literal["threshold"] = "threshold"
    crossed: Literal["above", "below"]
    bound: str = Field(description="The number that it is now above or below.")
    number: str = Field(description="The number that was found, digit by digit.")
    previous: str | None = Field(description="The number before it, as far as it is known.")


class JsonAppeared(JsonSeen):
    """The `payload` of an event of kind `http.json`: a list has an item that was not there before."""

    rule: Literal["appeared"] = "appeared"
    key: Selected = Field(description="What makes the item the same.")
    item: Selected
    waiting: int = Field(description="How many more are new, and are told after the next looks if they stay.")


class FeedItem(Wire):
    """The `payload` of an event of kind `http.feed`: an item that is new, or was rewritten."""

    feed_url: str
    feed_title: str | None
    fetched_at: Timestamp
    body_sha256: str = Field(description="Of the feed, as it came.")
    change: Literal["new", "updated"]
    id: str = Field(description="The item's own id; where it has none, its link, or `sha256:` of its title and date.")
    url: str | None
    title: str | None
    published: Timestamp | None
    updated: Timestamp | None
    summary: str | None = Field(description="The beginning of what it says, as text.")
    waiting: int = Field(description="How many more are to be told, and are told after the next looks if they stay.")


class InboxReceived(Wire):
    """The `payload` of an event of kind `inbox`: a webhook of another service."""

    received_at: Timestamp
    verified_by: Scheme = Field(description="How it was verified; none: not at all, anybody may have sent it.")
    content_type: str | None
    headers: dict[str, str] = Field(description="Those that say what it is, by their names in lower case.")
    encoding: Literal["json", "text", "base64"] = Field(description="What `body` is.")
    body: Json
    body_sha256: str = Field(description="Of the body, as it came.")


class Provider(Wire):
    """One of those who are asked about a chain, as the process that looked last saw it."""

    name: str = Field(description="What the operator calls it, or its host.")
    state: Literal["unused", "up", "behind", "backing_off"] = Field(
        description="behind: its head lags, so others are asked first; backing_off: it failed, and is left alone."
    )
    head: int | None = Field(default=None, description="The newest block that it was heard of.")
    behind_seconds: float = Field(default=0, description="How old its head is beside the newest of all.")
    call_ms: int | None = Field(default=None, description="What a call takes, on a moving average.")
    last_error: str | None = Field(default=None, description="Why it failed last; null once it served a look again.")


class Watcher(Wire):
    """The one watcher of a source, as those see it who subscribe to the source."""

    source_id: str
    kind: Literal["evm", "http.json", "http.feed", "inbox"]
    target: str | None = Field(description="The chain or the URL; null for an inbox, which looks nowhere.")
    state: SourceState
    state_reason: str | None = Field(
        default=None, description="Why it is halted; of a chain that is followed, why nothing of it is final."
    )
    subscriptions: int = Field(description="How many share this watcher, whoever owns them.")
    position: ChainPosition | FetchPosition | InboxPosition | None = None
    events: int = Field(description="Told so far, matches and retractions.")
    upstream_calls: int = Field(
        description="Made so far, for what is new and for the past that somebody asked for. What is new costs as many "
        "for one subscription as for all."
    )
    looked_at: Timestamp | None = None
    next_look_at: Timestamp | None = None
    last_error: str | None = Field(
        default=None, description="Why the latest look came to nothing; null when it did not."
    )
    held_to: Literal["receipts-root", "bloom", "rpc"] | None = Field(
        default=None,
        description="Of a chain: what each block has to show, as the operator says, or as its blocks have shown for a "
        "while. An answer that shows less is refused.",
    )
    providers: list[Provider] = Field(
        default_factory=list[Provider], description="Of a chain: who is asked, in the operator's order."
    )


class WatcherQuery(ListQuery):
    """Which watchers."""
