"""The embedded servers, through their restarts and crashes."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from redis import Redis

from app.local.postgres import Postgres
from app.local.valkey import Valkey
from tests.acceptance.relays import until, wait_until_gone

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]


@pytest.fixture
def server(home: Path) -> Iterator[Postgres]:
    started = Postgres.start(home, durable=False)
    yield started
    started.stop()


def test_what_is_committed_survives_a_restart_at_the_same_address(server: Postgres) -> None:
    url = server.url
    with psycopg.connect(url) as db:
        db.execute("create table kept as select 42 as it")

    server.restart()

    assert server.url == url
    assert kept(server) == 42


def test_what_is_committed_survives_a_crash(server: Postgres) -> None:
    with psycopg.connect(server.url) as db:
        db.execute("create table kept as select 42 as it")

    os.killpg(server.pid, signal.SIGKILL)
    until(lambda: server.exit_code() is not None, 5, lambda: "Postgres is immortal")
    server.launch()

    assert kept(server) == 42


def test_a_number_that_a_dead_server_left_to_another_process_is_no_hindrance(server: Postgres) -> None:
    server.stop()
    # As in a container that was killed: the record names a living process, which is none of Postgres'.
    (server.data / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data}\n")

    server.launch()

    assert server.exit_code() is None


def test_postgres_wants_its_password(server: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(server.url.replace("://tocsin:", "://tocsin:not-"))


def test_a_stopped_postgres_leaves_no_process(server: Postgres) -> None:
    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    server.stop()
    wait_until_gone(family)


def test_valkey_comes_back_empty_at_the_same_address(home: Path) -> None:
    server = Valkey.start(home)
    client = Redis.from_url(server.url)
    client.set("bell", "rung")

    server.restart()

    assert client.get("bell") is None
    client.close()
    server.stop()


def kept(server: Postgres) -> int:
    with psycopg.connect(server.url) as db:
        row = db.execute("select it from kept").fetchone()
    assert row is not None
    return row[0]
