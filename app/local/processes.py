"""Starting and stopping the processes of the tree."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from app.local.accounts import Account
from app.local.errors import LocalError
from app.local.watchdog import Watchdog

poll_seconds = 0.02
log_bytes_max = 8 * 1024 * 1024


@dataclass(frozen=True)
class Farewell:
    """How a process is asked to stop: one signal after another, each with its patience."""

    signals: tuple[tuple[signal.Signals, float], ...]
    hurried: tuple[tuple[signal.Signals, float], ...]
    """The same where what it waits for will not come."""

    @property
    def seconds_max(self) -> float:
        """How long it may take in all."""
        return sum(patience_seconds for _, patience_seconds in self.signals)


class Process:
    """A child in a session of its own, so that Ctrl-C reaches it through us and in our order."""

    def __init__(self, child: subprocess.Popen[bytes], farewell: Farewell, watchdog: Watchdog | None) -> None:
        self.child = child
        self._farewell = farewell
        self._watchdog = watchdog
        self._buried = False

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        *,
        farewell: Farewell,
        watchdog: Watchdog | None = None,
        account: Account | None = None,
        environment: Mapping[str, str] | None = None,
        output: IO[bytes] | int | None = None,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        directory: Path | None = None,
    ) -> Self:
        child = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=directory,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        if watchdog is not None:
            watchdog.watch(child.pid, farewell.signals[0][0])
        return cls(child, farewell, watchdog)

    @property
    def pid(self) -> int:
        return self.child.pid

    def tell(self, text: bytes) -> None:
        """Write all of its standard input, and close it."""
        assert self.child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.write(text)
            self.child.stdin.close()

    def exit_code(self) -> int | None:
        """None while it runs. What it leaves behind in its session ends with it."""
        code = self.child.poll()
        if code is not None:
            self._bury()
        return code

    def wait(self, seconds: float) -> int | None:
        """Its exit code, once it has ended by itself; None when it was ended for taking too long."""
        try:
            code = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None
        self._bury()
        return code

    def stop(self, *, hurried: bool = False) -> None:
        """Ask it to stop, ever more firmly. It has stopped when this returns."""
        for number, patience_seconds in self._farewell.hurried if hurried else self._farewell.signals:
            if self.exit_code() is not None:
                return
            self.child.send_signal(number)
            # One that was halted hears nothing else before.
            self.child.send_signal(signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(patience_seconds)
        self.kill()

    def kill(self) -> None:
        """End it and its children at once."""
        _kill_session(self.child.pid)
        self.child.wait()
        self._bury()

    def _bury(self) -> None:
        if self._buried:
            return
        self._buried = True
        _kill_session(self.child.pid)
        if self._watchdog is not None:
            self._watchdog.forget(self.child.pid)


def _kill_session(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def open_log(path: Path) -> IO[bytes]:
    """A log to append to, begun anew once it has grown too long."""
    grown = path.exists() and path.stat().st_size > log_bytes_max
    return path.open("wb" if grown else "ab")


def last_words(path: Path, lines_max: int = 3) -> str:
    """What a server said last, on one line."""
    if not path.exists():
        return "it said nothing"
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - 4096))
        lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-lines_max:]) or "it said nothing"


class Deadline:
    """A bounded wait for something that another process does."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds

    def passed(self) -> bool:
        return time.monotonic() >= self._ends_at

    def pause(self, what: str) -> None:
        """Let a moment pass; refuse when none is left."""
        if self.passed():
            raise LocalError(f"{what} did not happen in time")
        time.sleep(poll_seconds)
