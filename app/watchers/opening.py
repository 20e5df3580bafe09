"""From settings to chains that can be watched."""

from __future__ import annotations

import httpx

from app.kit import limits
from app.kit.clock import Clock
from app.kit.operator_http import Room
from app.settings import ChainSettings
from app.watchers.evidence import held_to
from app.watchers.jsonrpc import Held, Rpc
from app.watchers.providers import Chain, Rules

# Blocks until a chain is taken for final where its node does not say: 65 on Ethereum, which is two epochs and one, 200
# on Polygon, 240 on Arbitrum, and 30 elsewhere.
_FINAL_DEPTHS = {"eip155:1": 65, "eip155:137": 200, "eip155:42161": 240}
_FINAL_DEPTH = 30


def chain_of(name: str, settings: ChainSettings, http: httpx.AsyncClient, clock: Clock) -> Chain:
    """The chain, with all its providers."""
    held, room = Held(held_to(settings.verified)), Room(limits.rpc_small_answer_bytes_max)
    seconds = settings.timeout_seconds
    providers = [
        Rpc(http, name, each.url, held=held, room=room, name=each.name, timeout_seconds=seconds, clock=clock)
        for each in settings.rpc_url
    ]
    return Chain(providers, rules_of(name, settings), clock)


def rules_of(name: str, settings: ChainSettings) -> Rules:
    """How the chain is followed, with what its operator left open filled in."""
    depth = settings.finality_depth
    depth = _FINAL_DEPTHS.get(name, _FINAL_DEPTH) if depth is None else depth
    return Rules(
        poll_seconds=settings.poll_seconds,
        by_tags=settings.finality == "tags",
        final_depth=depth,
        # With a margin: what may still be taken back has to be remembered.
        ring_blocks_max=settings.ring_blocks or max(limits.chain_ring_blocks_max, 2 * depth),
        agreement=settings.agreement,
    )
