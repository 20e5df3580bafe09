"""A relay installed from its wheels, where every account can reach it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.relays import Account, Relay, ordinary_account, run
from tests.packages import ROOT, build_wheels

StartRelay = Callable[..., Relay]


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder outside the checkout, in which every account may look around."""
    with tempfile.TemporaryDirectory(prefix="tocsin-acceptance-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def python(place: Path) -> str:
    """An interpreter that an ordinary account can run."""
    ordinary = ordinary_account()
    names = [getattr(sys, "_base_executable", sys.executable)]
    names += [
        f"/usr/{local}bin/python{version}" for local in ("", "local/") for version in ("3", "3.11", "3.12", "3.13")
    ]
    probe = "import sys, sqlite3, ssl, venv; sys.exit(sys.version_info < (3, 11))"
    for name in names:
        if Path(name).exists() and _succeeds([name, "-c", probe], place, ordinary):
            return name
    pytest.skip(f"no Python >= 3.11 that the account {ordinary.name} can run, among {names}")


@pytest.fixture(scope="session")
def installed(place: Path, python: str) -> Path:
    """The programs' folder of an environment with our two wheels in it."""
    uv = Path(sys.executable).parent / "uv"
    folder = place / "environment"
    wheels = build_wheels(place / "wheels")
    # Compiled now: an ordinary account may write nothing here, so each of its processes would do it again.
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", folder / "bin" / "python"]
    for command in (
        [uv, "venv", "--quiet", "--python", python, folder],
        [*install, "--require-hashes", "-r", ROOT / "requirements" / "runtime.txt"],
        [*install, "--no-deps", *wheels],
    ):
        subprocess.run([str(word) for word in command], check=True, cwd=place)
    return folder / "bin"


@pytest.fixture
def tocsin(installed: Path) -> list[str | Path]:
    """The command, as installed."""
    return [installed / "tocsin"]


@pytest.fixture(params=["root", "ordinary"])
def account(request: pytest.FixtureRequest) -> Account:
    """Once as root, once as an ordinary account."""
    if request.param == "ordinary":
        return ordinary_account()
    if os.geteuid() != 0:
        pytest.skip("only root can start a relay as root")
    return Account("root")


@pytest.fixture
def home(place: Path) -> Iterator[Path]:
    """A home of one's own; whoever is to use it gets it with `give`."""
    folder = Path(tempfile.mkdtemp(dir=place))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def start(home: Path) -> Iterator[StartRelay]:
    """Starts relays in this home, and stops those that the test leaves running."""
    started: list[Relay] = []

    def begin(command: list[str | Path], account: Account, **more: object) -> Relay:
        give(home, account)
        started.append(Relay(command, home, account, **more))  # type: ignore[arg-type]
        return started[-1]

    yield begin
    for relay in started:
        relay.close()


def give(folder: Path, account: Account) -> None:
    """Make the folder this account's."""
    folder.chmod(0o755)
    if account.uid is not None:
        os.chown(folder, account.uid, account.gid or -1)


def _succeeds(command: list[str], home: Path, account: Account) -> bool:
    try:
        return run(command, home, account).returncode == 0
    except PermissionError:
        return False
