"""What has to be polled, and what is wanted of it: a wish taken apart, so that equal parts are shared.

Two wishes share a source when one upstream request serves both, and a filter when they want the same of it. Their ids
are hashes: whoever wishes for the same arrives at the same row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from pydantic import Field, TypeAdapter

from app.kit.ids import derived_id
from app.subscriptions import inbox_terms as inboxes
from app.subscriptions import web
from app.subscriptions.matching import log_filter
from tocsin.schemas.evm import EvmBlock, EvmLiquidity, EvmLog, EvmNftMint, EvmTransfer, EvmWatched
from tocsin.schemas.subscriptions import HttpFeed, HttpJson, Inbox, Watched

__all__ = ["KINDS_WITH_A_PAST", "Wish", "has_a_past", "taken_apart", "watched"]

KINDS_WITH_A_PAST = "evm.block, evm.log, evm.transfer of a token, evm.nft_mint and evm.liquidity"


@dataclass(frozen=True, slots=True)
class Wish:
    """A source and a filter. `params` are whatever changes the upstream request, `spec` is all the rest."""

    kind: str
    params: Mapping[str, Any]
    spec: Mapping[str, Any]

    @property
    def source_id(self) -> str:
        return derived_id("src", self.kind, _canonical(self.params))

    @property
    def filter_id(self) -> str:
        return derived_id("flt", self.source_id, _canonical(self.spec))


def chain_source_id(chain: str) -> str:
    """The source that all share who watch this chain."""
    return Wish("evm", {"chain": chain}, {}).source_id


def taken_apart(wanted: Watched) -> Wish:
    """The source and the filter that this comes down to."""
    match wanted:
        case HttpJson() | HttpFeed():
            return Wish(wanted.kind, *web.taken_apart(wanted))
        case Inbox():
            where = {} if wanted.where is None else {"where": wanted.where}
            return Wish("inbox", inboxes.params_of(wanted), {"kind": "inbox", **where})
        case _:
            return Wish("evm", {"chain": wanted.chain}, _spelt(wanted))


def watched(params: Mapping[str, Any], spec: Mapping[str, Any]) -> Watched:
    """What was wished for, put together again."""
    if spec["kind"] == "inbox":
        return inboxes.watched(params, spec)
    if spec["kind"] in web.KINDS:
        return web.watched(params, spec)
    return _WATCHED.validate_json(orjson.dumps({**params, **spec}))


def has_a_past(wanted: Watched) -> bool:
    """Whether what happened before anybody asked can still be found: by the logs of past blocks, or by their numbers.

    The rest is compared with what was before it, or is in no log: all blocks would have to be read.
    """
    match wanted:
        case EvmBlock() | EvmLog() | EvmNftMint() | EvmLiquidity():
            return True
        case EvmTransfer(asset=asset):
            return asset != "native"
        case _:
            return False


# Of any kind: what holds addresses, one or several, and what holds one thing whose case does not matter.
_ADDRESSES = ("address", "from", "to", "either", "creator", "collection", "pool")
_WORDS = ("asset", "data")
_AMOUNTS = ("min", "max")


def _spelt(wanted: EvmWatched) -> dict[str, Any]:
    """The filter in its canonical form, as JSON has it: who wants the same arrives at the same text."""
    spec = wanted.model_dump(mode="json", exclude={"chain", "finality"}, exclude_none=True)
    for name, value in spec.items():
        if name in _ADDRESSES and wanted.kind in _ONE_ADDRESS:
            spec[name] = value.lower()
        elif name in _ADDRESSES:
            spec[name] = _one_of(value)
        elif name in _WORDS:
            spec[name] = value.lower()
        elif name in _AMOUNTS and "." in value:
            spec[name] = value.rstrip("0").rstrip(".")
    if isinstance(wanted, EvmLog):
        made = log_filter(wanted.address, wanted.topics)
        spec["address"] = None if made.addresses is None else list(made.addresses)
        spec["topics"] = [None if values is None else list(values) for values in made.topics]
    # An empty list allows any, as none does.
    return {name: value for name, value in spec.items() if value is not None or isinstance(wanted, EvmLog)}


_ONE_ADDRESS = ("evm.price", "evm.call")
_WATCHED: TypeAdapter[EvmWatched] = TypeAdapter(Annotated[EvmWatched, Field(discriminator="kind")])


def _one_of(values: str | Sequence[str]) -> list[str] | None:
    given = [values] if isinstance(values, str) else values
    return sorted({value.lower() for value in given}) or None


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
