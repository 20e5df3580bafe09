"""An agent that sleeps: a handler that is only there while it is called, as a serverless function is.

    export TOCSIN_URL=http://127.0.0.1:8585
    python -m examples.sleeper 3

It registers a key, an endpoint and a schedule of one ring a second, then does nothing but answer. It ends after as many
rings as it was asked for, and deletes its schedule. Behind a real gateway, `handle` is all that would stay.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread

from tocsin import Client, PrivateKey, webhooks
from tocsin.schemas.schedules import NewSchedule
from tocsin.webhooks import Ring, WebhookError

SECRET = webhooks.new_secret()  # a function would read it from its secret store


def handle(body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes, Ring | None]:
    """Status and body to answer with, and the ring if it is one to act on. Whatever cannot be verified is refused."""
    try:
        ring = webhooks.verify(body, headers, secret=SECRET, now=datetime.now(UTC))
    except WebhookError as refusal:
        return 400, str(refusal).encode(), None
    challenge = webhooks.challenge_answer(ring)
    return (200, challenge, None) if challenge else (200, b"", ring)


def main(rings_wanted: int) -> None:
    rings: Queue[Ring] = Queue()
    with listening(rings) as url, Client(key=PrivateKey.generate()) as relay:
        relay.agents.register(relay.key, name="sleeper")
        endpoint = relay.endpoints.create(url, secret=SECRET)
        schedule = relay.schedules.create(
            NewSchedule(spec={"every": "PT1S"}, endpoint_id=endpoint.id, payload={"do": "wake up"}, name="every second")
        )
        seen: set[str] = set()
        while len(seen) < rings_wanted:
            ring = rings.get(timeout=30)
            if ring.id not in seen:  # a ring may come twice, with the same id
                seen.add(ring.id)
                print(
                    f"{ring.data['scheduled_at']}  run {ring.data['run']}  {ring.data['payload']}  by {ring.verified}"
                )
        relay.schedules.delete(schedule.id)
        print(f"{schedule.id} is deleted after {len(seen)} rings")


@contextmanager
def listening(rings: Queue[Ring]) -> Iterator[str]:
    """Stands in for the gateway: calls `handle` for each request."""

    class Gateway(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, answer, ring = handle(body, dict(self.headers.items()))
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
            if ring is not None:
                rings.put(ring)

        def log_message(self, format: str, *args: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(int(sys.argv[1]))
