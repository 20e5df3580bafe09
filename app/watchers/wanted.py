"""What a filter wants, ready to be asked: made once of its spec, and kept while somebody wants it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from typing import Any, TypeAlias, cast

from app.kit.ids import derived_id
from app.subscriptions.conditions import Condition
from app.subscriptions.matching import Log, LogFilter, log_filter
from app.subscriptions.sources import watched
from app.watchers import decoding
from app.watchers.blocks import REVERTED, ContractCall, Mined
from app.watchers.decoding import decoded, topic_of
from app.watchers.prices import price_v2, price_v3
from tocsin.abi import Function, Malformed, decode, encode, read_event, read_function
from tocsin.proofs import keccak
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

__all__ = ["Detail", "Wanted", "key_of", "shown_as_logs", "wanted_of"]

Detail: TypeAlias = dict[str, Any]
"""What a kind adds to the payload, with numbers as numbers."""

LogView: TypeAlias = Callable[[Log], Detail | None]
"""What a kind has to say of a log that its filters let through; None where it is nothing of the kind after all."""


OfTransaction: TypeAlias = Callable[[Mined], Detail | None]
"""What a kind has to say of a transaction; None where that is nothing."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter. What is not set is not what it is about."""

    id: str
    kind: str
    view: str
    """Filters of one view say the same of the same event: what one is told, all are."""
    condition: Condition | None = None
    full: bool = False
    """Whether the transactions have to be known themselves, and not only by their hashes."""
    shapes: Sequence[LogFilter] = ()
    of_log: LogView | None = None
    passes: Callable[[Detail], bool] | None = None
    """What else has to hold of the detail."""
    every: int | None = None
    of_transaction: OfTransaction | None = None
    call: ContractCall | None = None
    answer: Callable[[str], Detail] | None = None
    price: EvmPrice | None = None


def wanted_of(filter_id: str, params: Mapping[str, Any], spec: Mapping[str, Any]) -> Wanted:
    """The filter that a spec describes."""
    wish = cast(EvmWatched, watched(params, spec))
    condition = Condition(wish.where, lower_hex=True) if wish.where is not None else None
    full = condition is not None and any(
        path[0] == "transaction" and path[1:2] not in {("hash",), ("index",)} for path in condition.reads
    )
    made = _MAKERS[wish.kind](filter_id, wish)
    view = derived_id("view", made.view, "full" if full else "")
    return replace(made, condition=condition, full=full or made.full, view=view)


def _block(filter_id: str, wish: EvmBlock) -> Wanted:
    return Wanted(filter_id, wish.kind, "block", every=wish.every)


def _log(filter_id: str, wish: EvmLog) -> Wanted:
    topics = list(wish.topics or ())
    if wish.event is None:
        return Wanted(filter_id, wish.kind, "log", shapes=[log_filter(wish.address, topics)], of_log=lambda _: {})
    event = read_event(wish.event)
    indexed = sum(each.indexed for each in event.inputs)
    # As many topics as the event has: others that share its first one are other events.
    positions = [topic_of(event.canonical), *topics[1:], *[None] * (indexed - len(topics[1:]))]

    def of_log(log: Log) -> Detail | None:
        if len(log.topics) != indexed + 1:
            return None
        try:
            return {"event": event.name, "decoded": decoded(event, log)}
        except Malformed as malformed:
            return {"event": event.name, "decoded": None, "undecoded": str(malformed)}

    return Wanted(filter_id, wish.kind, f"log {event}", shapes=[log_filter(wish.address, positions)], of_log=of_log)


def _transfer(filter_id: str, wish: EvmTransfer) -> Wanted:
    low, high = (None if each is None else Decimal(each) for each in (wish.min, wish.max))

    def passes(detail: Detail) -> bool:
        amount: Decimal = detail["transfer"]["amount"]
        return (low is None or amount >= low) and (high is None or amount <= high)

    shapes = _sides(wish)
    if wish.asset == "native":
        return Wanted(
            filter_id,
            wish.kind,
            "transfer native",
            full=True,
            shapes=shapes,
            of_transaction=_paid,
            passes=passes,
        )

    def of_log(log: Log) -> Detail | None:
        values = _read(decoding.TRANSFER, log)
        # Tokens with an id transfer in the same words, but with one topic more: those are not read here.
        return None if values is None else {"transfer": _transferred(values, log.address, wish.decimals)}

    return Wanted(filter_id, wish.kind, f"transfer {wish.decimals}", shapes=shapes, of_log=of_log, passes=passes)


def _sides(wish: EvmTransfer) -> Sequence[LogFilter]:
    """Who pays and who is paid, in the topics where they stand."""
    senders, receivers, either = (_padded(each) for each in (wish.from_, wish.to, wish.either))
    sides = [(senders, receivers)]
    if either is not None:
        sides = [(_both(senders, either), receivers), (senders, _both(receivers, either))]
    # Where nobody is left who could pay, or be paid, nothing is wanted; an empty list would let anybody through.
    return [log_filter(wish.asset, [TRANSFERRED, *side]) for side in sides if [] not in side]


def _paid(mined: Mined) -> Detail | None:
    if not mined.value or not mined.succeeded:
        return None
    values = {"from": mined.sender, "to": mined.to or mined.created, "value": mined.value}
    return {"transfer": _transferred(values, "native", 18)}


def _transferred(values: Mapping[str, Any], asset: str, decimals: int) -> Detail:
    units: int = values["value"]
    return {
        "asset": asset,
        "from": values["from"],
        "to": values["to"],
        "amount": _scaled(units, decimals),
        "units": units,
    }


def _created(filter_id: str, wish: EvmContractCreated) -> Wanted:
    shapes = [log_filter("created", ["created", _padded(wish.creator)])]
    return Wanted(filter_id, wish.kind, "created", full=True, shapes=shapes, of_transaction=_made)


def _made(mined: Mined) -> Detail | None:
    if mined.created is None or not mined.succeeded:
        return None
    return {"created": {"contract": mined.created, "creator": mined.sender}}


def shown_as_logs(mined: Mined) -> Sequence[Log]:
    """What a transaction did, in the shape that filters know: who paid whom, and who made a contract.

    Such a log has no address, so it is matched apart from those of contracts.
    """
    sender, receiver = (_topic(each) for each in (mined.sender, mined.to or mined.created))
    shown: list[Log] = []
    if mined.value and mined.succeeded:
        shown.append(Log("native", (TRANSFERRED, sender, receiver), "0x", mined.hash, mined.index, 0))
    if mined.created is not None and mined.succeeded:
        shown.append(Log("created", ("created", sender), "0x", mined.hash, mined.index, 0))
    return shown


def _topic(address: str | None) -> str:
    return "0x" + (address or "0x")[2:].rjust(64, "0")


TRANSFERRED = topic_of(decoding.TRANSFER.canonical)
_NOBODY = "0x" + "0" * 64


def _mint(filter_id: str, wish: EvmNftMint) -> Wanted:
    to = _padded(wish.to)
    one, several = topic_of(decoding.MINTED_1155.canonical), topic_of(decoding.MINTED_1155_BATCH.canonical)
    shapes = [
        # Four positions: the id is a topic, as it is of no other transfer.
        log_filter(wish.collection, [topic_of(decoding.MINTED_721.canonical), _NOBODY, to, None]),
        log_filter(wish.collection, [[one, several], None, _NOBODY, to]),
    ]
    return Wanted(filter_id, wish.kind, "mint", shapes=shapes, of_log=_minted)


def _minted(log: Log) -> Detail | None:
    for event, standard in (
        (decoding.MINTED_721, "erc721"),
        (decoding.MINTED_1155, "erc1155"),
        (decoding.MINTED_1155_BATCH, "erc1155"),
    ):
        values = _read(event, log)
        if values is not None:
            ids = values["ids"] if "ids" in values else [values["id"]]
            amounts = values["values"] if "values" in values else [values.get("value", 1)]
            return {
                "mint": {
                    "standard": standard,
                    "collection": log.address,
                    "to": values["to"],
                    "ids": ids,
                    "amounts": amounts,
                }
            }
    return None


_CHANGES = (
    (decoding.ADDED_V2, "added", "v2"),
    (decoding.REMOVED_V2, "removed", "v2"),
    (decoding.ADDED_V3, "added", "v3"),
    (decoding.REMOVED_V3, "removed", "v3"),
)


def _liquidity(filter_id: str, wish: EvmLiquidity) -> Wanted:
    events = [topic_of(event.canonical) for event, change, _ in _CHANGES if wish.change in (None, change)]
    return Wanted(filter_id, wish.kind, "liquidity", shapes=[log_filter(wish.pool, [events])], of_log=_changed)


def _changed(log: Log) -> Detail | None:
    for event, change, version in _CHANGES:
        values = _read(event, log)
        if values is not None:
            named = {"pool": log.address, "change": change, "version": version}
            return {
                "liquidity": named
                | {"amount0": values["amount0"], "amount1": values["amount1"], "liquidity": values.get("amount")}
            }
    return None


def _price(filter_id: str, wish: EvmPrice) -> Wanted:
    events = [topic_of(event.canonical) for event in (decoding.PRICED_V2, decoding.PRICED_V3)]

    def of_log(log: Log) -> Detail | None:
        reserves = _read(decoding.PRICED_V2, log)
        if reserves is not None:
            price, version = price_v2(reserves["reserve0"], reserves["reserve1"], wish), "v2"
        else:
            swap = _read(decoding.PRICED_V3, log)
            price, version = price_v3(swap["sqrtPriceX96"], wish) if swap else None, "v3"
        return None if price is None else {"price": {"pool": log.address, "version": version, "price": price}}

    # Each rule looks back for itself, so no two filters share what they say.
    shapes = [log_filter(wish.pool, [events])]
    return Wanted(filter_id, wish.kind, f"price {filter_id}", shapes=shapes, of_log=of_log, price=wish)


def _call(filter_id: str, wish: EvmCall) -> Wanted:
    function = None if wish.function is None else read_function(wish.function)
    data = (wish.data or "").lower()
    if function is not None:
        data = "0x" + (keccak(function.canonical.encode())[:4] + encode(function.inputs, wish.arguments or [])).hex()
    call = ContractCall(wish.address.lower(), data)

    def answer(result: str) -> Detail:
        return _answered(function, result)

    # A name of its own for each way to read the same answer.
    return Wanted(filter_id, wish.kind, f"call {key_of(call)} {function}", call=call, answer=answer)


def key_of(call: ContractCall) -> str:
    """Names a call: those of the same data to the same contract are one."""
    return keccak(bytes.fromhex(call.address[2:] + call.data[2:])).hex()


def _answered(function: Function | None, result: str) -> Detail:
    said: Detail = {"reverted": result == REVERTED, "data": None if result == REVERTED else result}
    if function is None or result == REVERTED:
        return said
    try:
        return said | {"decoded": decode(function.outputs, bytes.fromhex(result[2:]))}
    except Malformed as malformed:
        return said | {"decoded": None, "undecoded": str(malformed)}


_MAKERS: Mapping[str, Callable[[str, Any], Wanted]] = {
    "evm.block": _block,
    "evm.log": _log,
    "evm.transfer": _transfer,
    "evm.contract_created": _created,
    "evm.nft_mint": _mint,
    "evm.liquidity": _liquidity,
    "evm.price": _price,
    "evm.call": _call,
}


def _read(event: decoding.Event, log: Log) -> dict[str, Any] | None:
    """The parameters of an event, where this is one."""
    if not log.topics or log.topics[0] != topic_of(event.canonical):
        return None
    try:
        return decoded(event, log)
    except Malformed:
        return None


# 256 bits have 78 digits: nothing is rounded.
_EXACT = Context(prec=120)


def _scaled(units: int, decimals: int) -> Decimal:
    """So many units as whole tokens."""
    return _EXACT.normalize(_EXACT.scaleb(Decimal(units), -decimals))


def _lowered(addresses: str | Sequence[str] | None) -> frozenset[str] | None:
    if isinstance(addresses, str):
        return frozenset({addresses.lower()})
    return frozenset(each.lower() for each in addresses) if addresses else None


def _padded(addresses: str | Sequence[str] | None) -> list[str] | None:
    """Addresses as topics have them."""
    lowered = _lowered(addresses)
    return None if lowered is None else sorted(_topic(each) for each in lowered)


def _both(one: list[str] | None, other: list[str]) -> list[str]:
    return other if one is None else sorted(set(one) & set(other))
