"""The process tree: Postgres, Valkey, the API and a worker, up together and down together.

They start in that order and stop in the reverse. One that ends by itself is started again, ever more patiently; one
that keeps ending brings the tree down. Each runs in a session of its own, so that Ctrl-C reaches only us; should we be
killed, the watchdog stops them in our place.
"""

import os
import signal
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from app.kit.sealing import Keyring
from app.local import lock, running, secret_key
from app.local.errors import LocalError
from app.local.output import Output
from app.local.ports import require_free, require_free_metrics
from app.local.postgres import Postgres
from app.local.program import Program
from app.local.reach import is_answering, require_database, require_valkey
from app.local.running import Running
from app.local.valkey import Valkey
from app.local.watchdog import Watchdog
from app.settings import SecretSettings, WorkerSettings
from tocsin.auth import URL_DEFAULT

look_seconds = 0.1
ends_in_a_row_max = 5
settled_seconds = 30.0
pause_seconds_max = 8.0
patient_seconds = 1.0

_ENDS_AFTER = {
    "worker": "after the attempts in flight",
    "api": "after the requests in flight",
    "postgres": "after its last checkpoint",
}


@dataclass(frozen=True)
class Plan:
    """What to run, and where."""

    home: Path
    host: str
    port: int
    environment: Mapping[str, str] = field(repr=False)
    secret: SecretSettings = field(default_factory=SecretSettings)
    database_url: str | None = None
    valkey_url: str | None = None
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    chains: tuple[str, ...] = ()
    postgres_port: int | None = None
    valkey_port: int | None = None
    parent: int | None = None
    """Stop when this process is no longer our parent."""
    command: str = "tocsin"
    """How the person who reads our output types it."""

    @property
    def api_url(self) -> str:
        host = reachable(self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class Part(Protocol):
    """Something of the tree that runs."""

    def launch(self) -> None:
        """Run it. It is usable when this returns."""
        ...

    def exit_code(self) -> int | None:
        """None while it runs."""
        ...

    @property
    def stop_seconds_max(self) -> float:
        """How long it may take to stop."""
        ...

    def stop(self, *, hurried: bool = False) -> None:
        """It has stopped when this returns. May be called when it does not run. In a hurry, what it does is lost."""
        ...


@dataclass
class Member:
    """A part, and how it has fared."""

    name: str
    part: Part
    launched_at: float
    ends_in_a_row: int = 0
    again_at: float | None = None


@dataclass
class Tree:
    """One relay on this machine. `run` returns when it has stopped, and raises when it could not go on."""

    plan: Plan
    output: Output
    _members: list[Member] = field(default_factory=list[Member], init=False)
    _database_url: str | None = field(default=None, init=False, repr=False)
    _asked_to_stop: threading.Event = field(default_factory=threading.Event, init=False)

    def run(self) -> None:
        with lock.held(self.plan.home) as held:
            self._check()
            watchdog = Watchdog(keep_open=[held])
            self._listen_for_signals()
            try:
                self._start(watchdog)
                self._look_after(watchdog)
            finally:
                self._stop()
                running.forget(self.plan.home)
                watchdog.close()

    def _check(self) -> None:
        """Refuse now what would only fail later, before anything has been started."""
        plan = self.plan
        require_free(plan.host, plan.port, "choose another with --port or TOCSIN_API_PORT")
        require_free_metrics(plan.worker)
        if plan.database_url is not None:
            require_database(plan.database_url)
        elif plan.postgres_port is not None:
            require_free("127.0.0.1", plan.postgres_port, "choose another with --postgres-port")
        if plan.valkey_url is not None:
            require_valkey(plan.valkey_url)
        elif plan.valkey_port is not None:
            require_free("127.0.0.1", plan.valkey_port, "choose another with --valkey-port")

    def _start(self, watchdog: Watchdog) -> None:
        plan = self.plan
        database_url = self._database_url = plan.database_url or self._start_postgres(watchdog)
        if self._asked():
            return
        valkey_url = plan.valkey_url or self._start_valkey(watchdog)
        record = Running(database_url, valkey_url, plan.api_url)
        record.write(plan.home)
        keyring, key = self._keyring()
        environment = {
            **plan.environment,
            "TOCSIN_DATABASE_URL": database_url,
            "TOCSIN_VALKEY_URL": valkey_url,
            "TOCSIN_SECRET_KEY": key,
        }
        self._migrate(database_url, keyring)
        for name, health in (("api", (reachable(plan.host), plan.port)), ("worker", None)):
            if self._asked():
                return
            program = Program(name, ("app.cli", name), environment, self.output, watchdog, health)
            self._add(name, program)
            program.launch()
            self.output.say(name, f"runs as process {program.pid}")
        if not self._asked():
            self._welcome()

    def _start_postgres(self, watchdog: Watchdog) -> str:
        self.output.say("postgres", f"starts, with its data in {self.plan.home / 'postgres'}")
        server = Postgres.start(self.plan.home, self.plan.postgres_port, watchdog=watchdog)
        self._add("postgres", server)
        self.output.say("postgres", f"PostgreSQL {server.major} takes connections on 127.0.0.1:{server.port}")
        return server.url

    def _start_valkey(self, watchdog: Watchdog) -> str:
        server = Valkey.start(self.plan.home, self.plan.valkey_port, watchdog=watchdog)
        self._add("valkey", server)
        self.output.say("valkey", f"takes connections on 127.0.0.1:{server.port}")
        return server.url

    def _keyring(self) -> tuple[Keyring, str]:
        """The keys that seal, and the current one as the parts of the tree are given it."""
        key, made = self.plan.secret.key, False
        if key is None:
            key, made = secret_key.kept_or_made(self.plan.home)
        if made:
            self.output.say("tocsin", f"made a secret key, {key.id}, in {secret_key.place(self.plan.home)}: back it up")
        return Keyring(key, self.plan.secret.keys_before), key.text

    def _migrate(self, database_url: str, keyring: Keyring) -> None:
        # Alembic is slow to import; a refused port should be told before.
        from app.local import migrations, sealed

        before = migrations.migrate(database_url)
        if before.up_to_date:
            self.output.say("tocsin", f"the database is at version {before.newest}")
        else:
            self.output.say(
                "tocsin", f"brought the database from {before.found or 'nothing'} to version {before.newest}"
            )
        if count := sealed.prepare(database_url, keyring):
            self.output.say("tocsin", f"sealed {count} secrets that an older release had stored as they are")

    def _add(self, name: str, part: Part) -> None:
        self._members.append(Member(name, part, time.monotonic()))

    def _welcome(self) -> None:
        api = self.plan.api_url
        rows = [
            ("API", api),
            ("Docs", f"{api}/llms.txt  {api}/openapi.json"),
            ("Data", str(self.plan.home.absolute())),
            ("Outbound", f"may reach {self._private_networks()}the public internet"),
            ("Chains", ", ".join(self.plan.chains) or "none; TOCSIN_CHAINS names those to watch"),
        ]
        if api != URL_DEFAULT:
            rows.append(("First", f"in another terminal: export TOCSIN_URL={api}"))
        rows.append(("Next", f"in another terminal: {self.plan.command} listen --every PT2S"))
        self.output.box("Tocsin is up", rows, "Ctrl-C stops everything; the data stay.")

    def _private_networks(self) -> str:
        allow = self.plan.environment.get("TOCSIN_OUTBOUND_ALLOW")
        return f"{allow} and " if allow else ""

    # --- while it runs ---

    def _look_after(self, watchdog: Watchdog) -> None:
        while not self._asked():
            if watchdog.revive():
                self.output.say("tocsin", "the watchdog had ended; another watches")
            for member in self._members:
                self._look_at(member, time.monotonic())
            self._asked_to_stop.wait(look_seconds)

    def _look_at(self, member: Member, now: float) -> None:
        if member.again_at is not None:
            if now >= member.again_at:
                self._launch_again(member)
            return
        if (code := member.part.exit_code()) is not None:
            self._judge_end(member, how_it_ended(code), now)
        elif now - member.launched_at > settled_seconds:
            member.ends_in_a_row = 0

    def _launch_again(self, member: Member) -> None:
        member.again_at = None
        member.launched_at = time.monotonic()
        try:
            member.part.launch()
        except LocalError as error:
            member.part.stop()
            self._judge_end(member, str(error), time.monotonic())
        else:
            self.output.say(member.name, "runs again")

    def _judge_end(self, member: Member, how: str, now: float) -> None:
        member.ends_in_a_row += 1
        if member.ends_in_a_row >= ends_in_a_row_max:
            raise LocalError(f"the {member.name} ended {ends_in_a_row_max} times in a row; the last time: {how}")
        pause = pause_seconds(member.ends_in_a_row)
        member.again_at = now + pause
        self.output.say(member.name, f"ended by itself: {how}; starting again in {pause:g} s")

    # --- the end ---

    def _stop(self) -> None:
        hurried = False
        for member in reversed(self._members):
            # Asked each time while it answers: should it go away meanwhile, the rest need not wait for it, too.
            hurried = hurried or (self._database_url is not None and not is_answering(self._database_url))
            with self._told_of_wait(member, hurried=hurried):
                member.part.stop(hurried=hurried)
            self.output.say(member.name, "has stopped")

    @contextmanager
    def _told_of_wait(self, member: Member, *, hurried: bool) -> Generator[None]:
        """Say what is waited for, should it take long."""
        line = waits_for(member.name, member.part.stop_seconds_max, hurried=hurried)
        telling = threading.Timer(patient_seconds, self.output.say, (member.name, line))
        telling.daemon = True
        telling.start()
        try:
            yield
        finally:
            telling.cancel()

    def _asked(self) -> bool:
        orphaned = self.plan.parent is not None and os.getppid() != self.plan.parent
        return orphaned or self._asked_to_stop.is_set()

    def _listen_for_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._hear)

    def _hear(self, number: int, frame: object) -> None:
        if self._asked_to_stop.is_set():
            # Asked twice: leave now; the watchdog stops what still runs.
            os._exit(128 + number)
        self._asked_to_stop.set()
        threading.Thread(
            target=self.output.say, args=("tocsin", "stopping; once more to end all at once"), daemon=True
        ).start()


def waits_for(name: str, seconds_max: float, *, hurried: bool) -> str:
    """What the end of a part waits for."""
    if not hurried:
        return f"ends {_ENDS_AFTER.get(name, 'soon')}, within {seconds_max:g} s; Ctrl-C ends all at once"
    if name == "postgres":
        return "does not answer, and is ended; it recovers at its next start"
    return "is not waited for: the database does not answer, so what is in flight is done again later"


def pause_seconds(ends_in_a_row: int) -> float:
    """How long to wait before the next try."""
    return min(pause_seconds_max, 0.5 * 2 ** (ends_in_a_row - 1))


def how_it_ended(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def reachable(host: str) -> str:
    """Where something that listens on this address is reached from here."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
