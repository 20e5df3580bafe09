"""Laws of reading answers: any bytes in any pieces end in an answer or a fault, and what was said is what is read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kit.outbound import Answer, Fault, Timings
from app.kit.outbound.connection import Connection, Place

limit = 64

PIECES = st.sampled_from(
    [
        *(
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 204 No Content\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.0 500 X\r\n",
        ),
        *(
            b"HTTP/1.1 101 X\r\n",
            b"HTTP/",
            b"\r\n",
            b"\r",
            b"\n",
            b"\r\n\r\n",
            b":",
            b"X-A: b\r\n",
            b"\x00",
            b"\xff",
            b" ",
        ),
        *(
            b"Content-Length: 3\r\n",
            b"Content-Length: -1\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Connection: close\r\n",
        ),
        *(
            b"Transfer-Encoding: gzip\r\n",
            b"Connection: keep-alive\r\n",
            b"Keep-Alive: timeout=2\r\n",
            b"Upgrade: h2c\r\n",
        ),
        *(
            b"3\r\nabc\r\n",
            b"0\r\n\r\n",
            b"0\r\n",
            b"abc",
            b"ffff\r\n",
            b"3;x=y\r\n",
            b"x" * 100,
            b"X: " + b"y" * 9_000,
        ),
    ]
)
ANY = st.lists(st.one_of(PIECES, PIECES, st.binary(max_size=20)), max_size=12)
TOKENS = st.text("abcXYZ-09", min_size=1, max_size=8)
VALUES = st.text([chr(code) for code in range(0x21, 0x7F)], max_size=12)


class Wire(asyncio.Transport):
    """A transport without a wire."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def heard(loop: asyncio.AbstractEventLoop, pieces: list[bytes], *, ends: bool) -> tuple[Answer | Fault | None, bool]:
    """What came of a request that was answered so, and whether another may follow."""
    wire, kept = Wire(), list[Connection]()
    connection = Connection(Place("127.0.0.1", 8000, None), loop, kept.append, lambda lost: None)
    connection.connection_made(wire)
    answer = connection.ask(b"POST / HTTP/1.1\r\n\r\n", limit, 1.0, Timings())
    for piece in pieces:
        if wire.closed:
            break
        connection.data_received(piece)
    if ends and not wire.closed:
        connection.eof_received()
    if ends or wire.closed:
        connection.connection_lost(None)
    return answer.result() if answer.done() else None, bool(kept) and not wire.closed


@given(ANY)
def test_any_bytes_end_in_an_answer_or_a_fault(loop: asyncio.AbstractEventLoop, pieces: list[bytes]) -> None:
    result, _ = heard(loop, pieces, ends=True)
    assert isinstance(result, Answer | Fault)
    if isinstance(result, Answer):
        assert 200 <= result.status <= 599
        assert len(result.body) <= limit
        assert all(isinstance(value, str) for value in result.headers.values())
    else:
        assert result.category in ("bad_response", "connection_lost")


@given(ANY, st.data())
def test_how_the_bytes_are_cut_changes_nothing(
    loop: asyncio.AbstractEventLoop, pieces: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(pieces)
    at = data.draw(st.integers(0, len(whole)))
    together, _ = heard(loop, [whole] if whole else [], ends=True)
    apart, _ = heard(loop, [part for part in (whole[:at], whole[at:]) if part], ends=True)
    assert _gist(together) == _gist(apart)


@given(
    st.integers(200, 599).filter(lambda status: status not in (204, 304)),
    st.lists(
        st.tuples(TOKENS.map(lambda name: f"x-{name}"), VALUES), max_size=5, unique_by=lambda pair: pair[0].lower()
    ),
    st.binary(max_size=limit),
    st.sampled_from(["length", "chunks", "end"]),
    st.data(),
)
def test_what_was_said_is_what_is_read(
    loop: asyncio.AbstractEventLoop,
    status: int,
    headers: list[tuple[str, str]],
    body: bytes,
    framing: str,
    data: st.DataObject,
) -> None:
    whole = _written(status, headers, body, framing)
    cuts = sorted(data.draw(st.lists(st.integers(1, len(whole) - 1), max_size=6, unique=True)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]

    result, may_go_on = heard(loop, pieces, ends=framing == "end")

    assert isinstance(result, Answer)
    assert (result.status, result.body, result.truncated) == (status, body, False)
    assert {name: result.headers[name] for name, _ in headers} == dict(headers)
    assert may_go_on == (framing != "end")


def _written(status: int, headers: list[tuple[str, str]], body: bytes, framing: str) -> bytes:
    head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
    match framing:
        case "length":
            return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        case "chunks":
            chunks = b"".join(
                b"%x\r\n%b\r\n" % (len(body[at : at + 7]), body[at : at + 7]) for at in range(0, len(body), 7)
            )
            return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"
        case _:
            return f"{head}\r\n".encode() + body


def _gist(result: Answer | Fault | None) -> object:
    """All but the time it took, and the words for the operator."""
    if isinstance(result, Answer):
        return (result.status, dict(result.headers), result.body, result.truncated)
    return result.category if isinstance(result, Fault) else None
