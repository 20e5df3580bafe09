"""Relays as a person runs them: processes with output, signals and exit codes."""

import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

up_seconds_max = 90.0
gone_seconds_max = 5.0


@dataclass(frozen=True)
class Account:
    """Who runs a command; `uid` None: whoever runs the tests."""

    name: str
    uid: int | None = None
    gid: int | None = None


def ordinary_account() -> Account:
    """Somebody who is not root."""
    if os.geteuid() != 0:
        return Account(pwd.getpwuid(os.geteuid()).pw_name)
    nobody = pwd.getpwnam("nobody")
    return Account("nobody", nobody.pw_uid, nobody.pw_gid)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(home: Path, **changes: str) -> dict[str, str]:
    """A person's environment, with none of our settings in it but these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TOCSIN_", "PYTHON", "COV_"))}
    return {**kept, "HOME": str(home), "TOCSIN_HOME": str(home / "relay"), **changes}


def run(
    command: Sequence[str | Path], home: Path, account: Account | None = None, **changes: str
) -> subprocess.CompletedProcess[str]:
    """A command, run to its end."""
    account = account or Account("us")
    return subprocess.run(
        [str(word) for word in command],
        env=environment(home, **changes),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        user=account.uid,
        group=account.gid,
        extra_groups=[] if account.uid is not None else None,
        check=False,
    )


class Relay:
    """`tocsin up`, in a terminal's stead."""

    def __init__(
        self, command: Sequence[str | Path], home: Path, account: Account, cwd: Path | None = None, **changes: str
    ) -> None:
        self.home = home
        self.port = free_port()
        self._output = home / f"output-{self.port}"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                env=environment(home, TOCSIN_API_PORT=str(self.port), **changes),
                cwd=cwd or home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=account.uid,
                group=account.gid,
                extra_groups=[] if account.uid is not None else None,
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_for_line(self, text: str) -> None:
        """It has said this."""
        until(lambda: text in self.output, up_seconds_max, lambda: f"no {text!r} in:\n{self.output}", self._ended)

    def wait_until_up(self) -> "Relay":
        self.wait_for_line("Tocsin is up")
        self.wait_for_line("the worker listens")
        assert httpx.get(f"{self.url}/healthz").status_code == 200
        return self

    def family(self) -> list[psutil.Process]:
        """The process and all that came from it."""
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def interrupt(self) -> int:
        """What Ctrl-C does: SIGINT to everything in the terminal's foreground. Returns the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(30)

    def close(self) -> None:
        """Leave nothing behind, however the test went."""
        if self.process.poll() is None:
            family = self.family()
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            wait_until_gone(family)

    def _ended(self) -> bool:
        return self.process.poll() is not None


def wait_until_gone(family: Sequence[psutil.Process], seconds: float = gone_seconds_max) -> None:
    """None of these processes runs any more."""
    until(lambda: not alive(family), seconds, lambda: f"still there after {seconds:g} s: {alive(family)}")


def alive(family: Sequence[psutil.Process]) -> list[psutil.Process]:
    return [process for process in family if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(
    true: Callable[[], bool],
    seconds: float,
    complaint: Callable[[], str],
    hopeless: Callable[[], bool] = lambda: False,
) -> None:
    """Wait for something that other processes do; complain when it does not come, or cannot come any more."""
    ends_at = time.monotonic() + seconds
    while not true():
        assert not hopeless(), f"it ended; {complaint()}"
        assert time.monotonic() < ends_at, complaint()
        time.sleep(0.05)
