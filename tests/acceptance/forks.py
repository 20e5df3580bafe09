"""Workers and APIs that are forked from a process which has read their code already. They share nothing with it but
that."""

import multiprocessing
import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["become", "become_api", "become_worker", "forks"]

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["workers.main", "app.cli", "app.main", "app.kit.http_server", "uvicorn"])


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


def become(told: Mapping[str, str], log: Path) -> None:
    """Turn this process into one that knows these settings only, writes to this file, and leads a session."""
    os.setsid()
    for name in [name for name in os.environ if name.startswith("TOCSIN_")]:
        del os.environ[name]
    os.environ.update(told)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
