"""Receivers that misbehave on purpose: each ends in an answer or in a fault, in time and within bounds."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from time import monotonic

import pytest

from app.kit.outbound import Answer, Fault, response_bytes_max
from tests.strangers import (
    Names,
    Stranger,
    category,
    certificate,
    drips,
    outbound,
    post,
    says,
    says_endlessly,
    stranger,
)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"
a_lot = 2**30

NOT_DECENT = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "another protocol's status line": b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "an older protocol": b"HTTP/0.9 200 OK\r\n\r\n",
    "a newer protocol": b"HTTP/3.0 200 OK\r\n\r\n",
    "HTTP/2 frames": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "a page without a head": b"<html><body>200 OK</body></html>",
    "an empty line first": b"\r\n" + EMPTY,
    "binary": b"\x00\xff\x00\xff" * 100,
    "NUL in a header": OK + b"X-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "NUL in a name": OK + b"X\x00A: a\r\nContent-Length: 0\r\n\r\n",
    "a space in a name": OK + b"X A: a\r\n\r\n",
    "a space after a name": OK + b"X-A : a\r\n\r\n",
    "a name of nothing": OK + b": a\r\n\r\n",
    "a header without a colon": OK + b"X-A\r\n\r\n",
    "a folded header": OK + b"X-A: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a bare carriage return": OK + b"X-A: a\rb\r\nContent-Length: 0\r\n\r\n",
    "a bare line feed": OK + b"X-A: a\nX-B: b\nContent-Length: 0\n\n",
    "a status in words": b"HTTP/1.1 abc OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "a status above 599": b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n",
    "no status": b"HTTP/1.1  OK\r\n\r\n",
    "a negative length": OK + b"Content-Length: -5\r\n\r\n",
    "a length with a sign": OK + b"Content-Length: +5\r\n\r\nabcde",
    "a length in hexadecimal": OK + b"Content-Length: 0x5\r\n\r\nabcde",
    "a length that overflows": OK + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "a list of lengths": OK + b"Content-Length: 5, 5\r\n\r\nabcde",
    "length and chunks": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    "chunks and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    "a chunk of no size": CHUNKED + b"\r\nabcde\r\n0\r\n\r\n",
    "a chunk of a size in words": CHUNKED + b"xyz\r\nabc\r\n0\r\n\r\n",
    "a chunk of negative size": CHUNKED + b"-1\r\na\r\n0\r\n\r\n",
    "a chunk of a size with 0x": CHUNKED + b"0x5\r\nabcde\r\n0\r\n\r\n",
    "a chunk of a size that overflows": CHUNKED + b"f" * 17 + b"\r\na",
    "a chunk longer than its size": CHUNKED + b"3\r\nabcde\r\n0\r\n\r\n",
    "a chunk that ends in a line feed": CHUNKED + b"3\nabc\n0\n\n",
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    "a switch to nothing": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + EMPTY,
    "a header of 100 kB": OK + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n",
    "a header name of 100 kB": OK + b"X" * 100_000 + b": a\r\n\r\n",
    "a status line of 100 kB": b"HTTP/1.1 200 " + b"O" * 100_000 + b"\r\nX",
    "5,000 headers": OK + b"X-A: a\r\n" * 5_000 + b"\r\n",
    "101 headers": OK + b"X: a\r\n" * 101 + b"\r\n",
    "9 interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + EMPTY,
    "interim answers with 9 kB of headers": (b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 3_000 + b"\r\n\r\n") * 3
    + EMPTY,
    "a trailer of 100 kB": CHUNKED + b"0\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("answer", NOT_DECENT.values(), ids=NOT_DECENT)
async def test_what_is_not_decent_http_is_a_bad_response(answer: bytes) -> None:
    async with stranger(says(answer)) as them, outbound() as out:
        assert await category(out, them.url) == "bad_response"


@pytest.mark.parametrize("answer", NOT_DECENT.values(), ids=NOT_DECENT)
async def test_it_is_one_in_small_pieces_too(answer: bytes) -> None:
    # The last piece of what is bad may not be sent any more, once the first was.
    pieces = [answer[at : at + 7] for at in range(0, min(len(answer), 20_000), 7)]
    async with stranger(says(*pieces)) as them, outbound() as out:
        assert await category(out, them.url) == "bad_response"


ENDLESS_HEADS = {
    "headers": (OK, b"X-A: a\r\n"),
    "one header": (OK + b"X-A: ", b"a" * 1_000),
    "one header name": (OK, b"X" * 1_000),
    "the status line": (b"HTTP/1.1 200 ", b"O" * 1_000),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "nothing but lines": (b"", b"\r\n"),
    "a trailer": (CHUNKED + b"1\r\na\r\n0\r\nX-A: ", b"a" * 1_000),
    "trailers": (CHUNKED + b"1\r\na\r\n0\r\n", b"X-A: a\r\n"),
    "a chunk's extension": (CHUNKED + b"1;", b"a" * 1_000),
    "zeros of a chunk's size": (CHUNKED, b"0" * 1_000),
}


@pytest.mark.parametrize(("first", "again"), ENDLESS_HEADS.values(), ids=ENDLESS_HEADS)
async def test_what_has_no_end_is_cut_off_long_before_the_deadline(first: bytes, again: bytes) -> None:
    async with stranger(says_endlessly(first, again)) as them, outbound() as out:
        began = monotonic()
        assert await category(out, them.url, timeout_seconds=30) == "bad_response"
        assert monotonic() - began < 15


ENDLESS_BODIES = {
    "chunks": (CHUNKED, b"4000\r\n" + b"x" * 0x4000 + b"\r\n"),
    "chunks of a byte": (CHUNKED, b"1\r\nx\r\n" * 1_000),
    "a gigabyte": (OK + b"Content-Length: %d\r\n\r\n" % a_lot, b"x" * 0x4000),
    "no length": (OK + b"\r\n", b"x" * 0x4000),
    "no length in HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\n", b"x" * 0x4000),
}


@pytest.mark.parametrize(("first", "again"), ENDLESS_BODIES.values(), ids=ENDLESS_BODIES)
async def test_a_body_is_cut_at_the_limit_its_status_counts_and_the_rest_is_not_read(
    first: bytes, again: bytes
) -> None:
    async with stranger(says_endlessly(first, again)) as them, outbound() as out:
        answer = await post(out, them.url)

    assert isinstance(answer, Answer)
    assert (answer.status, answer.body, answer.truncated) == (200, b"x" * response_bytes_max, True)
    assert them.written < 32 * 2**20  # what fits into the system's buffers on both sides


async def test_a_bomb_stays_packed() -> None:
    bomb = gzip.compress(b"\0" * 10_000_000)
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with stranger(says(head + bomb)) as them, outbound() as out:
        answer = await post(out, them.url)

    assert isinstance(answer, Answer)
    assert answer.body == bomb[:response_bytes_max]


SILENT = {
    "from the start": b"",
    "within the status line": b"HTTP/1.1 20",
    "within the headers": OK + b"X-A: ",
    "after the headers": OK + b"Content-Length: 10\r\n\r\n",
    "within the body": OK + b"Content-Length: 10\r\n\r\nabc",
    "within a chunk": CHUNKED + b"5\r\nab",
    "before the last chunk": CHUNKED + b"5\r\nabcde\r\n",
    "within the trailers": CHUNKED + b"0\r\nX-A: a\r\n",
    "after an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "without a length": OK + b"\r\nabc",
}


@pytest.mark.parametrize("answer", SILENT.values(), ids=SILENT)
async def test_silence_ends_at_the_deadline_wherever_it_falls(answer: bytes) -> None:
    async with stranger(says(answer)) as them, outbound() as out:
        assert await category(out, them.url, timeout_seconds=0.2) == "timeout"


DRIPS = {
    "the headers": (OK + b"X-A: ", b"a"),
    "the body": (OK + b"Content-Length: 10000\r\n\r\n", b"a"),
    "chunks": (CHUNKED, b"1\r\na\r\n"),
    "a body without a length": (OK + b"\r\n", b"a"),
    "the trailers": (CHUNKED + b"0\r\nX-A: ", b"a"),
}


@pytest.mark.parametrize(("first", "again"), DRIPS.values(), ids=DRIPS)
async def test_a_drip_ends_at_the_deadline(first: bytes, again: bytes) -> None:
    async with stranger(drips(first, again)) as them, outbound() as out:
        began = monotonic()
        fault = await post(out, them.url, timeout_seconds=0.3)
        took = monotonic() - began

    assert isinstance(fault, Fault)
    assert fault.category == "timeout"
    assert 0.3 <= took < 2
    assert fault.timings.read_ms is not None  # something came, though not all of it


async def test_a_server_that_accepts_no_connection_ends_at_the_deadline() -> None:
    with socket.socket() as deaf, socket.socket() as one, socket.socket() as other:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for filling in (one, other):
            filling.setblocking(False)
            filling.connect_ex(deaf.getsockname())
        async with outbound() as out:
            fault = await post(out, f"http://127.0.0.1:{deaf.getsockname()[1]}/", timeout_seconds=0.3)

    assert isinstance(fault, Fault)
    assert fault.category == "timeout"
    assert fault.timings.connect_ms is not None
    assert fault.timings.wait_ms is None


async def test_a_server_that_never_answers_the_tls_hello_ends_at_the_deadline() -> None:
    async def talk(me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with stranger(talk) as them, outbound() as out:
        fault = await post(out, f"https://127.0.0.1:{them.port}/", timeout_seconds=0.3)

    assert isinstance(fault, Fault)
    assert fault.category == "timeout"
    assert fault.timings.tls_ms is not None
    assert fault.timings.wait_ms is None


async def test_a_server_that_hangs_up_on_the_tls_hello_is_a_tls_error() -> None:
    async def talk(me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with stranger(talk) as them, outbound() as out:
        assert await category(out, f"https://127.0.0.1:{them.port}/") == "tls_error"


async def test_a_look_up_counts_toward_the_deadline() -> None:
    class Silent:
        async def addresses(self, host: str) -> Sequence[str]:
            await asyncio.Event().wait()
            return ()

    async with outbound(resolver=Silent()) as out:
        fault = await post(out, "https://hook.example/", timeout_seconds=0.1)

    assert isinstance(fault, Fault)
    assert fault.category == "timeout"
    assert fault.timings.lookup_ms is not None
    assert fault.timings.connect_ms is None


UNFINISHED = {
    "before the first byte": b"",
    "after the status line": OK,
    "within the headers": OK + b"X-A: ",
    "within a 2xx body": OK + b"Content-Length: 10\r\n\r\nabc",
    "before a 2xx body": OK + b"Content-Length: 10\r\n\r\n",
    "within a chunk": CHUNKED + b"5\r\nab",
    "before the last chunk": CHUNKED + b"5\r\nabcde\r\n",
    "within the trailers": CHUNKED + b"0\r\n",
    "after an interim answer": b"HTTP/1.1 102 Processing\r\n\r\n",
    "within a body coded otherwise": OK + b"Transfer-Encoding: gzip\r\n\r\nabc",
}


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("answer", UNFINISHED.values(), ids=UNFINISHED)
async def test_an_answer_that_is_broken_off_does_not_count(answer: bytes, then: str) -> None:
    async with stranger(says(answer, then=then)) as them, outbound() as out:
        assert await category(out, them.url) == "connection_lost"


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_a_body_without_a_length_ends_with_the_connection(version: bytes) -> None:
    async with stranger(says(version + b" 200 OK\r\n\r\nabc", b"def", then="close")) as them, outbound() as out:
        answer = await post(out, them.url)

    assert isinstance(answer, Answer)
    assert (answer.status, answer.body, answer.truncated) == (200, b"abcdef", False)


async def test_a_body_without_a_length_that_is_reset_does_not_count() -> None:
    async def talk(me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await me.write(writer, OK + b"\r\nabc")
        connected: socket.socket = writer.get_extra_info("socket")
        # Closed with this, it resets instead of ending.
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        writer.transport.abort()

    async with stranger(talk) as them, outbound() as out:
        assert await category(out, them.url) == "connection_lost"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (b"\xc3\xa9\xff", "\xc3\xa9\xff"),  # any bytes, as Latin-1
        (b"  5\t ", "5"),
        (b"", ""),
        (b"a\r\nX-A: b", "a, b"),
    ],
)
async def test_header_values_are_read_whatever_they_hold(value: bytes, read: str) -> None:
    async with stranger(says(b"HTTP/1.1 204 No Content\r\nX-A: " + value + b"\r\n\r\n")) as them, outbound() as out:
        answer = await post(out, them.url)

    assert isinstance(answer, Answer)
    assert (answer.status, answer.headers["x-a"], answer.headers.get("X-A")) == (204, read, read)
    assert list(answer.headers) == ["x-a"]


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("length", [b"", b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_an_answer_that_has_no_body_is_not_waited_for(status: int, length: bytes) -> None:
    async with stranger(says(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, length))) as them, outbound() as out:
        answer = await post(out, them.url, timeout_seconds=2)

    assert isinstance(answer, Answer)
    assert (answer.status, answer.body) == (status, b"")


async def test_interim_answers_are_passed_over_and_leave_no_header_behind() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\n"
    async with stranger(says(interim * 8 + b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")) as them, outbound() as out:
        answer = await post(out, them.url)

    assert isinstance(answer, Answer)
    assert (answer.status, "Retry-After" in answer.headers) == (503, False)


async def test_every_split_of_an_answer_is_read_alike() -> None:
    whole = CHUNKED.replace(b"\r\n\r\n", b"\r\nX-A: b\r\n\r\n") + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-B: c\r\n\r\n"

    async def talk(me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for at in range(1, len(whole)):
            await me.request(reader)
            for begins, ends in pairwise((0, at, len(whole))):
                await me.write(writer, whole[begins:ends])

    async with stranger(talk) as them, outbound() as out:
        answers = [await post(out, them.url) for _ in range(1, len(whole))]

    assert {(a.status, a.body, a.headers["x-a"]) for a in answers if isinstance(a, Answer)} == {(200, b"abcde", "b")}
    assert len([a for a in answers if isinstance(a, Answer)]) == len(whole) - 1
    assert them.connections == 1


async def test_an_answer_before_the_request_was_sent_counts_and_ends_the_connection() -> None:
    async def talk(me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await me.write(writer, b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with stranger(talk) as them, outbound() as out:
        for _ in range(2):
            answer = await post(out, them.url, body=b"x" * 2**25)
            assert isinstance(answer, Answer)
            assert answer.status == 413
        assert them.connections == 2


async def test_names_that_take_the_place_of_addresses_are_not_dialled() -> None:
    async with outbound(resolver=Names(["hook.example"])) as out:
        assert await category(out, "https://hook.example/") == "no_public_address"


async def test_a_trailer_is_not_taken_for_a_header() -> None:
    trailers = b"0\r\nRetry-After: 86400\r\nX-A: forged\r\nKeep-Alive: timeout=0\r\n\r\n"
    unwell = b"HTTP/1.1 503 X\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with stranger(says(unwell + b"1\r\na\r\n" + trailers)) as them, outbound() as out:
        answers = [await post(out, them.url) for _ in range(2)]

    for answer in answers:
        assert isinstance(answer, Answer)
        assert (answer.headers["x-a"], "retry-after" in answer.headers) == ("b", False)
    assert them.connections == 1


@pytest.mark.parametrize("says_so", [True, False])
async def test_a_body_without_a_length_ends_with_tls_whether_or_not_that_says_so(says_so: bool, tmp_path: Path) -> None:
    """Many a plain server just hangs up. Its status was proven; of its body, no more than that is relied on."""
    server, client = certificate(tmp_path)

    async def talk(me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await me.request(reader)
        await me.write(writer, OK + b"\r\nabc")
        if not says_so:
            writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
            await reader.read()

    async with (
        stranger(talk, tls=server) as them,
        outbound(resolver=Names(["127.0.0.1"]), tls=client) as out,
    ):
        answer = await post(out, f"https://hook.example:{them.port}/")

    assert isinstance(answer, Answer)
    assert (answer.status, answer.body) == (200, b"abc")
