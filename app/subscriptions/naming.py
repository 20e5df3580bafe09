"""Whether a condition names what its events never have: it would hold of none of them, and say so to nobody."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

from tocsin.abi import read_event, read_function
from tocsin.schemas.evm import EvmCall, EvmLog
from tocsin.schemas.subscriptions import Watched
from tocsin.schemas.watchers import (
    BlockSeen,
    CallChanged,
    ContractCreated,
    FeedItem,
    InboxReceived,
    JsonAppeared,
    JsonChanged,
    JsonCrossed,
    LiquidityChanged,
    LogSeen,
    NftMinted,
    PriceChanged,
    TransferSeen,
)
from tocsin.schemas.web import HttpJson
from tocsin.schemas.wire import Wire

_PAYLOADS: dict[str, type[Wire]] = {
    "evm.block": BlockSeen,
    "evm.call": CallChanged,
    "evm.contract_created": ContractCreated,
    "evm.liquidity": LiquidityChanged,
    "evm.log": LogSeen,
    "evm.nft_mint": NftMinted,
    "evm.price": PriceChanged,
    "evm.transfer": TransferSeen,
    "http.feed": FeedItem,
    "inbox": InboxReceived,
}
_BY_RULE: dict[str, type[Wire]] = {"appeared": JsonAppeared, "changed": JsonChanged, "threshold": JsonCrossed}


def misnamed(wanted: Watched, reads: Iterable[tuple[str, ...]]) -> str | None:
    """What is wrong with the first of these names; None where a payload may have them all."""
    payload = _BY_RULE[wanted.rule.kind] if isinstance(wanted, HttpJson) else _PAYLOADS[wanted.kind]
    decoded = _decoded(wanted)
    return next((wrong for path in sorted(reads) if (wrong := _wrong(path, payload, decoded)) is not None), None)


def _wrong(path: Sequence[str], payload: type[Wire], decoded: Sequence[str]) -> str | None:
    """Why this name leads nowhere."""
    within: type[Wire] | None = payload
    for depth, name in enumerate(path):
        if within is not None:
            members = _members(within)
            if name not in members:
                return _told(path, depth, list(members))
            within = members[name]
        elif path[depth - 1] == "decoded":
            return None if name in decoded else _told(path, depth, decoded)
        else:
            # From here on it is the contract's, the site's or the sender's own.
            return None
    return None


def _told(path: Sequence[str], depth: int, there_are: Sequence[str]) -> str:
    where = f"`{'.'.join(path[:depth])}`" if depth else "the payload"
    has = ", ".join(there_are) or "nothing without an `event` or a `function` to decode by"
    return f"{where} has no `{path[depth]}`, and so nothing would be told; it has {has}"


def _members(model: type[Wire]) -> dict[str, type[Wire] | None]:
    """What a payload has, by the names that it is told with; and what each of them is, where that is known."""
    return {field.alias or name: _typed(field.annotation) for name, field in model.model_fields.items()}


def _typed(annotation: object) -> type[Wire] | None:
    types = (each for each in (annotation, *get_args(annotation)) if isinstance(each, type))
    return next((each for each in types if issubclass(each, Wire)), None)


def _decoded(wanted: Watched) -> Sequence[str]:
    """The parameters that are told by name."""
    match wanted:
        case EvmLog(event=str() as event):
            return [each.name for each in read_event(event).inputs]
        case EvmCall(function=str() as function):
            return [each.name for each in read_function(function).outputs]
        case _:
            return []
