"""What a real node answers is understood; what it answers wrongly is refused, and nothing raises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.kit import limits
from app.watchers.evidence import held_to
from app.watchers.follower import Answer, Block, ByHash, ByNumber, Contents, Latest, Missing, Plan, Ring, follow
from app.watchers.jsonrpc import Fault, Refused, Result, Rpc
from app.watchers.rpc import Node
from examples.devchain import DevChain, Token, transfer_topic
from tests.chain.proxy import Proxy, Raw, Tamper, honest


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:
        yield client


async def head_and_contents(rpc: Rpc) -> Answer:
    node = Node(rpc)
    head = await node.answer(Latest())
    return await node.answer(Contents((head,))) if isinstance(head, Block) else head


async def test_blocks_and_their_logs_are_read(chain: DevChain, token: Token, http: httpx.AsyncClient) -> None:
    node = Node(Rpc(http, "eip155:31337", chain.url))
    head = await node.answer(Latest())
    assert isinstance(head, Block)
    assert await node.answer(ByHash(head.hash)) == head == await node.answer(ByNumber(head.number))
    contents = await node.answer(Contents((head,)))
    assert isinstance(contents, tuple)
    (logs,) = contents
    assert [(log.transaction_index, log.index_in_receipt) for log in logs] == [(0, 0), (1, 0), (2, 0)]
    assert {log.address for log in logs} == {token.address}
    assert {log.topics[0] for log in logs} == {transfer_topic}
    # What was read once is not asked for again.
    assert node.calls == 3


async def test_a_node_without_block_receipts_is_asked_for_logs(
    chain: DevChain, token: Token, http: httpx.AsyncClient
) -> None:
    def without_receipts(method: str, answer: Any) -> Any:
        refusal = {"jsonrpc": "2.0", "id": answer["id"], "error": {"code": -32601, "message": "no such method"}}
        return refusal if method == "eth_getBlockReceipts" else answer

    async with Proxy.before(chain.url, without_receipts) as proxy:
        poorer = Rpc(http, "eip155:31337", proxy.url)
        full = await head_and_contents(Rpc(http, "eip155:31337", chain.url))
        assert isinstance(full, tuple)
        assert len(full[0]) == 3
        assert {log.verified for log in full[0]} == {"receipts-root"}
        assert await head_and_contents(poorer) == (tuple(replace(log, verified="bloom") for log in full[0]),)
        assert not poorer.has_block_receipts


async def test_an_unknown_block_is_missing(chain: DevChain, http: httpx.AsyncClient) -> None:
    node = Node(Rpc(http, "eip155:31337", chain.url))
    assert isinstance(await node.answer(ByHash("0x" + "12" * 32)), Missing)
    assert isinstance(await node.answer(ByNumber(10**6)), Missing)


async def test_a_refusal_keeps_its_code(chain: DevChain, http: httpx.AsyncClient) -> None:
    rpc = Rpc(http, "eip155:31337", chain.url)
    assert await rpc.call("eth_chainId") == Result("0x7a69")
    outcome = await rpc.call("eth_noSuchThing")
    assert isinstance(outcome, Refused)
    assert outcome.code == -32601


async def test_a_node_that_is_away_is_a_fault(http: httpx.AsyncClient) -> None:
    assert isinstance(await Rpc(http, "eip155:1", "http://127.0.0.1:1").call("eth_chainId"), Fault)


async def test_the_follower_follows_a_real_chain_through_a_reorg(
    chain: DevChain, token: Token, http: httpx.AsyncClient
) -> None:
    rpc = Rpc(http, "eip155:31337", chain.url)
    before = await look(rpc, Ring())
    assert isinstance(before, Plan)
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine(3)
    grown = await look(rpc, Ring((before.apply[0][0],)))
    assert isinstance(grown, Plan)
    assert [len(logs) for _, logs in grown.apply] == [1, 0, 0]
    ring = Ring((before.apply[0][0], *(block for block, _ in grown.apply)), whole=False)
    await chain.reorg(3, [(token.transferring(chain.accounts[0], chain.accounts[1], 2), 1)])
    forked = await look(rpc, ring)
    assert isinstance(forked, Plan)
    assert forked.undo == tuple(reversed(ring.blocks[1:]))
    assert [len(logs) for _, logs in forked.apply] == [0, 1, 0]


async def look(rpc: Rpc, ring: Ring) -> object:
    node, following = Node(rpc), follow(ring, 0, span_blocks_max=64, doubts_max=3)
    try:
        ask = next(following)
        while True:
            ask = following.send(await node.answer(ask))
    except StopIteration as done:
        return done.value


def result(answer: Any, change: Callable[[Any], Any]) -> Any:
    return {**answer, "result": change(answer["result"])}


def in_receipts(change: Callable[[Any], Any]) -> Tamper:
    return lambda method, answer: result(answer, change) if method == "eth_getBlockReceipts" else answer


def in_headers(change: Callable[[Any], Any]) -> Tamper:
    return lambda method, answer: result(answer, change) if method == "eth_getBlockByNumber" else answer


def first_log(**fields: object) -> Tamper:
    def change(receipts: Any) -> Any:
        receipts[0]["logs"][0] |= fields
        return receipts

    return in_receipts(change)


LIES: dict[str, Tamper] = {
    "a receipt left out": in_receipts(lambda receipts: receipts[1:]),
    "a receipt too many": in_receipts(lambda receipts: [*receipts, receipts[0]]),
    "receipts in another order": in_receipts(lambda receipts: receipts[::-1]),
    "receipts without logs": in_receipts(lambda receipts: [{**each, "logs": []} for each in receipts]),
    "receipts of another block": in_receipts(lambda all: [{**each, "blockHash": "0x" + "00" * 32} for each in all]),
    "receipts that are no list": in_receipts(lambda receipts: receipts[0]),
    "receipts of nothing": in_receipts(lambda _: [None, None, None]),
    "no receipts": in_receipts(lambda _: None),
    "a log of another block": first_log(blockHash="0x" + "00" * 32),
    "a log of another transaction": first_log(transactionHash="0x" + "00" * 32),
    "a removed log": first_log(removed=True),
    "a malformed topic": first_log(topics=["0x12"]),
    "five topics": first_log(topics=["0x" + "00" * 32] * 5),
    "a malformed address": first_log(address="nobody"),
    "data of half a byte": first_log(data="0x123"),
    "topics that are no list": first_log(topics={}),
    "a head without a hash": in_headers(lambda block: {**block, "hash": None}),
    "a head with a negative number": in_headers(lambda block: {**block, "number": "-0x1"}),
    "a head with a huge number": in_headers(lambda block: {**block, "number": "0x" + "f" * 400}),
    "a head that is text": in_headers(lambda _: "latest"),
    "a head without transactions": in_headers(lambda block: {**block, "transactions": []}),
    "no head": in_headers(lambda _: None),
    "an answer to another question": lambda _, answer: {**answer, "id": 10**6},
    "neither result nor error": lambda _, answer: {"jsonrpc": "2.0", "id": answer["id"]},
    "an error that is text": lambda _, answer: {"jsonrpc": "2.0", "id": answer["id"], "error": "no"},
    "an error with a secret and a NUL": lambda _, answer: {
        "id": answer["id"],
        "error": {"code": -32600, "message": "project \0 of operator"},
    },
    "a NUL where a hash should be": first_log(blockHash="\0"),
    "an error": lambda _, answer: {"id": answer["id"], "error": {"code": "?", "message": 5}},
    "a list": lambda _, answer: [answer],
    "a page": lambda *_: Raw(502, b"<h1>Bad gateway</h1>"),
    "nothing": lambda *_: Raw(200),
    "too many requests": lambda *_: Raw(429, b'{"message": "slow down"}'),
    "nesting": lambda *_: Raw(200, b"[" * 100_000),
    "a redirect": lambda *_: Raw(307, headers={"location": "http://127.0.0.1:1/"}),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_missing(chain: DevChain, token: Token, http: httpx.AsyncClient, lie: str) -> None:
    async with Proxy.before(chain.url, LIES[lie]) as proxy:
        answer = await head_and_contents(Rpc(http, "eip155:31337", proxy.url))
    assert isinstance(answer, Missing)
    assert answer.reason
    # It is stored, and agents are shown it.
    assert answer.reason.isprintable()
    assert "operator" not in answer.reason


async def test_one_look_reads_no_more_than_it_may_keep(
    chain: DevChain, token: Token, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(Rpc(http, "eip155:31337", chain.url))
    head = await node.answer(Latest())
    assert isinstance(head, Block)
    parent = await node.answer(ByHash(head.parent))
    assert isinstance(parent, Block)
    monkeypatch.setattr(limits, "rpc_look_bytes_max", 8_000)
    answer = await node.answer(Contents((parent, head)))
    assert isinstance(answer, Missing)
    assert "in one look it answered with more than 8000 bytes" in answer.reason
    # The next look begins anew, and may ask for less.
    assert isinstance(await head_and_contents(Rpc(http, "eip155:31337", chain.url)), tuple)


# A chain that is held to something


WITHOUT_THE_METHOD = {"error": {"code": -32601, "message": "no such method"}}
LESS: dict[str, Tamper] = {
    "altered data": first_log(data="0x" + "00" * 31 + "09"),
    "a log left out": in_receipts(lambda receipts: [receipts[0] | {"logs": []}, *receipts[1:]]),
    "a failed transaction": in_receipts(lambda receipts: [receipts[0] | {"status": "0x0"}, *receipts[1:]]),
    "another parent": in_headers(lambda block: {**block, "parentHash": "0x" + "12" * 32}),
    "another time": in_headers(lambda block: {**block, "timestamp": "0x1"}),
    "no method for receipts": lambda method, answer: (
        {"id": answer["id"], **WITHOUT_THE_METHOD} if method == "eth_getBlockReceipts" else answer
    ),
}


@pytest.mark.parametrize("lie", LESS)
async def test_what_shows_less_than_its_chain_is_held_to_is_missing(
    chain: DevChain, token: Token, http: httpx.AsyncClient, lie: str
) -> None:
    async with Proxy.before(chain.url, LESS[lie]) as proxy:
        strict = await head_and_contents(Rpc(http, "eip155:31337", proxy.url, held_to("receipts-root")))
        assert isinstance(strict, Missing)
        assert "held to 'receipts-root'" in strict.reason
        proxy.tamper = honest
        answer = await head_and_contents(Rpc(http, "eip155:31337", proxy.url, held_to("receipts-root")))
        assert isinstance(answer, tuple)
        assert {log.verified for log in answer[0]} == {"receipts-root"}


async def test_a_bloom_of_no_logs_shows_nothing(
    chain: DevChain, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "chain_blocks_until_demanded", 3)
    async with Proxy.before(chain.url, LESS["no method for receipts"]) as proxy:
        rpc = Rpc(http, "eip155:31337", proxy.url)
        for _ in range(4):
            await chain.send({"from": chain.accounts[0], "to": chain.accounts[1], "value": "0x1"})
            await chain.mine()
            assert await head_and_contents(rpc) == ((),)
    assert rpc.capability.demanded == "rpc"


async def test_a_chain_is_held_to_what_its_blocks_have_shown(
    chain: DevChain, token: Token, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "chain_blocks_until_demanded", 3)
    async with Proxy.before(chain.url, LESS["altered data"]) as proxy:
        rpc = Rpc(http, "eip155:31337", proxy.url)
        unknown = await head_and_contents(rpc)
        assert isinstance(unknown, tuple)
        assert {log.verified for log in unknown[0]} == {"bloom"}
        proxy.tamper = honest
        for _ in range(3):
            await token.mint(chain.accounts[0], 1)
            await chain.mine()
            assert isinstance(await head_and_contents(rpc), tuple)
        proxy.tamper = LESS["altered data"]
        assert isinstance(await head_and_contents(rpc), Missing)
