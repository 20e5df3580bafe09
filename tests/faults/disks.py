"""A disk that can be filled: some megabytes of memory, mounted where only one Postgres sees it.

Whoever may make a user namespace may mount in it, root or not. Postgres starts inside, and the relay's tables are put
there as a tablespace. Its journal stays outside: where that has no room left, Postgres ends, and is away until it is
started again.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from app.local import migrations
from app.local.accounts import ordinary_account
from app.local.postgres import Postgres
from app.local.watchdog import Watchdog

__all__ = ["SmallDisk", "small_disk", "why_not"]

disk_megabytes = 64

# Inside, one is root, and may mount; inside once more, one is oneself again, which Postgres insists on.
CONFINED = """#!/bin/sh
exec unshare --user --map-root-user --mount sh -c '
    mount -t tmpfs -o size={megabytes}m,mode=0700 tmpfs {disk} &&
        exec unshare --user --map-user={uid} --map-group={gid} "$@"
' sh {program} "$@"
"""


@dataclass(frozen=True)
class SmallDisk:
    """A relay's database on a disk that is soon full."""

    postgres: Postgres
    database_url: str
    ballast: Path

    def fill(self) -> None:
        """Leave no room at all."""
        # Postgres writes until it is refused, and what it has written stays.
        rows = disk_megabytes * 200
        with suppress(psycopg.errors.DiskFull):
            self._copy(f"select repeat('x', 8000) from generate_series(1, {rows})")
            raise AssertionError("the disk is larger than it should be")

    def make_room(self) -> None:
        self._copy("select 'x'")

    def _copy(self, question: str) -> None:
        with psycopg.connect(self.postgres.url, autocommit=True) as db:
            db.execute(sql.SQL("copy ({}) to {}").format(sql.SQL(question), sql.Literal(str(self.ballast))))  # pyright: ignore[reportArgumentType]


class Confined(Postgres):
    """A Postgres that is the only one to see the disk that is mounted here."""

    def confine(self, place: Path) -> None:
        program = self._programs / "postgres"
        uid, gid = _identity(self.home)
        self._programs = place
        wrapper = place / "postgres"
        wrapper.write_text(
            CONFINED.format(
                megabytes=disk_megabytes,
                disk=shlex.quote(str(place / "disk")),
                uid=uid,
                gid=gid,
                program=shlex.quote(str(program)),
            )
        )
        wrapper.chmod(0o755)


@contextmanager
def small_disk(home: Path, watchdog: Watchdog) -> Iterator[SmallDisk]:
    """A Postgres with such a disk, and an empty database of the relay on it."""
    with tempfile.TemporaryDirectory(prefix="tocsin-disk-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        place.chmod(0o755)
        disk = place / "disk"
        disk.mkdir(mode=0o755)
        # Its cluster is made by the programs themselves; only the server needs the disk.
        Confined.start(home, watchdog=watchdog).stop()
        postgres = Confined(home, None, durable=True, watchdog=watchdog)
        postgres.confine(place)
        postgres.launch()
        try:
            with psycopg.connect(postgres.url, autocommit=True) as db:
                db.execute(sql.SQL("create tablespace small location {}").format(sql.Literal(str(disk))))
                db.execute("create database relay tablespace small")
            url = postgres.url_of("relay")
            migrations.migrate(url)
            yield SmallDisk(postgres, url, disk / "ballast")
        finally:
            postgres.stop()


def why_not(home: Path) -> str | None:
    """Why no such disk can be mounted here; None where it can."""
    if shutil.which("unshare") is None:
        return "there is no `unshare`"
    uid, gid = _identity(home)
    nested = f"mount -t tmpfs tmpfs /tmp && exec unshare --user --map-user={uid} --map-group={gid} true"
    tried = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", nested],
        user=uid,
        group=gid,
        extra_groups=[] if os.geteuid() == 0 else None,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    return tried.stderr.strip() if tried.returncode else None


def _identity(home: Path) -> tuple[int, int]:
    """Who Postgres runs as."""
    account = ordinary_account(home)
    return (account.uid, account.gid) if account is not None else (os.geteuid(), os.getegid())
