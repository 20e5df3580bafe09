"""Blocks with all that is in them, checked against their hashes: what proofs are made of.

A block that was read is kept for a while, for whoever asks for another event of it. Those who ask for one that is being
read wait for the same answers, so that the calls do not grow with their number. For what is read beyond that, each
chain and each agent has an allowance: watchers live on the same providers.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any, TypeAlias, cast

from app.kit import limits
from app.kit.clock import Clock
from app.watchers.allowances import Allowances
from app.watchers.follower import Missing
from app.watchers.health import failed, in_order, served
from app.watchers.jsonrpc import Call, Fault, Outcome, Refused, Result, Rpc
from app.watchers.providers import Chain
from app.watchers.refusals import Meaning
from app.watchers.rpc import Node
from app.watchers.unproven import Unread, Why, unread
from tocsin import proofs
from tocsin.problems import TooManyRequests

__all__ = ["WholeBlocks"]

Found: TypeAlias = proofs.Contents | Sequence[Unread]
_Key: TypeAlias = tuple[str, str, bool]
_Spend: TypeAlias = Callable[[int], None]


class WholeBlocks:
    """Reads blocks for proofs, from whichever provider of their chain has them."""

    def __init__(self, chains: Mapping[str, Chain], clock: Clock) -> None:
        self._chains = chains
        self._clock = clock
        self._kept: OrderedDict[_Key, proofs.Contents] = OrderedDict()
        self._reading: dict[_Key, asyncio.Task[Found]] = {}
        self._turns = asyncio.Semaphore(limits.proof_blocks_at_once)
        self._of_chains = Allowances(at_once=limits.proof_calls_at_once_max, per_second=limits.proof_calls_per_second)
        self._of_agents = Allowances(
            at_once=limits.proof_calls_per_agent_at_once_max, per_second=limits.proof_calls_per_agent_per_second
        )

    async def read(self, chain: str, block_hash: str, *, whole: bool, agent_id: str) -> Found:
        """The block of this hash, or why each provider does not give it. Without `whole`, its header alone.

        The calls are made on the account of the agent that is the first to ask.
        """
        key = (chain, block_hash, whole)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key not in self._reading:
            if len(self._reading) >= limits.proof_waiting_max:
                raise TooManyRequests("too many proofs are asked for at this moment", headers={"Retry-After": "2"})
            self._require_allowance(chain, agent_id)
            task = asyncio.create_task(self._read(key, agent_id), name="a block for a proof")
            self._reading[key] = task
            task.add_done_callback(lambda _: self._reading.pop(key, None))
        # Others may wait for it, so it goes on when one of them goes away.
        return await asyncio.shield(self._reading[key])

    async def close(self) -> None:
        """Stop reading."""
        for task in list(self._reading.values()):
            task.cancel()
        await asyncio.gather(*self._reading.values(), return_exceptions=True)

    def _require_allowance(self, chain: str, agent_id: str) -> None:
        now = self._clock.monotonic()
        for seconds, whose in (
            (self._of_agents.wait_seconds(agent_id, now), "your proofs have taken"),
            (self._of_chains.wait_seconds(chain, now), f"proofs of {chain} have taken"),
        ):
            if seconds:
                said = (
                    f"{whose} as many calls to its providers as they may for now; blocks that were read are still here"
                )
                raise TooManyRequests(said, headers={"Retry-After": str(ceil(seconds))})

    async def _read(self, key: _Key, agent_id: str) -> Found:
        chain, block_hash, whole = key

        def spend(calls: int) -> None:
            now = self._clock.monotonic()
            self._of_chains.spend(chain, calls, now)
            self._of_agents.spend(agent_id, calls, now)

        try:
            async with asyncio.timeout(limits.proof_timeout_seconds), self._turns:
                found = await self._asked(self._chains[chain], block_hash, whole, spend)
        except TimeoutError:
            return [Unread(Why.AWAY, f"it took longer than {limits.proof_timeout_seconds} s")]
        if isinstance(found, proofs.Contents):
            self._keep(key, found)
        return found

    async def _asked(self, chain: Chain, block_hash: str, whole: bool, spend: _Spend) -> Found:
        """The block, from the first provider that gives it."""
        now = self._clock.monotonic()
        places = in_order([rpc.health for rpc in chain.providers], now)
        lacking = [
            Unread(Why.AWAY, f"{rpc.name} failed not long ago", again_seconds=max(1.0, rpc.health.until - now))
            for place, rpc in enumerate(chain.providers)
            if place not in places
        ]
        for place in places:
            rpc = chain.providers[place]
            found = await _from(rpc, block_hash, whole, spend)
            if isinstance(found, proofs.Contents):
                rpc.health = served(rpc.health)
                return found
            if found.cause:
                rpc.health = failed(rpc.health, found.cause, found.reason, now, found.again_seconds)
            lacking.append(found)
        return lacking

    def _keep(self, key: _Key, contents: proofs.Contents) -> None:
        self._kept[key] = contents
        while sum(each.size for each in self._kept.values()) > limits.proof_blocks_kept_bytes_max:
            self._kept.popitem(last=False)


async def _from(rpc: Rpc, block_hash: str, whole: bool, spend: _Spend) -> proofs.Contents | Unread:
    """The block as one provider has it. Never raises for the provider's sake."""
    if not rpc.is_of_the_chain:
        stranger = await Node(rpc).of_another_chain()
        if stranger is not None:
            return unread(stranger)
        rpc.is_of_the_chain = True
    try:
        return await _checked(rpc, block_hash, whole, spend)
    except _Lacking as lacking:
        return lacking.unread
    except proofs.ProofError as error:
        return Unread(Why.OTHERWISE, f"{rpc.name}: {error.part}: {error.reason}")


async def _checked(rpc: Rpc, block_hash: str, whole: bool, spend: _Spend) -> proofs.Contents:
    calls: list[Call] = [("eth_getBlockByHash", (block_hash, whole))]
    if whole and rpc.has_block_receipts:
        calls.append(("eth_getBlockReceipts", (block_hash,)))
    spend(len(calls))
    answered, *further = await rpc.call_all(calls)
    block = _object(_known(answered, "eth_getBlockByHash"))
    if not whole:
        contents = proofs.Contents.read(block)
    else:
        transactions = _list(block.get("transactions"))
        receipts = await _receipts(rpc, further, transactions, spend)
        # Tens of milliseconds, and more of a large block: not those of all who are being answered meanwhile.
        contents = await asyncio.to_thread(proofs.Contents.read, block, receipts, transactions)
    if f"0x{contents.hash.hex()}" != block_hash:
        # Some nodes give the block that is now at the height of one that they had.
        raise _Lacking(Unread(Why.UNKNOWN, "another block than the one that was asked for", "wrong"))
    return contents


async def _receipts(rpc: Rpc, answered: Sequence[Outcome], transactions: Sequence[Any], spend: _Spend) -> Sequence[Any]:
    """All receipts of a block: at once where the provider gives them so, else one by one."""
    for outcome in answered:
        if not isinstance(outcome, Refused) or outcome.meaning in (Meaning.LIMITED, Meaning.EXHAUSTED):
            return _list(_known(outcome, "eth_getBlockReceipts"))
        rpc.has_block_receipts = outcome.meaning is not Meaning.UNSUPPORTED
    if len(transactions) > limits.proof_receipts_max:
        reason = f"{len(transactions)} receipts would have to be asked for one by one, and at most "
        raise _Lacking(Unread(Why.UNABLE, f"{reason}{limits.proof_receipts_max} are"))
    calls: list[Call] = [("eth_getTransactionReceipt", (_object(each).get("hash"),)) for each in transactions]
    spend(len(calls))
    return [_known(outcome, "eth_getTransactionReceipt") for outcome in await rpc.call_all(calls)]


class _Lacking(Exception):
    """The provider said nothing that could be used."""

    def __init__(self, unread: Unread) -> None:
        super().__init__(unread.reason)
        self.unread = unread


def _known(outcome: Outcome, method: str) -> object:
    match outcome:
        case Result(value=None):
            raise _Lacking(Unread(Why.UNKNOWN, f"{method}: the node does not know it"))
        case Result(value=value):
            return value
        case Refused(reason=reason, meaning=meaning, again_seconds=again_seconds):
            raise _Lacking(unread(Missing(f"{method}: {reason}", meaning.value, again_seconds)))
        case Fault(reason, cause, again_seconds):
            raise _Lacking(unread(Missing(reason, cause, again_seconds)))


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _Lacking(Unread(Why.OTHERWISE, "something else than an object", "wrong"))
    return cast(Mapping[str, Any], value)


def _list(value: object) -> Sequence[Any]:
    if not isinstance(value, list):
        raise _Lacking(Unread(Why.OTHERWISE, "something else than a list", "wrong"))
    return cast(Sequence[Any], value)
