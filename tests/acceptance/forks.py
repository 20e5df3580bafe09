"""Workers, APIs and commands that are forked from a process which has read their code already. They share nothing with
it but that."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["become", "become_api", "become_worker", "forks", "typed"]

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["workers.main", "app.cli", "app.main", "app.kit.http_server", "uvicorn", "tocsin.cli"])

type_seconds_max = 60.0


def typed(words: Sequence[str], home: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`tocsin` with these words, run to its end in a process that has read its code already."""
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder) / name for name in ("stdout", "stderr")]
        process = forks.Process(target=_become_command, args=(list(words), home, dict(environment), said))
        process.start()
        process.join(type_seconds_max)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["tocsin", *words], type_seconds_max)
        return subprocess.CompletedProcess(words, process.exitcode, *(file.read_text() for file in said))


def become_worker(told: Mapping[str, str], log: Path) -> None:
    """What `tocsin worker` does, in this process: told by these settings only, and writing to this file."""
    become(told, log)
    # Not before: nothing of the worker is to run in a process that is none.
    from workers.main import main

    main()


def become_api(told: Mapping[str, str], log: Path) -> None:
    """What `tocsin api` does, as above."""
    become(told, log)
    from app.cli import api

    api()


def _become_command(words: Sequence[str], home: Path, environment: Mapping[str, str], said: Sequence[Path]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(home)
    sys.argv = ["tocsin", *words]
    for number, file in enumerate(said, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    from tocsin.cli import main

    main()


def become(told: Mapping[str, str], log: Path) -> None:
    """Turn this process into one that knows these settings only, writes to this file, and leads a session."""
    os.setsid()
    for name in [name for name in os.environ if name.startswith("TOCSIN_")]:
        del os.environ[name]
    os.environ.update(told)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
