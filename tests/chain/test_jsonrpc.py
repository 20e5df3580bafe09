"""Calls go out together where the provider takes that, answers come back packed, and neither is taken on trust."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.kit import limits
from app.kit.operator_http import Room, operator_client
from app.watchers.jsonrpc import Call, Fault, Refused, Result, Rpc
from app.watchers.refusals import Meaning
from examples.devchain import DevChain
from tests.chain.proxy import Proxy, Raw, Silence

mib = 1024 * 1024

ASKED: list[Call] = [("eth_chainId", ()), ("eth_getBlockByNumber", ("0x0", False)), ("web3_clientVersion", ())]


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:
        yield client


@pytest.fixture
def rpc(http: httpx.AsyncClient, proxy: Proxy) -> Rpc:
    return Rpc(http, "eip155:31337", proxy.url, name="node", timeout_seconds=60)


async def test_calls_go_out_in_one_request_and_answers_come_in_any_order(rpc: Rpc, proxy: Proxy) -> None:
    proxy.tamper_batch = lambda answers: answers[::-1]
    chain_id, block, version = await rpc.call_all(ASKED)
    assert chain_id == Result("0x7a69")
    assert isinstance(block, Result)
    assert isinstance(version, Result)
    assert "anvil" in str(version.value)
    assert proxy.requests == 1


async def test_one_call_of_a_batch_may_fail_alone(rpc: Rpc) -> None:
    known, refused = await rpc.call_all([("eth_chainId", ()), ("eth_noSuchThing", ())])
    assert known == Result("0x7a69")
    assert isinstance(refused, Refused)
    assert refused.meaning is Meaning.UNSUPPORTED


async def test_an_answer_that_is_missing_or_doubled_or_strange_is_not_taken_for_another(rpc: Rpc, proxy: Proxy) -> None:
    proxy.tamper_batch = lambda answers: [answers[0], answers[0], {"id": 10**6, "result": 1}, "?", {"id": [1]}]
    outcomes = await rpc.call_all(ASKED)
    assert outcomes[0] == Result("0x7a69")
    assert [type(each) for each in outcomes[1:]] == [Fault, Fault]


@pytest.mark.parametrize(
    "answer",
    [
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "batches are not allowed"}},
        Raw(400, b"Bad Request"),
        Raw(413, b"batch too large"),
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": "could not parse"}},
    ],
)
async def test_a_provider_that_refuses_batches_is_asked_singly_from_then_on(
    rpc: Rpc, proxy: Proxy, answer: Any
) -> None:
    proxy.tamper_batch = lambda _: answer
    assert all(isinstance(each, Result) for each in await rpc.call_all(ASKED))
    assert not rpc.takes_batches
    before = proxy.requests
    assert all(isinstance(each, Result) for each in await rpc.call_all(ASKED))
    assert proxy.requests == before + 3


@pytest.mark.parametrize("answer", [Raw(429, b"", {"retry-after": "7"}), Raw(502, b"<h1>Bad gateway</h1>")])
async def test_a_provider_that_is_busy_or_away_is_not_asked_singly(rpc: Rpc, proxy: Proxy, answer: Any) -> None:
    proxy.tamper_batch = lambda _: answer
    outcomes = await rpc.call_all(ASKED)
    assert all(isinstance(each, Fault) for each in outcomes)
    assert proxy.requests == 1
    assert rpc.takes_batches


async def test_what_retry_after_asks_for_is_kept(rpc: Rpc, proxy: Proxy) -> None:
    proxy.tamper = lambda *_: Raw(429, b"", {"retry-after": "7"})
    assert await rpc.call("eth_chainId") == Fault("HTTP status 429", "limited", 7.0)


async def test_of_an_error_no_more_is_read_than_its_beginning(rpc: Rpc, proxy: Proxy) -> None:
    text = "no " * 1_000 + "rate limit"
    proxy.tamper = lambda _, answer: {"id": answer["id"], "error": {"code": -32000, "message": text}}
    refused = await rpc.call("eth_chainId")
    assert isinstance(refused, Refused)
    assert (refused.said, refused.meaning) == (text[: limits.rpc_error_chars_max], Meaning.OTHER)


async def test_no_cookie_is_kept(proxy: Proxy) -> None:
    body = b'{"id": 1, "result": "0x7a69"}'
    proxy.tamper = lambda *_: Raw(200, body, {"set-cookie": "session=1; Path=/"})
    async with operator_client(timeout_seconds=60) as http:
        assert await Rpc(http, "eip155:31337", proxy.url).call("eth_chainId") == Result("0x7a69")
        assert list(http.cookies.jar) == []


async def test_a_provider_that_hangs_is_given_up(http: httpx.AsyncClient, proxy: Proxy) -> None:
    proxy.tamper = lambda *_: Silence()
    outcome = await Rpc(http, "eip155:31337", proxy.url, timeout_seconds=0.2).call("eth_chainId")
    assert isinstance(outcome, Fault)
    assert outcome.cause == "timeout"


async def test_answers_come_packed(rpc: Rpc, proxy: Proxy, chain: DevChain) -> None:
    proxy.packed = True
    assert await rpc.call("eth_chainId") == Result("0x7a69")


async def test_a_bomb_ends_at_the_bound(rpc: Rpc, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "rpc_answer_bytes_max", 1024 * 1024)
    bomb = gzip.compress(b'"' + b"0" * 200 * 1024 * 1024 + b'"', compresslevel=1)
    proxy.tamper = lambda *_: Raw(200, bomb, {"content-encoding": "gzip"})
    outcome = await rpc.call("eth_chainId")
    assert isinstance(outcome, Fault)
    assert "more than 1048576 bytes" in outcome.reason


@pytest.mark.parametrize(
    "raw",
    [
        Raw(200, b"no gzip at all", {"content-encoding": "gzip"}),
        Raw(200, gzip.compress(b'{"id": 1, "result": "0x7a69"}')[:-9], {"content-encoding": "gzip"}),
        Raw(200, b"...", {"content-encoding": "br"}),
    ],
)
async def test_what_is_not_packed_as_it_says_is_no_answer(rpc: Rpc, proxy: Proxy, raw: Raw) -> None:
    proxy.tamper = lambda *_: raw
    assert isinstance(await rpc.call("eth_chainId"), Fault)


async def test_of_large_answers_one_at_a_time_is_in_memory(
    http: httpx.AsyncClient, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "rpc_small_answer_bytes_max", mib)
    rpc = Rpc(http, "eip155:31337", proxy.url, timeout_seconds=60)
    large = gzip.compress(b'{"filling": "' + b"0" * 16 * mib + b'"}', compresslevel=1)
    proxy.tamper = lambda *_: Raw(200, large, {"content-encoding": "gzip"})
    peaks = dict[int, int]()
    for answers in (1, 16):
        tracemalloc.start()
        outcomes = await asyncio.gather(*(rpc.call("eth_chainId") for _ in range(answers)))
        peaks[answers] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # Each is read to its end: whoever waits for room gets it.
        assert {each.reason for each in outcomes if isinstance(each, Fault)} == {"not an answer to what was asked"}
        assert len(outcomes) == answers
    assert peaks[16] - peaks[1] < 80 * mib  # of the 240 that the others come to, without what is made of them


async def test_small_answers_wait_for_no_large_one() -> None:
    room = Room(mib)
    async with room.answer() as large, room.answer() as small, room.answer() as another:
        await large.to(mib + 1)
        await small.to(mib)
        waiting = asyncio.create_task(another.to(mib + 1))
        await asyncio.wait([waiting], timeout=0.01)
        assert not waiting.done()
        large.gone()
        await waiting
