"""A part of the relay run as a process: the API, or a worker."""

import http.client
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.local.errors import LocalError
from app.local.output import Output
from app.local.processes import Deadline, Farewell, Process
from app.local.watchdog import Watchdog

start_seconds_max = 30.0
# Long enough for what is in flight to land: an attempt is bounded, too.
farewell = Farewell(((signal.SIGTERM, 20.0),), hurried=((signal.SIGTERM, 2.0),))


@dataclass
class Program:
    """`python -m <module>` with an environment of its own. Its output appears under its name."""

    name: str
    module: tuple[str, ...]
    environment: Mapping[str, str]
    output: Output
    watchdog: Watchdog
    health: tuple[str, int] | None = None
    """Where it answers `GET /healthz` once it serves; None for a program that serves nobody."""
    _process: Process | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def launch(self) -> None:
        """Run it. It serves when this returns."""
        self._process = Process.start(
            [sys.executable, "-m", *self.module],
            farewell=farewell,
            watchdog=self.watchdog,
            environment=self.environment,
            output=subprocess.PIPE,
        )
        assert self._process.child.stdout is not None
        reader = self.output.follow(self.name, self._process.child.stdout)
        if self.health is not None:
            self._wait_until_healthy(self._process, reader, *self.health)

    def exit_code(self) -> int | None:
        return self._process.exit_code() if self._process is not None else None

    @property
    def stop_seconds_max(self) -> float:
        return farewell.seconds_max

    def stop(self, *, hurried: bool = False) -> None:
        if self._process is not None:
            self._process.stop(hurried=hurried)

    def _wait_until_healthy(self, process: Process, reader: threading.Thread, host: str, port: int) -> None:
        deadline = Deadline(start_seconds_max)
        while not healthy(host, port):
            if (code := process.exit_code()) is not None:
                reader.join(1)
                raise LocalError(f"the {self.name} did not start (exit code {code}); its last lines are above")
            deadline.pause(f"the start of the {self.name}")


def healthy(host: str, port: int) -> bool:
    """Whether an API answers there."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
