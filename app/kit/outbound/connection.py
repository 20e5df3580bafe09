"""HTTP/1.1 over one connection: one request at a time, and nothing believed that the other side sends.

The bytes are read by llhttp, the parser of Node.js, in its strict mode. What is bounded here: how much may come before
the body, how much of the body is taken, and how much may come around it. Time is bounded from outside: the pool ends
what is past `ends_at`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools

from app.kit.outbound.answers import Answer, Category, Fault, Headers, Timings, milliseconds, no_time

__all__ = ["Connection", "Place", "idle_connection_seconds", "response_header_bytes_max", "response_headers_max"]

response_header_bytes_max = 8 * 1024
response_headers_max = 100
interim_answers_max = 8
# Shorter than what common servers keep idle connections for (5 s), so that we seldom post into one being closed.
idle_connection_seconds = 4.0
# The last chunk's extensions, and trailers.
trailer_bytes_max = 8 * 1024
# A chunk of one byte takes six.
framing_share_max = 6

HTTP1 = b"HTTP/1."


class Place(NamedTuple):
    """What is dialled, and all that a connection may be reused for: a vetted address, a port, and the name that TLS
    has to prove; None for plain HTTP."""

    address: str
    port: int
    server_name: str | None


class _Refused(Exception):
    """Raised inside of the parser's callbacks to stop it. The message is for the operator."""


class Connection(asyncio.Protocol):
    """One connection to a place.

    `released` is called when an answer has ended and another request may follow, `lost` when the connection is gone.
    """

    __slots__ = (
        "_answer",
        "_asked_at",
        "_chunks",
        "_codings",
        "_ended_properly",
        "_headers",
        "_headers_count",
        "_headers_size",
        "_heard_at",
        "_in_body",
        "_interim",
        "_is_complete",
        "_is_truncated",
        "_limit",
        "_loop",
        "_lost",
        "_may_go_on",
        "_parser",
        "_received",
        "_released",
        "_size",
        "_spent",
        "_status",
        "_transport",
        "ends_at",
        "idle_seconds_max",
        "place",
    )

    def __init__(
        self,
        place: Place,
        loop: asyncio.AbstractEventLoop,
        released: Callable[[Connection], None],
        lost: Callable[[Connection], None],
    ) -> None:
        self.place = place
        self.ends_at = float("inf")
        self.idle_seconds_max = idle_connection_seconds
        self._loop = loop
        self._released = released
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Answer | Fault] | None = None
        self._ended_properly = False
        self._asked_at = 0.0
        self._clear()

    def _clear(self) -> None:
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self._codings: list[bytes] = []
        self._headers_count = self._headers_size = self._size = self._received = self._interim = 0
        self._heard_at: float | None = None
        self._in_body = self._is_complete = self._is_truncated = self._may_go_on = False

    # --- for those who ask ---

    def ask(self, request: bytes, limit: int, ends_at: float, spent: Timings) -> asyncio.Future[Answer | Fault]:
        """Send a request; the future is done by `ends_at`. At most `limit` bytes of the answer's body are taken.

        `spent` is what was spent before this.
        """
        assert self._answer is None, "one request at a time"
        assert self._transport is not None
        self._clear()
        self._limit, self.ends_at, self._spent = limit, ends_at, spent
        self._asked_at = self._loop.time()
        self._answer = self._loop.create_future()
        self._transport.write(request)
        return self._answer

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def heard_nothing(self) -> bool:
        """Whether not a byte came of the latest answer."""
        return self._heard_at is None

    def end(self) -> None:
        """It is past `ends_at`: give up what was asked, or what nobody asks any more."""
        self._give_up("timeout", "nothing was heard" if self.heard_nothing else "the answer did not end")

    def abort(self) -> None:
        """Close, whatever is going on. An answer that is awaited will not come."""
        if self._transport is not None:
            self._transport.abort()

    # --- the transport's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            # Nobody asked. What came would be taken for the answer to the next request.
            self.abort()
            return
        if self._heard_at is None:
            self._heard_at = self._loop.time()
            if not HTTP1.startswith(data[: len(HTTP1)]):
                self._give_up("bad_response", "the answer does not begin as HTTP/1 does")
                return
        self._received += len(data)
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # After the end it does not matter what comes, but that something did.
            self._may_go_on = False
            if not self._is_complete:
                self._give_up("bad_response", str(error.__context__ or error))
                return
        if self._is_complete:
            self._finish()
        elif self._received > self._received_max:
            self._give_up("bad_response", "what is around the body has no end")

    @property
    def _received_max(self) -> int:
        """How much may have come of an answer that has not ended, given what we have of its body."""
        if not self._in_body:
            return response_header_bytes_max
        return response_header_bytes_max + trailer_bytes_max + framing_share_max * self._size

    def eof_received(self) -> None:
        self._ended_properly = True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None:
            if self._ended_properly and self._in_body and self._ends_with_the_connection:
                self._may_go_on = False
                self._finish()
            else:
                self._give_up("connection_lost", str(exc or "closed by the other side"))
        self._lost(self)
        # They hold each other.
        self._parser = self._transport = None

    # --- the parser's calls ---

    def on_message_begin(self) -> None:
        if self._is_complete:
            raise _Refused("there is more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers_count += 1
        self._headers_size += len(name) + len(value)
        if self._headers_size > response_header_bytes_max or self._headers_count > response_headers_max:
            raise _Refused("the headers are too many or too long")
        if self._in_body:
            return  # a trailer, which is no header (RFC 9110, 6.5.1)
        self._headers.append((name, value))
        if len(name) == 10 and name.lower() == b"keep-alive":
            self._heed(value)
        elif len(name) == 17 and name.lower() == b"transfer-encoding":
            self._codings.append(value.strip().lower())

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self._status = self._parser.get_status_code()
        if self._status == 101 or not 100 <= self._status <= 599:
            raise _Refused(f"status {self._status}")
        self._in_body = self._status >= 200
        self._may_go_on = self._parser.should_keep_alive() and not self._is_coded_oddly(self._parser)

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._size += len(body)
        if self._size > self._limit:
            self._is_complete = self._is_truncated = True
            raise _Refused("that is enough of it")

    def on_message_complete(self) -> None:
        if self._in_body:
            self._is_complete = True
            return
        self._interim += 1
        if self._interim > interim_answers_max:
            raise _Refused("there are too many interim answers")
        self._headers.clear()
        self._codings.clear()

    def _is_coded_oddly(self, parser: httptools.HttpResponseParser) -> bool:
        """Whether others may see the end of this answer elsewhere: it is coded, and not just in chunks as HTTP/1.1 has
        them (RFC 9112, 6.1)."""
        return bool(self._codings) and (self._codings != [b"chunked"] or parser.get_http_version() != "1.1")

    # --- how it ends ---

    def _finish(self) -> None:
        asked, self._answer = self._answer, None
        assert asked is not None
        assert self._transport is not None
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        if self._is_truncated:
            body = body[: self._limit]
        answer = Answer(self._status, Headers(self._headers), body, self._is_truncated, self._timings())
        # What was answered before it was sent whole cannot be followed by another request.
        if self._may_go_on and self.is_open and self._transport.get_write_buffer_size() == 0:
            self._released(self)
        else:
            self.abort()
        if not asked.done():
            asked.set_result(answer)

    def _give_up(self, category: Category, detail: str) -> None:
        asked, self._answer = self._answer, None
        self.abort()
        if asked is not None and not asked.done():
            asked.set_result(Fault(category, detail, self._timings()))

    def _timings(self) -> Timings:
        now, heard_at = self._loop.time(), self._heard_at
        if heard_at is None:
            return self._spent._replace(wait_ms=milliseconds(now - self._asked_at))
        wait_ms, read_ms = milliseconds(heard_at - self._asked_at), milliseconds(now - heard_at)
        if self._spent is no_time:
            return Timings(None, None, None, wait_ms, read_ms)
        return self._spent._replace(wait_ms=wait_ms, read_ms=read_ms)

    @property
    def _ends_with_the_connection(self) -> bool:
        """Whether the answer said nothing of its length, so that it ends where the connection does."""
        names = {name.lower() for name, _ in self._headers}
        return not names & {b"content-length", b"transfer-encoding"}

    def _heed(self, keep_alive: bytes) -> None:
        """Let go a second before the server does, where it says when that is."""
        for parameter in keep_alive.split(b","):
            name, _, value = parameter.strip().partition(b"=")
            if name.lower() == b"timeout" and len(value) < 6 and value.isdigit():
                self.idle_seconds_max = min(idle_connection_seconds, int(value) - 1.0)
