"""Receivers that mean harm: each kind answers in its own way, byte by byte, with no HTTP library between."""

import asyncio
import socket
import struct
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from functools import cache

import orjson

from tests.faults.ear import Heard

__all__ = ["KINDS", "Hostile", "besieged"]

MIB = 1024 * 1024
head_bytes_max = 64 * 1024
bomb_bytes = 256 * MIB

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def never_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A complete answer, at a byte a second."""
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"." * 1000:
        await _say(writer, bytes([byte]))
        await asyncio.sleep(1)


async def drips_its_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer at once, and its body at a byte a second."""
    await _say(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        await _say(writer, b".")
        await asyncio.sleep(1)


async def answers_without_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await _say(writer, b"10000\r\n" + bytes(0x10000) + b"\r\n")


async def answers_a_gigabyte(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
    for _ in range(1024):
        await _say(writer, bytes(MIB))


async def answers_with_a_bomb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A body that is a thousand times as large once it is decompressed."""
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(_bomb())}\r\n\r\n"
    await _say(writer, head.encode() + _bomb())


async def answers_with_a_huge_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * MIB + b"\r\n\r\n")


async def answers_with_headers_without_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, b"HTTP/1.1 200 OK\r\n")
    while True:
        await _say(writer, b"X-Many: more\r\n" * 100)


async def informs_without_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Interim answers, each of which is right, and never the final one."""
    while True:
        await _say(writer, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100)
        await asyncio.sleep(0.01)


async def resets_after_the_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    _reset(writer)


async def resets_in_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"." * 500)
    _reset(writer)


async def closes_in_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")


async def speaks_no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, b"SSH-2.0-OpenSSH_9.9\r\n" + bytes(range(256)))


async def answers_after_the_lease(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Keeps the connection longer than any lease, and then thanks."""
    await asyncio.sleep(lease_and_more_seconds)
    await _say(writer, b"HTTP/1.1 204 No Content\r\n\r\n")


lease_and_more_seconds = 10.0
# True: what it says begins as a good answer does and goes on for longer than anybody reads, so it may count as one.
KINDS: Mapping[str, tuple[Behaviour, bool]] = {
    "never-answers": (never_answers, False),
    "drips": (drips, False),
    "drips-its-body": (drips_its_body, False),
    "answers-without-end": (answers_without_end, True),
    "answers-a-gigabyte": (answers_a_gigabyte, True),
    "answers-with-a-bomb": (answers_with_a_bomb, True),
    "answers-with-a-huge-header": (answers_with_a_huge_header, False),
    "answers-with-headers-without-end": (answers_with_headers_without_end, False),
    "informs-without-end": (informs_without_end, False),
    "resets-after-the-head": (resets_after_the_head, False),
    "resets-in-the-body": (resets_in_the_body, False),
    "closes-in-the-body": (closes_in_the_body, False),
    "speaks-no-http": (speaks_no_http, False),
    "answers-after-the-lease": (answers_after_the_lease, False),
}


@dataclass
class Hostile:
    """A server that is another kind at each path. A challenge it answers as it should: it wants to be rung."""

    heard: list[Heard] = field(default_factory=list[Heard])
    port: int = 0

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.port}/{kind}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What a client does to one of these, it does to this one as well: closes in the middle, and may reset.
        with suppress(ConnectionError, asyncio.IncompleteReadError), closing(writer):
            kind, headers, body = await _request(reader)
            ring = orjson.loads(body)
            if ring["type"] == "endpoint.verification":
                answer = orjson.dumps({"challenge": ring["data"]["challenge"]})
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\nConnection: close\r\n\r\n"
                await _say(writer, head.encode() + answer)
            else:
                behaviour, may_count = KINDS[kind]
                self.heard.append(Heard(headers["webhook-id"], time.monotonic(), None if may_count else False))
                await behaviour(reader, writer)


@asynccontextmanager
async def besieged() -> AsyncIterator[Hostile]:
    """A hostile server that listens until the block ends."""
    _bomb()  # takes seconds, in which nobody here would hear a ring
    hostile = Hostile()
    calls: set[asyncio.Task[None]] = set()

    def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(hostile.serve(reader, writer))
        calls.add(task)
        task.add_done_callback(calls.discard)

    server = await asyncio.start_server(call, "127.0.0.1", 0, limit=head_bytes_max)
    hostile.port = server.sockets[0].getsockname()[1]
    try:
        yield hostile
    finally:
        server.close()
        ended = [*calls]
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        # One turn of the loop, in which what was closed is closed.
        await asyncio.sleep(0)


async def _request(reader: asyncio.StreamReader) -> tuple[str, Mapping[str, str], bytes]:
    """Path without its slash, headers and body."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return first.split(" ")[1].removeprefix("/"), headers, body


async def _say(writer: asyncio.StreamWriter, words: bytes) -> None:
    writer.write(words)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Let the close that follows be a reset."""
    told: socket.socket = writer.get_extra_info("socket")
    told.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@cache
def _bomb() -> bytes:
    gzip = zlib.compressobj(9, wbits=31)
    return b"".join(gzip.compress(bytes(MIB)) for _ in range(bomb_bytes // MIB)) + gzip.flush()
