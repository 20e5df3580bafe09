"""What a measurement runs on: real servers in a temporary home, and processes that end with it."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from app.deliveries.secrets import Secrets
from app.kit.sealing import Keyring, SecretKey
from app.local import migrations
from app.local.postgres import Postgres
from app.local.valkey import Valkey
from app.settings import DatabaseSettings, OutboundSettings, SecretSettings, Settings, ValkeySettings
from tocsin import webhooks

ROOT = Path(__file__).parent.parent
SECRET_KEY = SecretKey.new()


@dataclass(frozen=True)
class Stage:
    """Postgres with fsync, Valkey and a receiver; processes are started on it."""

    postgres: Postgres
    valkey: Valkey
    receiver: str
    home: Path
    stack: ExitStack

    @property
    def settings(self) -> Settings:
        return Settings(
            database=DatabaseSettings(url=self.postgres.url, connections=32),
            valkey=ValkeySettings(url=self.valkey.url),
            secret=SecretSettings(key=SECRET_KEY),
            outbound=OutboundSettings(allow=("127.0.0.0/8",)),
        )

    @property
    def environment(self) -> dict[str, str]:
        return {
            "TOCSIN_DATABASE_URL": self.postgres.url,
            "TOCSIN_VALKEY_URL": self.valkey.url,
            "TOCSIN_SECRET_KEY": SECRET_KEY.text,
            "TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8",
            "TOCSIN_LOG_LEVEL": "error",
        }

    def taken(self) -> dict[str, Any]:
        """What the receiver got since the last question."""
        return json.loads(self._ask("/taken"))

    def counted(self) -> int:
        """How many it got since then."""
        return int(self._ask("/count"))

    def _ask(self, path: str) -> bytes:
        # Not httpx: a new client reads every certificate of the system, which is not free.
        with urllib.request.urlopen(f"{self.receiver}{path}", timeout=10) as answer:
            return answer.read()

    def wait_until_taken(self, count: int, seconds_max: float = 180) -> dict[str, Any]:
        """Ask the receiver until it got that many. Asks seldom, so as not to disturb."""
        total: dict[str, Any] = {"count": 0, "first": 0.0, "last": 0.0, "arrivals": []}
        ends_at = time.monotonic() + seconds_max
        while total["count"] < count:
            assert time.monotonic() < ends_at, f"only {total['count']} of {count} arrived in {seconds_max} s"
            time.sleep(0.25)
            new = self.taken()
            total["count"] += new["count"]
            total["first"] = total["first"] or new["first"]
            total["last"] = max(total["last"], new["last"])
            total["arrivals"] += new["arrivals"]
        return total

    def start_receiver(self, answer_after: float) -> str:
        """One more receiver, which answers that many seconds late; its address."""
        return _address(self.start("-m", "bench.receiver", "--answer-after", str(answer_after)))

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """A Python process on this stage, whose first line of output is for us."""
        return self.stack.enter_context(running(*command, environment=self.environment | environment))


@contextmanager
def running(*command: str, environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process of Python that ends with the block."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=clean | dict(environment or {}), stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


async def answering(url: str) -> None:
    """Wait until what has just been started there answers `GET /healthz`."""
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(600):
            try:
                (await client.get(f"{url}/healthz")).raise_for_status()
                return
            except httpx.HTTPError:
                await asyncio.sleep(0.2)
    raise TimeoutError(f"nothing answers at {url}")


@contextmanager
def stage() -> Iterator[Stage]:
    """Everything started, and ended with the block."""
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder, ExitStack() as stack:
        home = Path(folder)
        postgres = Postgres.start(home)
        stack.callback(postgres.stop)
        valkey = Valkey.start(home)
        stack.callback(valkey.stop)
        migrations.migrate(postgres.url)
        receiver = stack.enter_context(running("-m", "bench.receiver"))
        yield Stage(postgres, valkey, _address(receiver), home, stack)


def _address(receiver: subprocess.Popen[str]) -> str:
    assert receiver.stdout is not None
    return f"http://127.0.0.1:{int(receiver.stdout.readline())}"


def sealed_secrets(endpoint_id: str, now: datetime) -> str:
    """A new secret as a row of `endpoints` keeps it."""
    return json.dumps([Secrets(Keyring(SECRET_KEY)).seal(endpoint_id, webhooks.new_secret(), now)])
