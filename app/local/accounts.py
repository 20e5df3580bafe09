"""Which account Postgres runs as.

Postgres refuses to run as root. So root starts it as an ordinary account, and nothing on the way to its files is opened
up for that: what the account cannot reach is put where it can.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from app.local.errors import LocalError

shared_place = Path("/var/lib/tocsin")


@dataclass(frozen=True)
class Account:
    uid: int
    gid: int
    name: str


def foreign(place: Path) -> LocalError:
    """What to say of a folder that we may not use."""
    return LocalError(f"{place} belongs to another account; run as that account, or choose another TOCSIN_HOME")


def ordinary_account(place: Path) -> Account | None:
    """Who Postgres runs as when root starts it; None when we are not root and it runs as us."""
    if os.geteuid() != 0:
        return None
    if place.exists() and (owner := place.stat().st_uid) != 0:
        # Whoever owns the data already keeps it.
        return _account(pwd.getpwuid(owner))
    for name in ("postgres", "nobody"):
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    raise LocalError("Postgres does not run as root, and there is no account 'postgres' or 'nobody' to run it as")


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def can_reach(account: Account, path: Path) -> bool:
    """Whether this account may enter the folder."""
    test = subprocess.run(
        ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)],
        cwd="/",
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        check=False,
    )
    return test.returncode == 0


def own_place(wanted: Path, account: Account | None) -> Path:
    """A private folder of this account: the wanted one, or one that it can reach with a link from there."""
    if account is None:
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        return wanted.resolve()
    wanted.parent.mkdir(parents=True, exist_ok=True)
    # Our own folder may be passed through, not read; the folders above it are not ours to open.
    wanted.parent.chmod(wanted.parent.stat().st_mode | 0o111)
    place = wanted.resolve()
    if not place.exists() and not can_reach(account, place.parent):
        place = shared_place / hashlib.sha256(str(wanted.absolute()).encode()).hexdigest()[:16]
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        wanted.unlink(missing_ok=True)
        wanted.symlink_to(place)
    place.mkdir(mode=0o700, exist_ok=True)
    os.chown(place, account.uid, account.gid)
    return place


def reachable_copy(tree: Path, libraries: Path, version: str, account: Account | None) -> Path:
    """The tree itself, or a copy beside its libraries that the account can reach."""
    if account is None or can_reach(account, tree / "bin"):
        return tree
    place = shared_place / f"{tree.parent.name}-{version}"
    if not place.exists():
        shared_place.mkdir(mode=0o755, parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=shared_place))
        making.chmod(0o755)
        shutil.copytree(tree, making / tree.parent.name / tree.name, symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, making / libraries.name, symlinks=True)
        # Renamed when whole: a crash before this line leaves only a folder that nobody uses.
        making.rename(place)
    return place / tree.parent.name / tree.name
