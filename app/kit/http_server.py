"""What stands before the API: uvicorn's HTTP/1.1 protocol, with bounds on the head of a request and on slow readers.

uvicorn bounds neither how long a request line and its headers may be, nor how long they may take, nor how long an
answer may wait to be read, so one stranger could hold memory and connections for as long as they like. Bodies have
their bounds at the door (`kit/operations`).
"""

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.kit import limits
from tocsin.problems import MEDIA_TYPE, BadRequest, HeadersTooLarge, Problem, RequestTimeout


class BoundedHttp(HttpToolsProtocol):
    """Refuses a request whose head is too large or too slow, and closes its connection; so too where nobody reads."""

    _head_bytes = 0
    _in_head = True
    _too_slow: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_has_come()
        self._is_read_again()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Said by the transport when more waits to be read than it should hold. Whoever sends waits from here on."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        self._is_read_again()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._too_slow is None:
            # The first bytes of the next request on this connection; an idle one is closed by uvicorn.
            self._await_head()
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > limits.head_bytes_max:
                self._refuse(HeadersTooLarge(f"request line and headers may have {limits.head_bytes_max} bytes"))

    def on_headers_complete(self) -> None:
        self._head_has_come()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._too_slow = None

    def send_400_response(self, msg: str) -> None:
        """Said by uvicorn of what is no HTTP at all."""
        self._refuse(BadRequest(msg))

    def _await_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        late = RequestTimeout(f"the headers did not arrive within {limits.head_seconds} s")
        self._too_slow = self.loop.call_later(limits.head_seconds, self._refuse, late)

    def _head_has_come(self) -> None:
        self._in_head = False
        if self._too_slow is not None:
            self._too_slow.cancel()

    def _await_reader(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(limits.unread_seconds, self._look_at_reader, waiting)

    def _look_at_reader(self, waited: int) -> None:
        """A reader that is slow is waited for; one that takes nothing is left."""
        if self.transport.get_write_buffer_size() < waited:
            self._await_reader()
        else:
            self.transport.abort()

    def _is_read_again(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _refuse(self, problem: Problem) -> None:
        self._head_has_come()
        if self.transport.is_closing():
            return
        body = json.dumps(problem.document()).encode()
        head = f"HTTP/1.1 {problem.status} {problem.title}\r\ncontent-type: {MEDIA_TYPE}\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()
