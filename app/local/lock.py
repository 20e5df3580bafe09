"""One relay a home: a lock on a file, held as long as anything of that relay runs."""

import contextlib
import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from app.local.errors import LocalError
from app.local.processes import Deadline

# A killed relay's watchdog holds the lock for as long as it takes to stop what was left.
stopping_seconds_max = 10.0


@contextmanager
def held(home: Path) -> Generator[int]:
    """Hold the home's lock. Yields its descriptor, for a watchdog to hold it on after our death."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LocalError(f"cannot keep data in {home}: {error.strerror}; choose another TOCSIN_HOME") from error
    try:
        _take(descriptor, home)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def holder_runs(home: Path) -> bool:
    """Whether the process that took this home's lock last is still there."""
    try:
        return _runs(int((home / "lock").read_text()))
    except (OSError, ValueError):
        return False


def _take(descriptor: int, home: Path) -> None:
    deadline = Deadline(stopping_seconds_max)
    while not _taken(descriptor):
        holder = os.pread(descriptor, 32, 0).decode()
        if not holder or _runs(int(holder)) or deadline.passed():
            raise LocalError(f"{home} is in use by another `tocsin up`, process {holder}; choose another TOCSIN_HOME")
        deadline.pause("the end of the relay that ran here before")


def _taken(descriptor: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
