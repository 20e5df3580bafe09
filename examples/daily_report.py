"""An agent that writes a report at nine on weekdays, each of them once.

    tocsin keygen --out agent.key
    export TOCSIN_URL=http://127.0.0.1:8585 TOCSIN_KEY=agent.key
    export REPORT_SECRET=whsec_$(head -c 32 /dev/urandom | base64)  # keep both: another start needs the same
    python -m examples.daily_report 8800 reports

Start it as often as you like: the schedule has an id of this program's choice, so there is one, and it changes only
when what stands here changes. A ring may come twice, so a report is named by its fire. The answer says that the run is
done, and only then may the next one begin; a program that takes longer than the relay waits for an answer would answer
at once, and say so by `relay.schedules.complete(schedule_id, fire_id)` in the end.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tocsin import Client, webhooks
from tocsin.problems import AlreadyRegistered
from tocsin.schemas.schedules import NewSchedule
from tocsin.webhooks import WebhookError

SECRET = os.environ.get("REPORT_SECRET", "")


def main(port: int, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with Client() as relay, listening(port, folder) as url:
        with suppress(AlreadyRegistered):
            relay.agents.register(relay.key, name="reporter")
        known = {endpoint.url: endpoint.id for endpoint in relay.endpoints.list()}
        weekdays = NewSchedule(
            spec={"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"},
            endpoint_id=known.get(url) or relay.endpoints.create(url, secret=SECRET).id,
            payload={"title": "What happened yesterday"},
            overlap="skip",
            completion="report",
            completion_timeout="PT15M",
        )
        schedule = relay.schedules.put("daily-report", weekdays)
        print(f"{schedule.id} version {schedule.version}, next report {schedule.next_fire}", flush=True)
        with suppress(KeyboardInterrupt):
            Event().wait()


def handle(body: bytes, headers: Mapping[str, str], folder: Path) -> tuple[int, bytes]:
    """Status and body to answer with. Whatever cannot be verified is refused."""
    try:
        ring = webhooks.verify(body, headers, secret=SECRET, now=datetime.now(UTC))
    except WebhookError as refusal:
        return 400, str(refusal).encode()
    if ring.type == "schedule.fired":
        report(ring.data, folder)
        return 200, json.dumps({"completed": True}).encode()
    return 200, webhooks.challenge_answer(ring) or b"{}"


def report(fire: dict[str, Any], folder: Path) -> None:
    """Write the report of a fire, unless it has been written."""
    path = folder / f"{fire['fire_id']}.md"
    if path.exists():
        return
    draft = path.with_suffix(".draft")
    draft.write_text(f"# {fire['payload']['title']}\n\nAs of {fire['scheduled_at']}: nothing.\n", encoding="utf-8")
    draft.replace(path)  # whole or not at all, should we be interrupted
    print(f"wrote {path}", flush=True)


@contextmanager
def listening(port: int, folder: Path) -> Iterator[str]:
    """Calls `handle` for each request."""

    class Gateway(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, answer = handle(body, dict(self.headers.items()), folder)
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", port), Gateway)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    if len(sys.argv) != 3 or not SECRET:
        sys.exit(__doc__)
    main(int(sys.argv[1]), Path(sys.argv[2]))
