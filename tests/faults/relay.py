"""A relay in parts, each of which a test can kill, stop, start and starve by itself."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from sqlalchemy import text

from app.deliveries.service import Outgoing
from app.kit.wake import Silence
from app.local.ports import LOOPBACK, free_port
from app.local.postgres import Postgres
from app.local.processes import Farewell, Process
from app.local.valkey import Valkey
from app.local.watchdog import Watchdog
from app.services import Services, open_services
from app.settings import ApiSettings, DatabaseSettings, OutboundSettings, SecretSettings, Settings, ValkeySettings
from tests.acceptance.forks import become_api, become_worker, forks
from tests.packages import ROOT
from tests.sealed import SECRET_KEY
from tests.world import EPOCH
from tocsin.schemas.endpoints import NewEndpoint

__all__ = ["Part", "Relay", "clean_environment", "long", "until"]

timeout_seconds = 3.0
lease_seconds = 8.0
connections = 16
# Generous: a bound on how long to wait for something that comes within seconds on a machine with nothing else to do.
seconds_max = 90.0
# `make faults` takes its time; among all other tests, what takes long is shorter.
long = bool(os.environ.get("FAULTS_LONG"))
AGENT = "agt_publisher"

Entrance = Callable[[Mapping[str, str], Path], None]


@dataclass
class Part:
    """One process of the relay: a worker, or an API at its port."""

    name: str
    pid: int
    log: Path
    port: int | None
    _end: Callable[[float], int | None]
    _watchdog: Watchdog
    _buried: bool = False

    async def kill(self) -> None:
        """`kill -9`. It has ended when this returns."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def stop(self) -> int | None:
        """SIGTERM. Returns the exit code, once it has ended by itself."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    def signal(self, number: signal.Signals) -> None:
        # Once it has been buried, its number may be another's.
        if not self._buried:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def ended(self) -> int | None:
        return await asyncio.to_thread(self.bury, seconds_max)

    def bury(self, seconds: float = 10.0) -> int | None:
        """Its exit code; it is gone, and with it whatever it left behind."""
        code = self._end(seconds)
        if not self._buried:
            self._buried = True
            self._watchdog.forget(self.pid)
        return code

    async def ready(self) -> "Part":
        """It serves."""
        await until(self._is_ready, lambda: f"{self.name} is not ready:\n{self.log.read_text()}")
        return self

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    async def _is_ready(self) -> bool:
        if self.port is None:
            return "the worker listens" in self.log.read_text()
        try:
            async with httpx.AsyncClient() as http:
                return (await http.get(f"{self.url}/readyz", timeout=2)).status_code == 200
        except httpx.TransportError:
            return False


@dataclass
class Relay:
    """Postgres, Valkey, and as many workers and APIs as a case starts."""

    home: Path
    postgres: Postgres
    valkey: Valkey
    watchdog: Watchdog
    database_url: str
    parts: list[Part] = field(default_factory=list[Part])
    _connection: psycopg.Connection[tuple[Any, ...]] | None = None
    _asking: threading.Lock = field(default_factory=threading.Lock)

    def told(self, **changes: object) -> dict[str, str]:
        """What every process of this relay is told."""
        said = {
            "HOME": self.home / "relay",
            "DATABASE_URL": self.database_url,
            "VALKEY_URL": self.valkey.url,
            "SECRET_KEY": SECRET_KEY.text,
            "OUTBOUND_ALLOW": "127.0.0.1/32",
            "DELIVERY_CONNECTIONS": connections,
            "DELIVERY_TIMEOUT_SECONDS": timeout_seconds,
            "DELIVERY_LEASE_SECONDS": lease_seconds,
            **changes,
        }
        return {f"TOCSIN_{name}": str(value) for name, value in said.items()}

    def worker(self, entrance: Entrance = become_worker, **changes: object) -> Part:
        """Start a worker."""
        return self._forked("worker", entrance, None, changes)

    def api(self, port: int | None = None, **changes: object) -> Part:
        """Start an API."""
        port = port or free_port()
        return self._forked("api", become_api, port, {"API_PORT": port, **changes})

    def program(self, command: Sequence[str], environment: Mapping[str, str], **changes: object) -> Part:
        """Start a worker by a command of its own."""
        log = self._log("worker")
        with log.open("wb") as output:
            process = Process.start(
                command,
                farewell=Farewell(((signal.SIGTERM, seconds_max),), hurried=()),
                watchdog=self.watchdog,
                environment={**environment, **self.told(**changes)},
                output=output,
                directory=ROOT,
            )
        return self._added(Part(log.stem, process.pid, log, None, process.wait, self.watchdog))

    def _forked(self, kind: str, entrance: Entrance, port: int | None, changes: Mapping[str, object]) -> Part:
        log = self._log(kind)
        process = forks.Process(target=entrance, args=(self.told(**changes), log))
        process.start()
        assert process.pid is not None
        self.watchdog.watch(process.pid, signal.SIGTERM)

        def end(seconds: float) -> int | None:
            process.join(seconds)
            if process.exitcode is None:
                process.kill()
                process.join()
                return None
            return process.exitcode

        return self._added(Part(log.stem, process.pid, log, port, end, self.watchdog))

    def _log(self, kind: str) -> Path:
        log = self.home / f"{kind}-{len(self.parts)}.log"
        log.touch()
        return log

    def _added(self, part: Part) -> Part:
        self.parts.append(part)
        return part

    def close(self) -> None:
        """End every process and the connection, however the case went."""
        for part in self.parts:
            part.signal(signal.SIGKILL)
        for part in self.parts:
            part.bury()
        self._forget_connection()

    # --- what the database knows, as a stranger to our code reads it

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        """One at a time, over a connection that is kept: it is asked often, and a new one would cost more."""
        with self._asking:
            try:
                return self._connected().execute(question.encode()).fetchall()
            except psycopg.OperationalError:
                # Postgres has been away; whether it is there now is for the next connection to say.
                self._forget_connection()
                return self._connected().execute(question.encode()).fetchall()

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = psycopg.connect(self.database_url, connect_timeout=5, autocommit=True)
        return self._connection

    def _forget_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def count(self, condition: str) -> int:
        """How many deliveries are so."""
        rows = await asyncio.to_thread(self.ask, f"select count(*) from deliveries where {condition}")
        return rows[0][0]

    async def until_count(self, condition: str, least: int) -> None:
        """At least that many deliveries are so."""

        async def enough() -> bool:
            return await self.count(condition) >= least

        await until(enough, lambda: f"never {least} deliveries with {condition}: {self.states()}\n{self.logs()}")

    async def until_settled(self, but: Sequence[str] = ()) -> None:
        """Every delivery has concluded, but those to these endpoints."""
        others = " and ".join(["state = 'pending'", *(f"endpoint_id <> '{id}'" for id in but)])

        async def settled() -> bool:
            return await self.count(others) == 0

        await until(settled, lambda: f"never settled: {self.states()}\n{self.logs()}")

    def states(self) -> list[tuple[Any, ...]]:
        return self.ask(
            "select state, attempts, due_at - clock_timestamp(), last_status, last_error, count(*) "
            "from deliveries group by 1, 2, 3, 4, 5 order by 6 desc limit 20"
        )

    def logs(self) -> str:
        """The end of what each process said."""
        return "\n".join(f"--- {part.name}\n{part.log.read_text()[-1500:]}" for part in self.parts)

    # --- publishing from this process, in a transaction of one's own

    @asynccontextmanager
    async def services(self) -> AsyncIterator[Services]:
        settings = Settings(
            home=self.home / "relay",
            database=DatabaseSettings(url=self.database_url),
            valkey=ValkeySettings(url=self.valkey.url),
            secret=SecretSettings(key=SECRET_KEY),
            api=ApiSettings(),
            outbound=OutboundSettings(allow=("127.0.0.1/32",)),
        )
        async with open_services(settings, Silence(), name="publisher") as services:
            yield services

    async def endpoint(self, services: Services, url: str) -> str:
        """An endpoint at this URL that has answered its challenge: a worker has to run."""
        async with services.database.transaction() as db:
            now = await services.clock.now(db)
            known = "insert into agents (id, created_at) values (:id, :at) on conflict do nothing"
            await db.execute(text(known), {"id": AGENT, "at": EPOCH})
            created = await services.deliveries.endpoints.create(db, AGENT, NewEndpoint(url=url), now)
        await self.until_active(created.id)
        return created.id

    async def until_active(self, endpoint_id: str) -> None:
        async def active() -> bool:
            question = f"select state from endpoints where id = '{endpoint_id}'"
            return (await asyncio.to_thread(self.ask, question))[0][0] == "active"

        await until(active, lambda: f"{endpoint_id} is never active\n{self.logs()}")

    async def publish(self, services: Services, endpoint_id: str, count: int) -> set[str]:
        """Commit that many messages; returns their webhook-ids."""
        one = Outgoing("test.said", b'{"type":"test.said","data":{}}', [endpoint_id], AGENT)
        async with services.database.transaction() as db:
            sent = await services.deliveries.send(db, [one] * count, await services.clock.now(db))
        return {f"{endpoint_id}_{each.message_id}" for each in sent}


def clean_environment() -> Mapping[str, str]:
    """Ours, without what is meant for us."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TOCSIN_", "PYTHON", "COV_"))}


async def until(
    true: Callable[[], Awaitable[bool]], complaint: Callable[[], str], seconds: float = seconds_max
) -> None:
    """Wait for what other processes do; complain when it does not come."""
    try:
        async with asyncio.timeout(seconds):
            while not await true():
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {complaint()}") from None
