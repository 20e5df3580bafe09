"""A small receiver: verifies each ring, answers challenges, and hands over what it was rung with.

    with Receiver(print) as receiver:
        endpoint = client.endpoints.create(receiver.url, secret=secret)
        receiver.trust(Trust(secret=secret, public_key=client.webhook_keys(), endpoint_id=endpoint.id))

It is made for development and tests: one thread a request, and only on this machine unless told otherwise.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tocsin.webhooks import AnyKey, Headers, Ring, WebhookError, challenge_answer, verify

__all__ = ["Heard", "Receiver", "Trust", "hear"]

body_bytes_max = 1_048_576
request_seconds_max = 15
trust_wait_seconds_max = 10


@dataclass(frozen=True)
class Trust:
    """What proves a ring: the endpoint's secret, and the relay's public keys together with the endpoint's id."""

    secret: str | None = None
    public_key: AnyKey | None = None
    endpoint_id: str | None = None


@dataclass(frozen=True)
class Heard:
    """A request, what it proved to be, and how it is answered."""

    at: datetime
    ring: Ring | None
    refusal: WebhookError | None
    status: int
    answer: bytes


def hear(body: bytes, headers: Headers, trust: Trust, now: datetime) -> Heard:
    """Verify one request, and decide the answer."""
    try:
        ring = verify(
            body, headers, now=now, secret=trust.secret, public_key=trust.public_key, endpoint_id=trust.endpoint_id
        )
    except WebhookError as refusal:
        return Heard(now, None, refusal, 400, str(refusal).encode())
    return Heard(now, ring, None, 200, challenge_answer(ring) or b"{}")


class Receiver:
    """An HTTP server that calls `heard` for every POST, from several threads and only with what has been verified."""

    def __init__(self, heard: Callable[[Heard], object], *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._heard = heard
        self._trust = Trust()
        self._trusting = threading.Event()
        try:
            self._server = ThreadingHTTPServer((host, port), self._handler())
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._host = host

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server.server_address[1]}/"

    def trust(self, trust: Trust) -> None:
        """Say what proves a ring. Until then requests wait: a challenge may come before its endpoint's id is known."""
        self._trust = trust
        self._trusting.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _receive(self, body: bytes, headers: Headers) -> tuple[int, bytes]:
        if not self._trusting.wait(trust_wait_seconds_max):
            return 503, b"not yet ready to verify"
        heard = hear(body, headers, self._trust, datetime.now(UTC))
        self._heard(heard)
        return heard.status, heard.answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receive = self._receive

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = request_seconds_max

            def do_POST(self) -> None:
                length = self.headers.get("content-length", "")
                if not length.isdecimal() or int(length[:12]) > body_bytes_max:
                    self._answer(413, b"a content-length of at most 1 MiB is needed", close=True)
                    return
                self._answer(*receive(self.rfile.read(int(length)), self.headers))

            def _answer(self, status: int, body: bytes, close: bool = False) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json" if status == 200 else "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                if close:
                    self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """What was heard is handed over, not logged."""

        return Handler
