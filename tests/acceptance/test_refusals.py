"""What a person has to change is told in one line, with exit code 1."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.local.postgres import Postgres
from tests.acceptance.conftest import StartRelay, give
from tests.acceptance.forks import typed
from tests.acceptance.relays import Account, environment, ordinary_account, run
from tests.packages import ROOT
from tests.sealed import SECRET_KEY

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]

COMMAND = [sys.executable, "-m", "app.cli"]


def test_a_port_in_use(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused(["up", "--port", str(port)], home)
    assert f"port {port} is in use" in told
    assert "--port" in told


def test_a_port_in_use_for_the_metrics_of_a_worker(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused(["up"], home, TOCSIN_WORKER_METRICS_PORT=str(port))
    assert f"port {port} is in use; choose another with TOCSIN_WORKER_METRICS_PORT" in told


@pytest.mark.parametrize("option", ["--postgres-port", "--valkey-port"])
def test_a_port_in_use_for_a_local_server(home: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = refused(["up", option, str(taken.getsockname()[1])], home, TOCSIN_API_PORT="0")
    assert option in told


def test_a_home_in_use(home: Path, start: StartRelay) -> None:
    relay = start([*COMMAND, "up"], Account("us"))
    relay.wait_for_line("starts, with its data in")
    told = refused(["up"], home)
    assert f"is in use by another `tocsin up`, process {relay.process.pid}" in told


def test_a_data_directory_in_use(home: Path) -> None:
    server = Postgres.start(home / "relay", durable=False)
    told = refused(["up"], home)
    server.stop()
    assert f"is in use by Postgres, process {server.pid}" in told


def test_a_data_directory_of_another_version(home: Path) -> None:
    server = Postgres.start(home / "relay", durable=False)
    server.stop()
    (server.data / "PG_VERSION").write_text("17\n")
    told = refused(["up"], home)
    assert "was made by PostgreSQL 17 and this is 18" in told


def test_a_home_of_somebody_else(home: Path, tocsin: list[str | Path]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a folder somebody else's")
    give(home, ordinary_account())
    (home / "relay" / "postgres").mkdir(parents=True)
    (home / "relay" / "postgres").chmod(0o700)
    told = refused([*map(str, tocsin), "up"], home, ordinary_account())
    assert "TOCSIN_HOME" in told


@pytest.mark.parametrize("command", ["up", "api", "worker", "migrate"])
def test_an_unreachable_database(home: Path, command: str) -> None:
    url = "postgresql://somebody:secret@127.0.0.1:1/relay"
    told = refused([command], home, TOCSIN_DATABASE_URL=url)
    assert "cannot reach the database at 127.0.0.1:1/relay (TOCSIN_DATABASE_URL): Connection refused" in told
    assert "secret" not in told


def test_an_unreachable_valkey(home: Path) -> None:
    told = refused(["up"], home, TOCSIN_VALKEY_URL="redis://127.0.0.1:1")
    assert "cannot reach Valkey at 127.0.0.1:1 (TOCSIN_VALKEY_URL): Connection refused" in told


@pytest.mark.parametrize("command", ["api", "worker", "migrate"])
def test_no_database_at_all(home: Path, command: str) -> None:
    assert "TOCSIN_DATABASE_URL is not set" in refused([command], home)


def test_a_setting_that_makes_no_sense(home: Path) -> None:
    assert "TOCSIN_API_PORT: " in refused(["up"], home, TOCSIN_API_PORT="eighty")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("TOCSIN_RETENTON_DAYS", "TOCSIN_RETENTON_DAYS is no setting; is TOCSIN_RETENTION_DAYS meant?"),
        ("TOCSIN_RETENTION_DAYZ", "TOCSIN_RETENTION_DAYZ is no setting; is TOCSIN_RETENTION_DAYS meant?"),
        ("TOCSIN_RETENTION_FOREVER", "TOCSIN_RETENTION_FOREVER is no setting; docs/settings.md lists them"),
    ],
)
def test_a_setting_that_does_not_exist(home: Path, written: str, said: str) -> None:
    assert said in refused(["doctor"], home, None, **{written: "3"})


@pytest.mark.parametrize(
    ("chains", "said"),
    [
        ("http://127.0.0.1:8545", "TOCSIN_CHAINS is no JSON (Expecting value: line 1 column 1 (char 0))"),
        ('{"base": "http://127.0.0.1:8545"}', "TOCSIN_CHAINS: base: a chain is eip155: and its number"),
        (
            '{"eip155:1": {"rpc_url": "https://a.example", "poll": 3}}',
            "TOCSIN_CHAINS: eip155:1/poll is no setting; docs/operating/chains.md",
        ),
    ],
)
def test_chains_that_cannot_be_read(home: Path, chains: str, said: str) -> None:
    assert said in refused(["doctor"], home, TOCSIN_CHAINS=chains)


def test_a_doctor_who_finds_something_wrong(home: Path) -> None:
    found = typed(["doctor"], home, environment(home, TOCSIN_DATABASE_URL="postgresql://127.0.0.1:1/relay"))
    assert found.returncode == 1
    assert "wrong  Postgres" in found.stdout
    assert "ok     Valkey" in found.stdout


def test_a_doctor_whose_servers_are_all_away_says_so_of_each_check(home: Path) -> None:
    found = run(
        [*COMMAND, "doctor"],
        home,
        TOCSIN_DATABASE_URL="postgresql://u:secret@127.0.0.1:1/db",
        TOCSIN_VALKEY_URL="redis://127.0.0.1:1",
        TOCSIN_SECRET_KEY=SECRET_KEY.text,
    )
    assert found.returncode == 1
    assert found.stderr == ""
    assert all(f"wrong  {check} " in found.stdout for check in ("Postgres", "migrations", "secrets", "Valkey"))
    assert found.stdout.count("cannot reach the database at 127.0.0.1:1/db") == 3
    assert "secret@" not in found.stdout


def test_a_doctor_who_is_given_a_port_that_is_none(home: Path) -> None:
    found = typed(["doctor"], home, environment(home, TOCSIN_VALKEY_URL="redis://:a/secret@127.0.0.1:6379"))
    assert found.returncode == 1
    assert "TOCSIN_VALKEY_URL has no number for a port" in " ".join(found.stdout.split())
    assert "secret@" not in found.stdout + found.stderr


def test_a_doctor_who_finds_nobody_to_ask_about_a_chain(home: Path) -> None:
    found = run([*COMMAND, "doctor"], home, TOCSIN_CHAINS='{"eip155:1": "http://127.0.0.1:1/a-key"}')
    assert found.returncode == 1
    assert "wrong  eip155:1" in found.stdout
    assert "127.0.0.1: " in found.stdout
    assert "a-key" not in found.stdout


def test_make_with_an_old_python(home: Path) -> None:
    old = home / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    made = subprocess.run(
        ["make", "-f", "Makefile", f"VENV={home}/venv", f"PYTHON={old}", f"{home}/venv/.bootstrap"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode != 0
    assert "Tocsin needs Python 3.11 or newer" in made.stderr


def refused(command: list[str], home: Path, account: Account | None = None, **changes: str) -> str:
    """The one line of refusal."""
    # Any free port, unless it is the port that is refused: a relay may run on this machine already.
    settings = {"TOCSIN_API_PORT": "0", **changes}
    ended = run(command, home, account, **settings) if account else typed(command, home, environment(home, **settings))
    assert ended.returncode == 1, ended.stdout + ended.stderr
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("tocsin: ")
    return lines[0]
