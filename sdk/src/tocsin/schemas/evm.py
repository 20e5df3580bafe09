"""What can be watched on an EVM chain. All kinds of one chain are read from the same blocks, by one watcher."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from tocsin.abi import BadSignature, Unencodable, encode, read_event, read_function
from tocsin.schemas.conditions import Where
from tocsin.schemas.wire import Json, Wire, in_words

__all__ = [
    "Address",
    "Chain",
    "Crosses",
    "EvmBlock",
    "EvmCall",
    "EvmContractCreated",
    "EvmLiquidity",
    "EvmLog",
    "EvmNftMint",
    "EvmPrice",
    "EvmTransfer",
    "EvmWatched",
    "Finality",
    "Moves",
    "Topic",
]

addresses_max = 32
topic_values_max = 32
signature_chars_max = 500
call_bytes_max = 4_096
decimals_max = 36
every_max = 1_000_000
window_min = timedelta(seconds=10)
window_max = timedelta(hours=24)

_ADDRESS, _TOPIC = "0x[0-9a-fA-F]{40}", "0x[0-9a-fA-F]{64}"
_CHAIN = "eip155:[1-9][0-9]{0,17}"
_FINALITY = "(latest|safe|finalized|confirmations:(0|[1-9][0-9]{0,3}))"
Address = Annotated[
    str,
    Field(pattern=f"^{_ADDRESS}$", description="20 bytes as hexadecimal; case does not matter."),
    in_words(_ADDRESS, "an address is 0x and 40 hexadecimal digits"),
]
Topic = Annotated[
    str,
    Field(pattern=f"^{_TOPIC}$", description="32 bytes as hexadecimal; case does not matter."),
    in_words(_TOPIC, "a topic is 0x and 64 hexadecimal digits"),
]
Chain = Annotated[
    str,
    Field(pattern=f"^{_CHAIN}$", description="CAIP-2 id, such as eip155:8453 for Base."),
    in_words(_CHAIN, "a chain is eip155: and its number, such as eip155:8453"),
]
Addresses = Address | Annotated[list[Address], Field(max_length=addresses_max)]

Finality = Annotated[
    str,
    Field(
        pattern=f"^{_FINALITY}$",
        description="How deep its block has to be before an event is told: latest, as soon as it is the head; "
        "confirmations:n, n blocks below it; safe or finalized, as the chain says. What a reorganisation takes away "
        "after it was told is retracted.",
    ),
    in_words(_FINALITY, "write latest, safe, finalized or confirmations:n, where n has at most four digits"),
]
_AMOUNT = r"(0|[1-9][0-9]{0,77})(\.[0-9]{1,36})?"
Amount = Annotated[
    str,
    Field(pattern=f"^{_AMOUNT}$", description="A decimal number as text, such as 1000.5."),
    in_words(_AMOUNT, 'an amount is a decimal number as text, such as "1000.5"'),
]
Decimals = Annotated[int, Field(ge=0, le=decimals_max)]


def _is_event(value: str) -> str:
    return _written(lambda: str(read_event(value)))


def _is_function(value: str) -> str:
    return _written(lambda: str(read_function(value)))


def _written(read: Callable[[], str]) -> str:
    """The one spelling of a signature; refused with the position where it cannot be read."""
    try:
        written = read()
    except BadSignature as bad:
        raise ValueError(str(bad)) from bad
    if len(written) > signature_chars_max:
        raise ValueError(
            f"written out in full it has {len(written)} characters; at most {signature_chars_max} are read"
        )
    return written


EventSignature = Annotated[
    str,
    Field(
        min_length=1,
        max_length=signature_chars_max,
        description="Such as `Transfer(address indexed from, address indexed to, uint256 value)`.",
    ),
    AfterValidator(_is_event),
]
FunctionSignature = Annotated[
    str,
    Field(
        min_length=1,
        max_length=signature_chars_max,
        description="Such as `balanceOf(address owner) returns (uint256)`.",
    ),
    AfterValidator(_is_function),
]


class OfChain(Wire):
    """What all kinds have that are seen on a chain."""

    chain: Chain
    finality: Finality = "latest"
    where: Where | None = None


class EvmBlock(OfChain):
    """Blocks: each of them, or every n-th, which is one whose number n divides."""

    kind: Literal["evm.block"]
    every: int = Field(default=1, ge=1, le=every_max, description="1 for each block.")


class EvmLog(OfChain):
    """Logs of contracts on an EVM chain, by address, topics or event: at least one of the three.

    `topics` go by position, as in `eth_getLogs`: a value, a list out of which any will do, or null for anything. A log
    with fewer topics than there are positions here does not match. `event` says what the first topic is, and that the
    log shall be decoded.
    """

    kind: Literal["evm.log"]
    address: Addresses | None = Field(default=None, description="The contract, or any one out of several.")
    topics: list[Topic | Annotated[list[Topic], Field(max_length=topic_values_max)] | None] | None = Field(
        default=None, max_length=4, description="What each topic has to be."
    )
    event: EventSignature | None = None

    @model_validator(mode="after")
    def _wants_something(self) -> EvmLog:
        if not self.address and not self.event and not any(self.topics or ()):
            raise ValueError("name an address, a topic or an event: all logs of a chain are too many")
        if self.event and self.topics and self.topics[0]:
            raise ValueError("the event says what the first topic is: leave it null in topics, or leave event out")
        return self


class EvmTransfer(OfChain):
    """Transfers of the chain's own currency by transactions, or of an ERC-20 token. Amounts are in whole tokens.

    What a contract passes on within a transaction is no transaction of its own, and `native` does not see it.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    kind: Literal["evm.transfer"]
    asset: Literal["native"] | Address = Field(description="`native`, or the address of an ERC-20 token.")
    decimals: Decimals = Field(default=18, description="Of the token, as its contract says; 18 for `native`.")
    from_: Addresses | None = Field(default=None, alias="from", description="Who pays: any one of these.")
    to: Addresses | None = Field(default=None, description="Who is paid: any one of these.")
    either: Addresses | None = Field(default=None, description="Who pays or is paid: any one of these.")
    min: Amount | None = Field(default=None, description="The least amount to tell.")
    max: Amount | None = Field(default=None, description="The greatest amount to tell.")

    @model_validator(mode="after")
    def _can_be_met(self) -> EvmTransfer:
        if self.asset == "native" and self.decimals != 18:
            raise ValueError("decimals: the chain's own currency has 18")
        for name, amount in (("min", self.min), ("max", self.max)):
            if amount is not None and len(amount.partition(".")[2]) > self.decimals:
                raise ValueError(f"{name}: the asset has {self.decimals} decimals, and {amount} has more")
        if self.min is not None and self.max is not None and Decimal(self.min) > Decimal(self.max):
            raise ValueError("`min` is greater than `max`: no amount is both")
        return self


class EvmContractCreated(OfChain):
    """Contracts that transactions create. What a contract creates within a transaction is not seen."""

    kind: Literal["evm.contract_created"]
    creator: Addresses | None = Field(default=None, description="Who signed: any one of these; absent for anybody.")


class EvmNftMint(OfChain):
    """Tokens that come into being: ERC-721 `Transfer`, ERC-1155 `TransferSingle` and `TransferBatch` from nobody."""

    kind: Literal["evm.nft_mint"]
    collection: Addresses | None = Field(default=None, description="The contract: any one of these.")
    to: Addresses | None = Field(default=None, description="Who receives: any one of these.")

    @model_validator(mode="after")
    def _wants_something(self) -> EvmNftMint:
        if not self.collection and not self.to:
            raise ValueError("name a collection or who receives: all mints of a chain are too many")
        return self


class EvmLiquidity(OfChain):
    """Liquidity that is added to a pool or taken out: `Mint` and `Burn` of Uniswap v2, v3 and what is built alike."""

    kind: Literal["evm.liquidity"]
    pool: Addresses = Field(description="The pool, or any one out of several.")
    change: Literal["added", "removed"] | None = Field(default=None, description="Absent for both.")

    @model_validator(mode="after")
    def _wants_something(self) -> EvmLiquidity:
        if not self.pool:
            raise ValueError("pool: name at least one")
        return self


class Moves(Wire):
    """Told when the price is so far from what it was within the window; from then on it is measured anew."""

    rule: Literal["moves"]
    percent: Annotated[str, Field(pattern=r"^([1-9][0-9]{0,3}(\.[0-9]{1,6})?|0\.0{0,5}[1-9][0-9]{0,5})$")] = Field(
        description="How far, up or down, as decimal text such as 2.5."
    )
    window: timedelta = Field(
        ge=window_min, le=window_max, description="How far back, by the time of blocks: PT10S to PT24H."
    )


class Crosses(Wire):
    """Told when the price gets to the other side of a level, or onto it."""

    rule: Literal["crosses"]
    level: Amount = Field(description="As decimal text, such as 3000.")


class EvmPrice(OfChain):
    """The price in a pool of Uniswap v2 (`Sync`) or v3 (`Swap`) style: how much of token 1 one of token 0 is worth."""

    kind: Literal["evm.price"]
    pool: Address
    decimals0: Decimals = Field(default=18, description="Of the pool's token 0.")
    decimals1: Decimals = Field(default=18, description="Of the pool's token 1.")
    inverted: bool = Field(default=False, description="How much of token 0 one of token 1 is worth, instead.")
    when: Annotated[Moves | Crosses, Field(discriminator="rule")]


class EvmCall(OfChain):
    """What a function of a contract answers, whenever it changes from one block to the next.

    Either `function`, with its `arguments`, or `data`: the call as bytes.
    """

    kind: Literal["evm.call"]
    address: Address
    function: FunctionSignature | None = None
    arguments: list[Json] | None = Field(
        default=None, max_length=32, description="Integers may be decimal text; bytes and addresses are hexadecimal."
    )
    data: Annotated[str, Field(pattern=r"^0x([0-9a-fA-F]{2})*$", max_length=2 + 2 * call_bytes_max)] | None = None

    @model_validator(mode="after")
    def _calls_something(self) -> EvmCall:
        if (self.function is None) == (self.data is None):
            raise ValueError("give either function, with its arguments, or data")
        if self.function is None and self.arguments is not None:
            raise ValueError("arguments: they belong to a function; data holds its own")
        if self.function is not None:
            try:
                laid_out = encode(read_function(self.function).inputs, self.arguments or [])
            except Unencodable as bad:
                raise ValueError(f"arguments{''.join(f'/{step}' for step in bad.path)}: {bad}") from bad
            if len(laid_out) > call_bytes_max:
                raise ValueError(f"arguments: they take {len(laid_out)} bytes; at most {call_bytes_max} are sent")
        return self


EvmWatched = EvmBlock | EvmLog | EvmTransfer | EvmContractCreated | EvmNftMint | EvmLiquidity | EvmPrice | EvmCall
"""All that is seen on a chain."""
