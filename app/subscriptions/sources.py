"""What has to be polled, and what is wanted of it: a wish taken apart, so that equal parts are shared.

Two wishes share a source when one upstream request serves both, and a filter when they want the same of it. Their ids
are hashes: whoever wishes for the same arrives at the same row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.kit.ids import derived_id
from app.subscriptions import inbox_terms as inboxes
from app.subscriptions import web
from app.subscriptions.matching import LogFilter, log_filter
from tocsin.schemas.subscriptions import EvmLog, HttpFeed, HttpJson, Inbox, Watched

__all__ = ["Wish", "filter_of", "taken_apart", "watched"]


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


def taken_apart(wanted: Watched) -> Wish:
    """The source and the filter that this comes down to."""
    match wanted:
        case EvmLog():
            return Wish("evm", {"chain": wanted.chain}, {"kind": "evm.log", **_spelt(wanted)})
        case HttpJson() | HttpFeed():
            return Wish(wanted.kind, *web.taken_apart(wanted))
        case Inbox():
            return Wish("inbox", inboxes.params_of(wanted), {"kind": "inbox"})


def watched(params: Mapping[str, Any], spec: Mapping[str, Any]) -> Watched:
    """What was wished for, put together again."""
    if spec["kind"] == "evm.log":
        return EvmLog(kind="evm.log", chain=params["chain"], address=spec["address"], topics=spec["topics"])
    return inboxes.watched(params) if spec["kind"] == "inbox" else web.watched(params, spec)


def filter_of(spec: Mapping[str, Any]) -> LogFilter:
    """The log filter that a spec describes."""
    return log_filter(spec["address"], spec["topics"])


def _spelt(wanted: EvmLog) -> dict[str, Any]:
    """The filter in its canonical form, as JSON has it."""
    made = log_filter(wanted.address, wanted.topics)
    return {
        "address": None if made.addresses is None else list(made.addresses),
        "topics": [None if values is None else list(values) for values in made.topics],
    }


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
