"""What a log says, by the signature of its event. Contracts write what they like: what cannot be read has a reason."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Any, cast

from app.subscriptions.matching import Log
from tocsin.abi import Event, Kind, Malformed, decode, read_event
from tocsin.abi.coding import elementary
from tocsin.proofs import keccak

__all__ = ["decoded", "exact", "topic_of"]


@cache
def topic_of(canonical: str) -> str:
    """The first topic of the logs of an event, by its canonical signature."""
    return "0x" + keccak(canonical.encode()).hex()


def decoded(event: Event, log: Log) -> dict[str, Any]:
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


def _of_topic(kind: Kind, topic: str, name: str) -> Any:
    """What a topic says: the value, or the hash of one that would not fit."""
    if kind.elementary is None or kind.elementary in {"string", "bytes"}:
        return topic
    return elementary(kind.elementary, bytes.fromhex(topic[2:]), name)


def exact(value: Any) -> Any:
    """The value as JSON holds it without loss: numbers as decimal text."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return {name: exact(each) for name, each in cast(dict[str, Any], value).items()}
    return [exact(each) for each in cast(Sequence[Any], value)]


TRANSFER = read_event("Transfer(address indexed from, address indexed to, uint256 value)")
MINTED_721 = read_event("Transfer(address indexed from, address indexed to, uint256 indexed id)")
MINTED_1155 = read_event(
    "TransferSingle(address indexed operator, address indexed from, address indexed to, uint256 id, uint256 value)"
)
MINTED_1155_BATCH = read_event(
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
