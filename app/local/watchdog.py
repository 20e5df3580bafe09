"""Ends what its parent started when the parent can no longer do so itself.

The parent holds the only writing end of a pipe and names its children on it. When the parent dies, even by `kill -9`,
the pipe closes; the watchdog then stops the children, last one first, and ends. It needs nothing of the operating
system beyond pipes and signals, so it works wherever the relay does.

    watch 4711 15\\n     ask process 4711 to stop with signal 15
    forget 4711\\n       it has stopped
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import IO

patience_seconds = 2.5
poll_seconds = 0.05


class Watchdog:
    """The parent's end of the pipe."""

    def __init__(self, keep_open: Sequence[int] = ()) -> None:
        """`keep_open`: descriptors, such as a held lock, that outlive the parent until its children have stopped."""
        self._keep_open = keep_open
        self._watched: dict[int, signal.Signals] = {}
        self._process = self._launch()

    @property
    def pid(self) -> int:
        return self._process.pid

    def watch(self, pid: int, number: signal.Signals) -> None:
        """From now on this process is stopped, beginning with this signal, when we die."""
        self._watched[pid] = number
        self._say(f"watch {pid} {number.value}")

    def forget(self, pid: int) -> None:
        """It has stopped; its number may become another's."""
        self._watched.pop(pid, None)
        self._say(f"forget {pid}")

    def revive(self) -> bool:
        """Start it again, should it have been killed. Says whether that was so."""
        if self._process.poll() is None:
            return False
        self._process = self._launch()
        for pid, number in self._watched.items():
            self._say(f"watch {pid} {number.value}")
        return True

    def close(self) -> None:
        """End the watchdog, and with it whatever it still watches."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _launch(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            # A file, not a module: it imports nothing of the relay, so it is there in a few milliseconds.
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            # Whoever reads the parent's output until it ends must not wait for us.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=self._keep_open,
            start_new_session=True,
            cwd="/",
        )

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        # A pipe that is broken leads to a watchdog that was killed; its successor is told everything.
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()


def keep_watch(lines: Iterable[bytes]) -> dict[int, int]:
    """Which processes are still to be stopped, and by which signal, once the parent has gone."""
    watched: dict[int, int] = {}
    for line in lines:
        match line.split():
            case [b"watch", pid, number]:
                watched[int(pid)] = int(number)
            case [b"forget", pid]:
                watched.pop(int(pid), None)
            case _:
                break  # the parent died in the middle of a line
    return watched


def stop_all(watched: dict[int, int]) -> None:
    """Ask each to stop, last started first, and end those that do not within the patience that they share."""
    for pid, number in reversed(watched.items()):
        _send(pid, number)
    ends_at = time.monotonic() + patience_seconds
    while any(_runs(pid) for pid in watched) and time.monotonic() < ends_at:
        time.sleep(poll_seconds)
    for pid in watched:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main(pipe: IO[bytes]) -> None:
    stop_all(keep_watch(pipe))


if __name__ == "__main__":
    main(sys.stdin.buffer)
