"""Clocks that step while everything runs: that of Postgres, and that of the workers.

Nobody who runs tests may set a machine's clock. With a C compiler at hand, a library is put before that of C, and every
look of these processes at the wall clock is misled. Without one, Postgres is told so by a function that its sessions
find before the real one, and the workers by a clock of ours.
"""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
from psycopg import sql

from app.local import migrations
from app.local.postgres import Postgres
from app.local.valkey import Valkey
from app.local.watchdog import Watchdog
from tests.faults.misled import become_misled
from tests.faults.relay import Part, Relay, clean_environment

__all__ = ["COMPILER", "Clocks", "preloaded", "told"]

COMPILER = shutil.which("cc")
SOURCE = Path(__file__).with_name("stepped_clock.c")

# Found before the real one by whoever asks for `clock_timestamp()`, as all of us do.
MISLEADING = """
    create schema misleading;
    create table misleading.step (seconds bigint not null);
    insert into misleading.step values (0);
    create function misleading.clock_timestamp() returns timestamptz language sql volatile as
        'select pg_catalog.clock_timestamp() + make_interval(secs => seconds) from misleading.step';
"""


class Clocks(Protocol):
    """Two clocks that can be set, in seconds off the right time, and a relay that goes by them."""

    relay: Relay

    def worker(self) -> Part:
        """Start a worker."""
        ...

    def set_workers(self, seconds: int) -> None: ...

    def set_postgres(self, seconds: int) -> None: ...


@dataclass
class Preloaded:
    """What the C library says, in Postgres and in the workers."""

    relay: Relay
    place: Path

    def worker(self) -> Part:
        return self.relay.program(
            [sys.executable, "-m", "workers.main"], {**clean_environment(), **_led(self.place, "workers")}
        )

    def set_workers(self, seconds: int) -> None:
        _set(self.place / "workers", seconds)

    def set_postgres(self, seconds: int) -> None:
        _set(self.place / "postgres", seconds)


@dataclass
class Told:
    """What Postgres' function says, and the workers' `Clock`."""

    relay: Relay
    file: Path

    def worker(self) -> Part:
        return self.relay.worker(partial(become_misled, clock=self.file))

    def set_workers(self, seconds: int) -> None:
        _set(self.file, seconds)

    def set_postgres(self, seconds: int) -> None:
        with psycopg.connect(self.relay.database_url) as db:
            db.execute("update misleading.step set seconds = %s", [seconds])


@contextmanager
def preloaded(home: Path, watchdog: Watchdog) -> Iterator[Clocks]:
    """A relay on a Postgres of its own."""
    with tempfile.TemporaryDirectory(prefix="tocsin-clocks-") as folder, pytest.MonkeyPatch.context() as environment:
        place = Path(folder)
        place.chmod(0o755)  # Postgres may run as another account
        assert COMPILER is not None
        library = [COMPILER, "-shared", "-fPIC", "-O2", "-o", str(place / "clock.so"), str(SOURCE), "-ldl"]
        subprocess.run(library, check=True)
        for name in ("workers", "postgres"):
            _set(place / name, 0)
        for name, value in _led(place, "postgres").items():
            environment.setenv(name, value)
        postgres = Postgres.start(home, watchdog=watchdog)
        environment.undo()
        migrations.migrate(postgres.url)
        relay = Relay(home, postgres, Valkey.start(home, watchdog=watchdog), watchdog, postgres.url)
        try:
            yield Preloaded(relay, place)
        finally:
            relay.close()
            relay.valkey.stop()
            postgres.stop()


def told(relay: Relay) -> Clocks:
    """A relay whose database misleads those who connect to it from now on."""
    with psycopg.connect(relay.database_url) as db:
        db.execute(MISLEADING)
        name = sql.Identifier(db.info.dbname)
        db.execute(sql.SQL("alter database {} set search_path = misleading, pg_catalog, public").format(name))
    file = relay.home / "clock"
    _set(file, 0)
    return Told(relay, file)


def _led(place: Path, name: str) -> dict[str, str]:
    return {"LD_PRELOAD": str(place / "clock.so"), "FAULTS_CLOCK": str(place / name)}


def _set(file: Path, seconds: int) -> None:
    """In one write, and into the same file: it is mapped by those whom it misleads."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(descriptor, struct.pack("<q", seconds), 0)
    finally:
        os.close(descriptor)
