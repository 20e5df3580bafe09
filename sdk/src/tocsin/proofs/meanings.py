"""What the logs of well-known events mean: read by the relay to tell it, and by agents to check what they were told.

Values are as the ABI has them: integers are `int`. `exact` writes them as payloads do.
"""

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from functools import cache
from typing import Any, Protocol, cast

from tocsin.abi import Event, Kind, Malformed, decode, read_event
from tocsin.abi.coding import elementary
from tocsin.proofs.keccak import keccak

__all__ = [
    "ADDED_V2",
    "ADDED_V3",
    "LIQUIDITY",
    "MINTED",
    "MINTED_BATCH",
    "MINTED_MULTI",
    "PRICED_V2",
    "PRICED_V3",
    "REMOVED_V2",
    "REMOVED_V3",
    "TRANSFER",
    "Emitted",
    "decoded",
    "exact",
    "liquidity_of",
    "mint_of",
    "read_log",
    "scaled",
    "topic_of",
    "transfer_of",
]

TRANSFER = read_event("Transfer(address indexed from, address indexed to, uint256 value)")
MINTED = read_event("Transfer(address indexed from, address indexed to, uint256 indexed id)")
MINTED_MULTI = read_event(
    "TransferSingle(address indexed operator, address indexed from, address indexed to, uint256 id, uint256 value)"
)
MINTED_BATCH = read_event(
    "TransferBatch(address indexed operator, address indexed from, address indexed to, uint256[] ids, uint256[] values)"
)
ADDED_V2 = read_event("Mint(address indexed sender, uint256 amount0, uint256 amount1)")
REMOVED_V2 = read_event("Burn(address indexed sender, uint256 amount0, uint256 amount1, address indexed to)")
ADDED_V3 = read_event(
    "Mint(address sender, address indexed owner, int24 indexed tickLower, int24 indexed tickUpper, uint128 amount, "
    "uint256 amount0, uint256 amount1)"
)
REMOVED_V3 = read_event(
    "Burn(address indexed owner, int24 indexed tickLower, int24 indexed tickUpper, uint128 amount, uint256 amount0, "
    "uint256 amount1)"
)
PRICED_V2 = read_event("Sync(uint112 reserve0, uint112 reserve1)")
PRICED_V3 = read_event(
    "Swap(address indexed sender, address indexed recipient, int256 amount0, int256 amount1, uint160 sqrtPriceX96, "
    "uint128 liquidity, int24 tick)"
)
LIQUIDITY = (
    (ADDED_V2, "added", "v2"),
    (REMOVED_V2, "removed", "v2"),
    (ADDED_V3, "added", "v3"),
    (REMOVED_V3, "removed", "v3"),
)
_MINTS = ((MINTED, "erc721"), (MINTED_MULTI, "erc1155"), (MINTED_BATCH, "erc1155"))
_NOBODY = "0x" + "0" * 40
# 256 bits have 78 digits: nothing is rounded.
_EXACT = Context(prec=120)


class Emitted(Protocol):
    """A log, as a contract wrote it. Hexadecimal is lower case, after 0x."""

    @property
    def address(self) -> str: ...
    @property
    def topics(self) -> Sequence[str]: ...
    @property
    def data(self) -> str: ...


@cache
def topic_of(canonical: str) -> str:
    """The first topic of the logs of an event, by its canonical signature."""
    return "0x" + keccak(canonical.encode()).hex()


def decoded(event: Event, log: Emitted) -> dict[str, Any]:
    """The parameters by name, indexed or not. Raises Malformed for a log that is none of this event's."""
    indexed = [each for each in event.inputs if each.indexed]
    if len(log.topics) != len(indexed) + 1:
        raise Malformed(f"{len(log.topics)} topics, where the event has {len(indexed) + 1}")
    values: dict[str, Any] = {}
    for parameter, topic in zip(indexed, log.topics[1:], strict=True):
        values[parameter.name] = _of_topic(parameter.kind, topic, parameter.name)
    values |= decode([each for each in event.inputs if not each.indexed], bytes.fromhex(log.data[2:]))
    # In the order of the signature, whatever is indexed.
    return {each.name: values[each.name] for each in event.inputs}


def read_log(event: Event, log: Emitted) -> dict[str, Any] | None:
    """The parameters of an event; None where the log is none of it."""
    if not log.topics or log.topics[0] != topic_of(event.canonical):
        return None
    try:
        return decoded(event, log)
    except Malformed:
        return None


def transfer_of(log: Emitted) -> dict[str, Any] | None:
    """Who paid whom, and how many units, by an ERC-20 token's log; None where it is none.

    Tokens with an id transfer in the same words, but with one topic more: those are not read here.
    """
    return read_log(TRANSFER, log)


def mint_of(log: Emitted) -> dict[str, Any] | None:
    """The tokens with ids that came out of nothing; None where none did."""
    for event, standard in _MINTS:
        values = read_log(event, log)
        if values is None or values["from"] != _NOBODY:
            continue
        ids = values["ids"] if "ids" in values else [values["id"]]
        amounts = values["values"] if "values" in values else [values.get("value", 1)]
        return {"standard": standard, "collection": log.address, "to": values["to"], "ids": ids, "amounts": amounts}
    return None


def liquidity_of(log: Emitted) -> dict[str, Any] | None:
    """What was put into a pool or taken out of it; None where nothing was."""
    for event, change, version in LIQUIDITY:
        values = read_log(event, log)
        if values is not None:
            amounts = {"amount0": values["amount0"], "amount1": values["amount1"], "liquidity": values.get("amount")}
            return {"pool": log.address, "change": change, "version": version, **amounts}
    return None


def scaled(units: int, decimals: int) -> Decimal:
    """So many units as whole tokens."""
    return _EXACT.normalize(_EXACT.scaleb(Decimal(units), -decimals))


def exact(value: Any) -> Any:
    """The value as JSON holds it without loss: numbers as decimal text."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return {name: exact(each) for name, each in cast(Mapping[str, Any], value).items()}
    return [exact(each) for each in cast(Sequence[Any], value)]


def _of_topic(kind: Kind, topic: str, name: str) -> Any:
    """What a topic says: the value, or the hash of one that would not fit."""
    if kind.elementary is None or kind.elementary in {"string", "bytes"}:
        return topic
    return elementary(kind.elementary, bytes.fromhex(topic[2:]), name)
