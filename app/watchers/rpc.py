"""Asking a node. Whatever goes wrong out there comes back as a value, with its reason."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import httpx
import orjson
from prometheus_client import Counter

from app.kit import limits, telemetry
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
from app.watchers.evidence import Capability, Verified, lacking, learned
from app.watchers.follower import (
    Answer,
    Ask,
    Block,
    ByHash,
    ByNumber,
    Contents,
    Extras,
    Latest,
    Logs,
    Missing,
    More,
)

calls_made = Counter("tocsin_rpc_calls", "JSON-RPC calls made, by chain and method.", ["chain", "method"])

log = telemetry.logger(__name__)

# What nodes answer to a method that they do not have: JSON-RPC 2.0 §5.1, and EIP-1474 "method not supported".
_NO_SUCH_METHOD = frozenset({-32601, -32004})
# What nodes answer to a call that the contract reverts.
_REVERTED_CODE = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """No answer, or none that can be read."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The node answered with an error."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Result:
    """What the node answered; unchecked."""

    value: object


Outcome: TypeAlias = Result | Refused | Fault


class Rpc:
    """JSON-RPC calls to the node of one chain."""

    def __init__(self, http: httpx.AsyncClient, chain: str, url: str, capability: Capability | None = None) -> None:
        self.chain = chain
        self._http = http
        self._url = url
        self._ids = itertools.count(1)
        # Learned from a refusal, and forgotten with the process.
        self.has_block_receipts = True
        # What its blocks have to show: learned from what they have shown, unless the operator says it.
        self.capability = capability or Capability()

    async def call(self, method: str, *params: object) -> Outcome:
        """Make one call, within a deadline and a bound on the answer's size."""
        calls_made.labels(self.chain, method).inc()
        body = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        try:
            async with asyncio.timeout(limits.rpc_timeout_seconds):
                status, content = await self._post(orjson.dumps(body))
            return _outcome(status, orjson.loads(content), body["id"])
        except (TimeoutError, httpx.HTTPError, OSError) as error:
            return Fault(f"{method}: {type(error).__name__}")
        except _TooLarge:
            return Fault(f"{method}: the answer has more than {limits.rpc_answer_bytes_max} bytes")
        except orjson.JSONDecodeError:
            return Fault(f"{method}: the answer is no JSON")

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        headers = {"content-type": "application/json"}
        content = bytearray()
        async with self._http.stream("POST", self._url, content=body, headers=headers) as response:
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > limits.rpc_answer_bytes_max:
                    raise _TooLarge
        return response.status_code, bytes(content)


class _TooLarge(Exception):
    """The answer is larger than any block should need."""


def _outcome(status: int, answer: object, expected_id: object) -> Outcome:
    fields = _fields(answer)
    # An error keeps its meaning whatever the HTTP status: providers differ in what they send with it.
    if error := _fields(fields.get("error")):
        given = error.get("code")
        code = given if isinstance(given, int) else 0
        # Its message is for the operator and may name the operator's account; what is returned here, agents are shown.
        log.warning("a node refused a call", code=code, message=str(error.get("message"))[:200])
        return Refused(code, f"the node answered with error {code}")
    if status != 200:
        return Fault(f"HTTP status {status}")
    if fields.get("id") != expected_id or "result" not in fields:
        return Fault("not an answer to what was asked")
    return Result(fields["result"])


def _fields(value: object) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, dict) else {}


class Node:
    """Answers what a follower asks, for one look: headers that were seen on the way are kept, as contents are checked
    against them."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._headers: dict[str, Header] = {}
        self._receipts: dict[str, Mapping[int, object]] = {}
        self.calls = 0

    async def answer(self, ask: Ask) -> Answer:
        """The answer, or why there is none. Never raises for the node's sake."""
        try:
            match ask:
                case Latest():
                    return await self._block("eth_getBlockByNumber", "latest")
                case ByNumber(number):
                    return await self._numbered(number)
                case ByHash(wanted):
                    return await self._hashed(wanted)
                case Contents(blocks):
                    return await self._contents(blocks)
                case More(blocks, needs):
                    return await self._more(blocks, needs)
        except (Contradiction, _NoAnswer) as failure:
            return Missing(str(failure))

    async def of_another_chain(self) -> Missing | None:
        """Why this is no node of the chain that it is said to be of; None where it is one."""
        outcome = await self._call("eth_chainId")
        if not isinstance(outcome, Result):
            return Missing(outcome.reason)
        expected = hex(int(self._rpc.chain.removeprefix("eip155:")))
        return (
            None
            if outcome.value == expected
            else Missing(f"eth_chainId is {str(outcome.value)[:40]!r}, not {expected}")
        )

    async def _block(self, method: str, name: str) -> Block:
        found = header(await self._result(method, name, False))
        if found.committed is None:
            self._demand("rpc", found.block, "the header of")
        self._headers[found.block.hash] = found
        return found.block

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
                    return await self._logs(self._headers[block.hash])
            except (Contradiction, _NoAnswer) as failure:
                return Missing(str(failure))

        found = await asyncio.gather(*(one(block) for block in blocks))
        missing = next((each for each in found if isinstance(each, Missing)), None)
        if missing is not None:
            return missing
        seen = [each for each in found if not isinstance(each, Missing)]
        for block, each in zip(blocks, seen, strict=True):
            # A block without transactions shows nothing that all chains could not.
            if self._headers[block.hash].transactions:
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
        if self._rpc.has_block_receipts:
            outcome = await self._call("eth_getBlockReceipts", of.block.hash)
            if not isinstance(outcome, Refused):
                answer = _known(outcome, "eth_getBlockReceipts")
                self._receipts[of.block.hash] = receipts_of(answer)
                return logs_of_receipts(of, answer)
            self._rpc.has_block_receipts = outcome.code not in _NO_SUCH_METHOD
        return logs_of_block(of, await self._result("eth_getLogs", {"blockHash": of.block.hash}))

    async def _more(self, blocks: tuple[Block, ...], needs: Needs) -> Extras:
        """What else is needed of the blocks. Only transactions can be missing: calls are strangers' programs."""
        answers = await self._answers(blocks, needs)
        extras: list[Extra] = []
        for block, answered in zip(blocks, answers, strict=True):
            mined = await self._mined(self._headers[block.hash]) if needs.full else None
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
        wanted = [index for index, each in enumerate(transactions_of(block)) if matters(each)]
        return {
            index: await self._result("eth_getTransactionReceipt", of.transactions[index])
            for index in wanted
            if index < len(of.transactions)
        }

    async def _answers(self, blocks: tuple[Block, ...], needs: Needs) -> list[dict[ContractCall, tuple[str, str]]]:
        """What calls answered before each block, and in it.

        Where a node will not say, the last answer stands: a call that makes it fail holds nobody up, and a change is
        told a block later.
        """
        calls = sorted(needs.calls, key=lambda call: (call.address, call.data))
        at_once = asyncio.Semaphore(limits.rpc_calls_at_once)

        async def ask(call: ContractCall, block_hash: str) -> str | None:
            async with at_once:
                return needs.known.get((block_hash, call)) or await self._answer_of(call, block_hash)

        hashes = [blocks[0].parent, *(block.hash for block in blocks)] if calls else []
        asked = [[ask(call, block_hash) for call in calls] for block_hash in hashes]
        said = [await asyncio.gather(*each) for each in asked]
        standing = said[0] if said else []
        answers: list[dict[ContractCall, tuple[str, str]]] = []
        for now in said[1:]:
            after = [new if new is not None else old for old, new in zip(standing, now, strict=True)]
            paired = zip(calls, standing, after, strict=True)
            answers.append({call: (old, new) for call, old, new in paired if old is not None and new is not None})
            standing = after
        return answers or [{} for _ in blocks]

    async def _answer_of(self, call: ContractCall, block_hash: str) -> str | None:
        """What a contract answers at a block, by its hash (EIP-1898); None where the node does not say."""
        outcome = await self._call("eth_call", {"to": call.address, "data": call.data}, {"blockHash": block_hash})
        if isinstance(outcome, Refused):
            return REVERTED if outcome.code == _REVERTED_CODE else None
        try:
            answer = returned(outcome.value) if isinstance(outcome, Result) else None
        except Contradiction:
            return None
        # What is too large to be told is not compared either.
        return answer if answer is not None and len(answer) <= 2 + 2 * limits.call_answer_bytes_max else None

    async def _result(self, method: str, *params: object) -> object:
        return _known(await self._call(method, *params), method)

    async def _call(self, method: str, *params: object) -> Outcome:
        self.calls += 1
        return await self._rpc.call(method, *params)


def _known(outcome: Outcome, method: str) -> object:
    if not isinstance(outcome, Result):
        raise _NoAnswer(outcome.reason)
    if outcome.value is None:
        raise _NoAnswer(f"{method}: the node does not know it")
    return outcome.value


class _NoAnswer(Exception):
    """The node said nothing that could be used."""
