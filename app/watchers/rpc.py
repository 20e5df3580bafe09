"""What a follower asks, asked of a node: each answer is read, and checked against what was asked.

Whatever goes wrong out there comes back as a value, with its reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from app.kit import limits
from app.watchers.answers import (
    Contradiction,
    Found,
    Header,
    header,
    logs_of_block,
    logs_of_receipts,
    matters,
    mined,
    no_logs,
    receipts_of,
    returned,
    transactions_of,
)
from app.watchers.blocks import REVERTED, ContractCall, Extra, Mined, Needs
from app.watchers.evidence import Verified, lacking, learned
from app.watchers.finality import Levels, plausible
from app.watchers.follower import (
    Answer,
    Ask,
    Block,
    ByHash,
    ByNumber,
    Contents,
    Elsewhere,
    Extras,
    Latest,
    Logs,
    Missing,
    More,
)
from app.watchers.jsonrpc import Call, Fault, Outcome, Refused, Result, Rpc
from app.watchers.refusals import Meaning

# Refusals that say nothing about the method: less would be shown by another one.
_ASK_SOMEBODY_ELSE = frozenset({Meaning.LIMITED, Meaning.EXHAUSTED, Meaning.UNKNOWN})
# What nodes answer to a call that the contract reverts.
_REVERTED_CODE = 3


class Node:
    """Answers what a follower asks, for one look: headers that were seen on the way are kept, as contents are checked
    against them. Nodes of one chain may share the blocks that they saw, to walk by; but whoever says what is in a block
    is checked against its own header."""

    def __init__(self, rpc: Rpc, blocks: dict[str, Block] | None = None) -> None:
        self._rpc = rpc
        self._headers: dict[str, Header] = {}
        self._blocks: dict[str, Block] = {} if blocks is None else blocks
        self._receipts: dict[str, Mapping[int, object]] = {}
        self.calls = 0
        self._bytes = 0

    async def answer(self, ask: Ask) -> Answer:
        """The answer, or why there is none. Never raises for the node's sake."""
        try:
            match ask:
                case Latest():
                    return await self._block("eth_getBlockByNumber", "latest")
                case ByNumber(number, since):
                    await self._read_ahead(since, number)
                    return await self._numbered(number)
                case ByHash(wanted):
                    return self._blocks.get(wanted) or await self._hashed(wanted)
                case Contents(blocks):
                    return await self._contents(blocks)
                case More(blocks, needs):
                    return await self._more(blocks, needs)
                case Elsewhere():
                    raise AssertionError("there is nobody else to ask here")
        except (Contradiction, _NoAnswer) as failure:
            return _missing(failure)

    async def head(self, *, with_tags: bool) -> tuple[Block, Levels | None] | Missing:
        """The head and what is final of it, in one request; None where this node has no words for it."""
        with_tags = with_tags and self._rpc.has_tags
        tags = ("latest", "safe", "finalized") if with_tags else ("latest",)
        latest, *tagged = await self._call_all([("eth_getBlockByNumber", (tag, False)) for tag in tags])
        try:
            head = self._kept(_known(latest, "eth_getBlockByNumber")).block
        except (Contradiction, _NoAnswer) as failure:
            return _missing(failure)
        return head, self._levels(head, tagged) if with_tags else None

    def _levels(self, head: Block, tagged: list[Outcome]) -> Levels | None:
        if any(isinstance(each, Refused) and _has_no_tags(each) for each in tagged):
            self._rpc.has_tags = False
            return None
        try:
            levels = Levels(*(self._level(each) for each in tagged))
        except Contradiction:
            return Levels()
        # Two nodes behind one address do not fit one another now and then. That says nothing, and so changes nothing.
        return levels if plausible(head, levels) else Levels()

    def _level(self, outcome: Outcome) -> Block | None:
        """The block that a tag names; none where it was not said, which changes nothing about what is known."""
        if isinstance(outcome, Result) and outcome.value is not None:
            return header(outcome.value).block
        return None

    async def _read_ahead(self, first: int | None, number: int) -> None:
        """Ask for many headers at once, by number. What is not of the fork that is walked is not asked for again."""
        if first is None or number - first < 2:
            return
        calls: list[Call] = [("eth_getBlockByNumber", (hex(each), False)) for each in range(first, number)]
        for each in await self._call_all(calls):
            if isinstance(each, Result) and each.value is not None:
                self._kept(each.value)

    async def of_another_chain(self) -> Missing | None:
        """Why this is no node of the chain that it is said to be of; None where it is one, which is asked once."""
        if self._rpc.is_of_the_chain:
            return None
        outcome = await self.call("eth_chainId")
        if not isinstance(outcome, Result):
            return _missing(_NoAnswer(outcome))
        expected = hex(int(self._rpc.chain.removeprefix("eip155:")))
        self._rpc.is_of_the_chain = outcome.value == expected
        if self._rpc.is_of_the_chain:
            return None
        return Missing(f"eth_chainId is {str(outcome.value)[:40]!r}, not {expected}", "wrong")

    async def _block(self, method: str, name: str) -> Block:
        return self._kept(await self._result(method, name, False)).block

    def _kept(self, answer: object) -> Header:
        found = header(answer)
        if found.committed is None:
            self._demand("rpc", found.block, "the header of")
        self._headers[found.block.hash] = found
        if found.committed is not None:
            self._blocks[found.block.hash] = found.block
        else:
            self._blocks.setdefault(found.block.hash, found.block)
        return found

    async def _header(self, of: Block) -> Header:
        """The header of a block, as this node itself gives it."""
        if of.hash not in self._headers:
            await self._hashed(of.hash)
        found = self._headers[of.hash]
        if found.block != of:
            raise Contradiction(f"of block {of.hash} something else is said than before")
        return found

    async def _numbered(self, number: int) -> Block:
        block = await self._block("eth_getBlockByNumber", hex(number))
        if block.number != number:
            raise Contradiction(f"block {block.number} when {number} was asked for")
        return block

    async def _hashed(self, wanted: str) -> Block:
        block = await self._block("eth_getBlockByHash", wanted)
        if block.hash != wanted:
            raise Contradiction(f"block {block.hash} when {wanted} was asked for")
        return block

    async def _contents(self, blocks: tuple[Block, ...]) -> tuple[Logs, ...] | Missing:
        at_once = asyncio.Semaphore(limits.rpc_calls_at_once)

        async def one(block: Block) -> Found | Missing:
            try:
                async with at_once:
                    return await self._logs(await self._header(block))
            except (Contradiction, _NoAnswer) as failure:
                return _missing(failure)

        found = await asyncio.gather(*(one(block) for block in blocks))
        missing = next((each for each in found if isinstance(each, Missing)), None)
        if missing is not None:
            return missing
        seen = [each for each in found if not isinstance(each, Missing)]
        for block, each in zip(blocks, seen, strict=True):
            # A block without transactions shows nothing that all chains could not; nor does a bloom of no logs.
            if self._headers[block.hash].transactions and (each.logs or each.verified != "bloom"):
                self._rpc.capability = learned(self._rpc.capability, each.verified)
        return tuple(each.logs for each in seen)

    async def _logs(self, of: Header) -> Found:
        """All logs of a block, as far checked as its chain demands."""
        found = await self._found(of)
        self._demand(found.verified, of.block, "what it says of the logs of")
        return found

    def _demand(self, shown: Verified, block: Block, what: str) -> None:
        if reason := lacking(self._rpc.capability, shown):
            raise Contradiction(f"{what} {block.hash}: {reason}")

    async def _found(self, of: Header) -> Found:
        """All logs of a block, by its hash, so that a reorganisation in between cannot mix two forks."""
        if not of.transactions:
            return no_logs(of)
        # Where nothing less will do, a method that was missing is asked for again.
        if self._rpc.has_block_receipts or self._rpc.capability.demanded == "receipts-root":
            outcome = await self.call("eth_getBlockReceipts", of.block.hash)
            if not isinstance(outcome, Refused):
                answer = _known(outcome, "eth_getBlockReceipts")
                self._receipts[of.block.hash] = receipts_of(answer)
                return logs_of_receipts(of, answer)
            if outcome.meaning in _ASK_SOMEBODY_ELSE:
                raise _NoAnswer(outcome)
            self._rpc.has_block_receipts = outcome.meaning is not Meaning.UNSUPPORTED
        return logs_of_block(of, await self._result("eth_getLogs", {"blockHash": of.block.hash}))

    async def _more(self, blocks: tuple[Block, ...], needs: Needs) -> Extras:
        """What else is needed of the blocks. Only transactions can be missing: calls are strangers' programs."""
        answers = await self._answers(blocks, needs)
        extras: list[Extra] = []
        for block, answered in zip(blocks, answers, strict=True):
            mined = await self._mined(await self._header(block)) if needs.full else None
            extras.append(Extra(mined, answered))
        return Extras(tuple(extras))

    async def _mined(self, of: Header) -> tuple[Mined, ...]:
        if not of.transactions:
            return ()
        block = await self._result("eth_getBlockByHash", of.block.hash, True)
        if of.block.hash not in self._receipts:
            self._receipts[of.block.hash] = await self._receipts_one_by_one(of, block)
        return mined(of, block, self._receipts[of.block.hash])

    async def _receipts_one_by_one(self, of: Header, block: object) -> Mapping[int, object]:
        """The receipts of those transactions whose outcome matters, from a node that has none of whole blocks."""
        found = list(enumerate(transactions_of(block)))[: len(of.transactions)]
        wanted = [index for index, each in found if matters(each)]
        outcomes = await self._call_all([("eth_getTransactionReceipt", (of.transactions[index],)) for index in wanted])
        return {
            index: _known(outcome, "eth_getTransactionReceipt") for index, outcome in zip(wanted, outcomes, strict=True)
        }

    async def _answers(self, blocks: tuple[Block, ...], needs: Needs) -> list[dict[ContractCall, tuple[str, str]]]:
        """What calls answered before each block, and in it.

        Where a node does not say, or not in time, the last answer stands: a call that makes it fail, or work for long,
        holds nobody up, and a change is told a block later.
        """
        before = blocks[0].parent
        # Those that have answered before go first: what never answers does not get in their way.
        calls = sorted(needs.calls, key=lambda call: ((before, call) not in needs.known, call.address, call.data))
        hashes = [before, *(block.hash for block in blocks)] if calls else []
        said = await self._said(calls, hashes, needs)
        standing = said[0] if said else []
        answers: list[dict[ContractCall, tuple[str, str]]] = []
        for now in said[1:]:
            after = [new if new is not None else old for old, new in zip(standing, now, strict=True)]
            paired = zip(calls, standing, after, strict=True)
            answers.append({call: (old, new) for call, old, new in paired if old is not None and new is not None})
            standing = after
        return answers or [{} for _ in blocks]

    async def _said(
        self, calls: Sequence[ContractCall], block_hashes: Sequence[str], needs: Needs
    ) -> list[list[str | None]]:
        """What all of the calls answered at each of the blocks; None where there was no answer in time."""
        at_once = asyncio.Semaphore(limits.rpc_calls_at_once)

        async def ask(call: ContractCall, block_hash: str) -> str | None:
            async with at_once:
                return needs.known.get((block_hash, call)) or await self._answer_in_time(call, block_hash)

        asking = [[asyncio.create_task(ask(call, each)) for call in calls] for each in block_hashes]
        every = [task for tasks in asking for task in tasks]
        if not every:
            return []
        try:
            done, _ = await asyncio.wait(every, timeout=limits.calls_seconds_max)
        finally:
            for task in every:
                task.cancel()
        return [[task.result() if task in done else None for task in tasks] for tasks in asking]

    async def _answer_in_time(self, call: ContractCall, block_hash: str) -> str | None:
        try:
            async with asyncio.timeout(limits.call_timeout_seconds):
                return await self._answer_of(call, block_hash)
        except TimeoutError:
            return None

    async def _answer_of(self, call: ContractCall, block_hash: str) -> str | None:
        """What a contract answers at a block, by its hash (EIP-1898); None where the node does not say."""
        outcome = await self.call("eth_call", {"to": call.address, "data": call.data}, {"blockHash": block_hash})
        if isinstance(outcome, Refused):
            return REVERTED if outcome.code == _REVERTED_CODE else None
        try:
            answer = returned(outcome.value) if isinstance(outcome, Result) else None
        except Contradiction:
            return None
        # What is too large to be told is not compared either.
        return answer if answer is not None and len(answer) <= 2 + 2 * limits.call_answer_bytes_max else None

    async def _result(self, method: str, *params: object) -> object:
        return _known(await self.call(method, *params), method)

    async def call(self, method: str, *params: object) -> Outcome:
        """Ask for something else; it counts, too."""
        self.calls += 1
        return self._within_bounds(await self._rpc.call(method, *params))

    async def _call_all(self, calls: list[Call]) -> list[Outcome]:
        self.calls += len(calls)
        return [self._within_bounds(each) for each in await self._rpc.call_all(calls)]

    def _within_bounds(self, outcome: Outcome) -> Outcome:
        """The answer, unless too much was answered in this look: it is kept until the look ends."""
        self._bytes += outcome.size if isinstance(outcome, Result) else 0
        if self._bytes <= limits.rpc_look_bytes_max:
            return outcome
        return Fault(f"in one look it answered with more than {limits.rpc_look_bytes_max} bytes")


def _known(outcome: Outcome, method: str) -> object:
    if not isinstance(outcome, Result):
        raise _NoAnswer(outcome)
    if outcome.value is None:
        raise _NoAnswer(Refused(0, f"{method}: the node does not know it", Meaning.UNKNOWN))
    return outcome.value


def _has_no_tags(refused: Refused) -> bool:
    # -32602: the parameters are invalid, to a node that has never heard of the tag.
    return refused.meaning is Meaning.UNSUPPORTED or refused.code == -32602


class _NoAnswer(Exception):
    """The node said nothing that could be used."""

    def __init__(self, outcome: Refused | Fault) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def _missing(failure: Contradiction | _NoAnswer) -> Missing:
    match failure:
        case _NoAnswer(outcome=Refused(reason=reason, meaning=meaning, again_seconds=again_seconds)):
            return Missing(reason, meaning.value, again_seconds)
        case _NoAnswer(outcome=Fault(reason, cause, again_seconds)):
            return Missing(reason, cause, again_seconds)
        case _:
            return Missing(str(failure), "wrong")
