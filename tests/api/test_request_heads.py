"""The head of a request is bounded in size and time, whoever sends it; and so is patience with who does not read."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from starlette.responses import PlainTextResponse, StreamingResponse

from app.kit import limits
from app.kit.http_server import BoundedHttp


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Where a server listens that answers everything with "ok"."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(PlainTextResponse("ok"), http=BoundedHttp, ws="none", log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield int(listener.getsockname()[1])
    server.should_exit = True
    await serving


async def _answer(port: int, *chunks: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for chunk in chunks:
        writer.write(chunk)
        await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


async def test_an_ordinary_request_passes_and_so_does_the_next(port: int) -> None:
    one = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    assert (await _answer(port, one, one, last)).count(b"200 OK") == 3


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nx: "])
async def test_an_endless_head_is_cut_off(port: int, start: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start)
    sent = 0
    while not reader.at_eof() and sent < 100 * limits.head_bytes_max:
        writer.write(b"a" * 4096)
        sent += 4096
        try:
            await writer.drain()
            async with asyncio.timeout(0.01):
                answer = await reader.read(100)
        except TimeoutError:
            continue
        except ConnectionError:
            break
        assert answer.startswith(b"HTTP/1.1 431 ")
        break
    writer.close()
    assert sent < 10 * limits.head_bytes_max


async def test_a_head_that_never_ends_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "head_seconds", 0.05)
    assert (await _answer(port, b"GET / HTTP/1.1\r\nhost:")).startswith(b"HTTP/1.1 408 ")


async def test_bytes_that_are_no_http_are_refused(port: int) -> None:
    answer = await _answer(port, b"\x00\xff\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "/problems/bad-request"


class Flood:
    """Says more than a connection holds, and notes how it ended."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await StreamingResponse(self.pieces())(scope, receive, send)
        finally:
            self.ended.set()

    async def pieces(self) -> AsyncIterator[bytes]:
        for _ in range(1_000):
            yield b"x" * 65_536


@pytest.fixture
async def flooding() -> AsyncIterator[tuple[Flood, int]]:
    flood, listener = Flood(), socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(flood, http=BoundedHttp, ws="none", log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield flood, int(listener.getsockname()[1])
    server.should_exit = True
    await serving


async def test_a_reader_that_takes_nothing_is_left(
    flooding: tuple[Flood, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "unread_seconds", 0.05)
    flood, port = flooding
    with socket.create_connection(("127.0.0.1", port)) as stalled:
        stalled.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await asyncio.wait_for(flood.ended.wait(), 10)


async def test_a_reader_that_pauses_hears_all_of_it(
    flooding: tuple[Flood, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "unread_seconds", 5)
    flood, port = flooding
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    heard = 0
    while piece := await reader.read(1 << 20):
        heard += len(piece)
    writer.close()
    assert heard > 1_000 * 65_536
    assert flood.ended.is_set()
