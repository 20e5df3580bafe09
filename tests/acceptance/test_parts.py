"""The parts of a relay, run separately over servers of one's own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.local.postgres import Postgres
from app.local.valkey import Valkey
from tests.acceptance.conftest import StartRelay
from tests.acceptance.relays import Account, run, wait_until_gone
from tests.sealed import SECRET_KEY

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]

COMMAND: list[str | Path] = [Path(sys.executable).parent / "tocsin"]
US = Account("us")


@pytest.fixture
def servers(home: Path) -> Iterator[dict[str, str]]:
    """Postgres and Valkey, as the environment names them."""
    postgres, valkey = Postgres.start(home / "servers", durable=False), Valkey.start(home / "servers")
    yield {"TOCSIN_DATABASE_URL": postgres.url, "TOCSIN_VALKEY_URL": valkey.url, "TOCSIN_SECRET_KEY": SECRET_KEY.text}
    valkey.stop()
    postgres.stop()


def test_migrate_brings_a_database_to_the_newest_version_once(home: Path, servers: dict[str, str]) -> None:
    first, second = (run([*COMMAND, "migrate"], home, US, **servers) for _ in range(2))
    assert "Brought the database from nothing to version" in first.stdout
    assert "already" in second.stdout
    assert first.returncode == second.returncode == 0


def test_api_and_worker_run_apart(home: Path, servers: dict[str, str], start: StartRelay) -> None:
    run([*COMMAND, "migrate"], home, US, **servers)
    worker = start([*COMMAND, "worker"], US, **servers)
    api = start([*COMMAND, "api"], US, **servers)

    worker.wait_for_line("the worker listens")
    api.wait_until_answering()
    doctor = run([*COMMAND, "doctor"], home, US, **servers, TOCSIN_API_PORT=str(api.port))

    assert doctor.returncode == 0, doctor.stdout
    assert httpx.get(f"{api.url}/readyz").status_code == 200
    worker.process.terminate()
    assert worker.process.wait(20) == 0


def test_up_starts_no_servers_where_the_environment_names_them(
    home: Path, servers: dict[str, str], start: StartRelay
) -> None:
    relay = start([*COMMAND, "up"], US, **servers).wait_until_up()
    family = relay.family()

    assert not any("postgres" in process.name() or "valkey" in process.name() for process in family)
    assert relay.interrupt() == 0
    wait_until_gone(family)
