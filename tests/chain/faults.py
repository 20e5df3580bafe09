"""What a provider may do wrong, by name: each is given a call and the true answer's source, and answers it.

Which calls it goes wrong with is decided from a seed and from what is asked, not from the order in which calls come in:
those that are made at the same time come in any order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import orjson

from tests.chain.proxy import Proxy, Raw, Silence

Change: TypeAlias = Callable[[Any], Any]
Fault: TypeAlias = Callable[[Any, Any], Any]
"""Given a call and its true answer: the answer that is given."""


def refusal(code: int, message: str) -> Fault:
    return lambda call, _: {"jsonrpc": "2.0", "id": call["id"], "error": {"code": code, "message": message}}


def in_result(method: str, change: Change) -> Fault:
    """Another result of one method; a result that there is not stays away."""

    def fault(call: Any, answer: Any) -> Any:
        there = call["method"] == method and answer.get("result")
        return {**answer, "result": change(answer["result"])} if there else answer

    return fault


def in_receipts(change: Change) -> Fault:
    return in_result("eth_getBlockReceipts", change)


def in_first_log(change: Change) -> Fault:
    def changed(receipts: Any) -> Any:
        place = next((place for place, each in enumerate(receipts) if each["logs"]), None)
        if place is None:
            return receipts
        logs = receipts[place]["logs"]
        return [*receipts[:place], {**receipts[place], "logs": [*change(logs[0]), *logs[1:]]}, *receipts[place + 1 :]]

    return in_receipts(changed)


def whole(raw: Raw | Silence) -> Fault:
    return lambda *_: raw


def truncated(call: Any, answer: Any) -> Any:
    return Raw(200, orjson.dumps(answer)[:-20], {"content-type": "application/json"})


FAULTS: Mapping[str, Fault] = {
    "an error": refusal(-32000, "no"),
    "a limit by its text": refusal(-32005, "project ID request rate exceeded"),
    "a limit by its status": whole(Raw(429, b"slow down", {"retry-after": "1"})),
    "a page": whole(Raw(502, b"<h1>Bad gateway</h1>")),
    "nothing": whole(Raw(200)),
    "half of it": truncated,
    "null": lambda _, answer: {**answer, "result": None},
    "another's answer": lambda _, answer: {**answer, "id": 10**6},
    "an empty list": in_receipts(lambda _: []),
    "a receipt left out": in_receipts(lambda receipts: receipts[:-1]),
    "receipts out of order": in_receipts(lambda receipts: receipts[::-1] if len(receipts) > 1 else []),
    "receipts without logs": in_receipts(lambda receipts: [{**each, "logs": []} for each in receipts]),
    "receipts of another block": in_receipts(lambda all: [{**each, "blockHash": "0x" + "00" * 32} for each in all]),
    "a removed log": in_first_log(lambda log: [{**log, "removed": True}]),
    "no such block": in_result("eth_getBlockByHash", lambda _: None),
}
"""Faults that show in what is answered."""

LIES: Mapping[str, Fault] = {
    "a log left out": in_first_log(lambda _: []),
    "a log altered": in_first_log(lambda log: [{**log, "data": f"0x{7:064x}"}]),
    "a log of another contract": in_first_log(lambda log: [{**log, "address": "0x" + "12" * 20}]),
    "a log twice": in_first_log(lambda log: [log, log]),
}
"""Faults that fit one another, and show only in the block's own hash."""


class Faulty:
    """What goes wrong at one proxy at present: a fault, how often, and how far behind the node it is."""

    def __init__(self, proxy: Proxy, seed: int, name_of: Callable[[str], str]) -> None:
        self.proxy = proxy
        self.fault: Fault | None = None
        self.share = 0.0
        self.lag = 0
        self.elsewhere: str | None = None
        self.turn = 0
        self.ambush: tuple[str, Callable[[], Awaitable[None]]] | None = None
        self._seed = seed
        self._name_of = name_of
        proxy.node = self.answer

    def heal(self) -> None:
        """Tell the truth from now on."""
        self.fault, self.share, self.lag, self.elsewhere = None, 0.0, 0, None

    async def answer(self, call: Any) -> Any:
        """The answer to one call."""
        if self.ambush is not None and self.ambush[0] == call["method"]:
            # The node has moved on since whatever was answered last.
            await self.ambush[1]()
        strikes = self._strikes(call)
        ask: Callable[[Any], Awaitable[Any]] = self._late if self.lag and strikes else self._now
        answer = await ask(call)
        return self.fault(call, answer) if self.fault is not None and strikes else answer

    def _strikes(self, call: Any) -> bool:
        asked = orjson.dumps([call["method"], [self._named(each) for each in call["params"]]])
        mark = hashlib.sha256(b"%d %d %b" % (self._seed, self.turn, asked)).digest()
        return mark[0] < self.share * 256

    def _named(self, param: Any) -> Any:
        """A parameter as it is in every run: hashes of blocks are not."""
        return self._name_of(param) if isinstance(param, str) and len(param) == 66 else param

    async def _now(self, call: Any) -> Any:
        return await self.proxy.ask(call, self.elsewhere)

    async def _late(self, call: Any) -> Any:
        """The answer of a node that has not heard of the newest blocks."""
        head = int((await self._now(_call("eth_blockNumber")))["result"], 16) - self.lag
        subject = call["params"][0] if call["params"] else None
        match call["method"]:
            case "eth_getBlockByNumber" if subject == "latest":
                return await self._now({**call, "params": [hex(head), *call["params"][1:]]})
            case "eth_getBlockByNumber" if isinstance(subject, str) and subject.startswith("0x"):
                late = int(subject, 16) > head
            case "eth_getBlockByHash" | "eth_getBlockReceipts":
                block = (await self._now(_call("eth_getBlockByHash", subject, False)))["result"]
                late = block is None or int(block["number"], 16) > head
            case _:
                late = False
        return {"jsonrpc": "2.0", "id": call["id"], "result": None} if late else await self._now(call)


def _call(method: str, *params: Any) -> Any:
    return {"jsonrpc": "2.0", "id": 0, "method": method, "params": list(params)}
