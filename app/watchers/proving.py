"""Proofs of what agents were told: made of the block itself, and checked before they are given."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

from app.kit import limits
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.subscriptions.service import Subscriptions
from app.watchers.providers import Chain
from app.watchers.unproven import refusal
from app.watchers.whole_blocks import WholeBlocks
from tocsin import proofs
from tocsin.problems import NotProvable, TooManyRequests
from tocsin.schemas.proofs import EventProof

__all__ = ["Proving"]


class Proving:
    """Makes proofs, whenever an agent asks for one: nothing is kept of them."""

    def __init__(
        self, transaction: Transaction, clock: Clock, subscriptions: Subscriptions, chains: Mapping[str, Chain]
    ) -> None:
        self._transaction = transaction
        self._subscriptions = subscriptions
        self._chains = chains
        self._blocks = WholeBlocks(chains, clock)
        self._making = asyncio.Semaphore(limits.proofs_made_at_once)
        self._asking = Counter[str]()

    async def proof(self, agent_id: str, event_id: str, subscription_id: str | None = None) -> EventProof:
        """The proof of an event that a subscription of the agent's was told. May take seconds: holds no transaction."""
        if self._asking[agent_id] >= limits.proofs_per_agent_at_once:
            busy = f"{limits.proofs_per_agent_at_once} proofs are being made for you at this moment"
            raise TooManyRequests(busy, headers={"Retry-After": "1"})
        self._asking[agent_id] += 1
        try:
            return await self._proof(agent_id, event_id, subscription_id)
        finally:
            self._asking[agent_id] -= 1
            # Agents come and go.
            self._asking += Counter()

    async def close(self) -> None:
        """Stop reading blocks."""
        await self._blocks.close()

    async def _proof(self, agent_id: str, event_id: str, subscription_id: str | None) -> EventProof:
        async with self._transaction() as db:
            telling = await self._subscriptions.told(db, agent_id, event_id, subscription_id)
        said = telling.said
        if said["kind"] not in proofs.RULES:
            why = proofs.NO_PROOF.get(said["kind"], "they are of nothing that a chain commits to")
            raise NotProvable(f"events of kind {said['kind']}: {why}")
        payload, retracted = said["payload"], telling.type == "event.retracted"
        chain, block_hash = payload["chain"], payload["block"]["hash"]
        if chain not in self._chains:
            raise NotProvable(f"this relay does not watch {chain} any more: ask a node of your own")
        place = _place(payload)
        found = await self._blocks.read(chain, block_hash, whole=bool(place), agent_id=agent_id)
        if not isinstance(found, proofs.Contents):
            raise refusal(chain, block_hash, found, retracted=retracted)
        event = {name: said[name] for name in ("event_id", "kind", "observed_at", "payload")}
        try:
            async with self._making:
                proof = await asyncio.to_thread(_made, found, chain, place, event)
        except proofs.ProofError as error:
            # Told as a node answered that could not be checked: better to say so than to give what proves otherwise.
            raise NotProvable(
                f"the block says otherwise than the event: {error.part}: {error.reason}. Do not rely on the event"
            ) from error
        heard = {"subscription_id": telling.subscription_id, "also_told_to": telling.others}
        shown = {"event": event, "retracted": retracted, **heard, "proof": proof.document()}
        return EventProof.model_validate(shown)


def _made(contents: proofs.Contents, chain: str, place: tuple[int, ...], event: Mapping[str, Any]) -> proofs.Proof:
    """The proof, once it has been verified. Takes milliseconds for each hundred transactions of the block."""
    proof = contents.proof(chain, *place)
    proofs.verify(proof, trusted_chain=chain, trusted_block_hash=f"0x{contents.hash.hex()}", event=event)
    return proof


def _place(payload: Mapping[str, Any]) -> tuple[int, ...]:
    """Where in its block an event is: of all of it, of a transaction, or of a log."""
    if payload.get("transaction") is None:
        return ()
    index: int = payload["transaction"]["index"]
    return (index,) if payload.get("log") is None else (index, payload["log"]["index"])
