"""The parts of a relay, run separately over servers of one's own."""

import json
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg
import pytest

from app.local.postgres import Postgres
from app.local.running import Running
from app.local.valkey import Valkey
from tests.acceptance.conftest import StartRelay
from tests.acceptance.forks import typed
from tests.acceptance.relays import Account, environment, free_port, run, until, wait_until_gone
from tests.sealed import SECRET_KEY
from tocsin import Client, PrivateKey
from tocsin.schemas.schedules import NewSchedule

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]

COMMAND: list[str | Path] = [Path(sys.executable).parent / "tocsin"]
US = Account("us")


def told(home: Path, word: str, **changes: str) -> CompletedProcess[str]:
    """A command that ends by itself."""
    return typed([word], home, environment(home, **changes))


def alone(home: Path, word: str, **changes: str) -> CompletedProcess[str]:
    """The same, in a process that reads no code but what the command itself asks for."""
    return run([*COMMAND, word], home, US, **changes)


@pytest.fixture
def postgres(home: Path) -> Iterator[Postgres]:
    started = Postgres.start(home / "servers", durable=False)
    yield started
    started.stop()


@pytest.fixture
def servers(home: Path, postgres: Postgres) -> Iterator[dict[str, str]]:
    """Postgres and Valkey, as the environment names them."""
    valkey = Valkey.start(home / "servers")
    yield {"TOCSIN_DATABASE_URL": postgres.url, "TOCSIN_VALKEY_URL": valkey.url, "TOCSIN_SECRET_KEY": SECRET_KEY.text}
    valkey.stop()


def test_migrate_brings_a_database_to_the_newest_version_once(home: Path, servers: dict[str, str]) -> None:
    first, second = (told(home, "migrate", **servers) for _ in range(2))
    assert "Brought the database from nothing to version" in first.stdout
    assert "already" in second.stdout
    assert first.returncode == second.returncode == 0


def test_api_and_worker_run_apart(home: Path, servers: dict[str, str], start: StartRelay) -> None:
    told(home, "migrate", **servers)
    worker = start([*COMMAND, "worker"], US, **servers)
    api = start([*COMMAND, "api"], US, **servers)

    worker.wait_for_line("the worker listens")
    api.wait_until_answering()
    doctor = told(home, "doctor", **servers, TOCSIN_API_PORT=str(api.port))

    assert doctor.returncode == 0, doctor.stdout
    assert httpx.get(f"{api.url}/readyz").status_code == 200
    worker.process.terminate()
    assert worker.process.wait(20) == 0


def test_a_worker_says_which_servers_it_has_joined_and_that_the_environment_named_them(
    home: Path, servers: dict[str, str], start: StartRelay
) -> None:
    told(home, "migrate", **servers)

    worker = start([*COMMAND, "worker"], US, **servers, TOCSIN_LOG_FORMAT="json")
    worker.wait_for_line("the worker listens")

    line = json.loads(worker.output.splitlines()[0])
    database, valkey = (urlsplit(servers[name]) for name in ("TOCSIN_DATABASE_URL", "TOCSIN_VALKEY_URL"))
    assert line["event"] == "joined its servers"
    assert line["database"] == f"{database.hostname}:{database.port}{database.path}"
    assert line["valkey"] == f"{valkey.hostname}:{valkey.port}"
    assert (line["database_named_by"], line["valkey_named_by"]) == ("TOCSIN_DATABASE_URL", "TOCSIN_VALKEY_URL")


def test_a_worker_beside_a_relay_says_that_it_has_joined_its_servers(home: Path, start: StartRelay) -> None:
    start([*COMMAND, "up"], US).wait_until_up()
    relay = Running.read(home / "relay")
    assert relay is not None

    worker = start([*COMMAND, "worker"], US, TOCSIN_LOG_FORMAT="json")
    worker.wait_for_line("the worker listens")

    line = json.loads(worker.output.splitlines()[0])
    assert line["database"] == relay.database_url.partition("@")[2]
    assert line["database_named_by"] == line["valkey_named_by"] == f"the relay that runs in {home / 'relay'}"
    assert str(urlsplit(relay.database_url).password) not in worker.output


def test_a_worker_whose_port_for_metrics_is_in_use_says_so_in_one_line(home: Path, servers: dict[str, str]) -> None:
    told(home, "migrate", **servers)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = told(home, "worker", **servers, TOCSIN_WORKER_METRICS_PORT=port)

    assert refused.returncode == 1
    assert refused.stderr.startswith(f"tocsin: port {port} is in use; choose another with TOCSIN_WORKER_METRICS_PORT")
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(("told_host", "hosts"), [(None, {"127.0.0.1"}), ("0.0.0.0", {"0.0.0.0"})])
def test_the_metrics_of_a_worker_listen_where_they_are_told_to_and_else_on_loopback(
    home: Path, servers: dict[str, str], start: StartRelay, told_host: str | None, hosts: set[str]
) -> None:
    told(home, "migrate", **servers)
    port = free_port()
    at = {"TOCSIN_WORKER_METRICS_HOST": told_host} if told_host else {}

    worker = start([*COMMAND, "worker"], US, **servers, **at, TOCSIN_WORKER_METRICS_PORT=str(port))
    worker.wait_for_line("the worker listens")

    listening = [each for each in psutil.Process(worker.process.pid).net_connections() if each.status == "LISTEN"]
    assert {each.laddr.ip for each in listening} == hosts
    assert "tocsin_deliveries_due" in httpx.get(f"http://127.0.0.1:{port}/metrics").text


def test_parts_that_are_stopped_while_postgres_is_away_end_in_good_order(
    home: Path, postgres: Postgres, servers: dict[str, str], start: StartRelay
) -> None:
    told(home, "migrate", **servers)
    parts = [start([*COMMAND, part], US, **servers, TOCSIN_OUTBOUND_ALLOW="127.0.0.0/8") for part in ("worker", "api")]
    worker, api = parts
    worker.wait_for_line("the worker listens")
    api.wait_until_answering()
    key = PrivateKey.generate()
    with Client(api.url, key) as client:
        client.agents.register(key)
        endpoint = client.endpoints.create("http://127.0.0.1:9001/rings")
        # Held by the worker from some seconds before its time until then, so that there is something to leave.
        schedule = client.schedules.create(NewSchedule(spec={"every": "PT1S"}, endpoint_id=endpoint.id))
        until(lambda: bool(list(client.schedules.fires(schedule.id))), 20, lambda: worker.output)

    postgres.stop()
    worker.wait_for_line("drains stop; the database is away")
    for part in parts:
        part.process.terminate()

    assert worker.process.wait(30) == 0, worker.output
    # uvicorn ends by the signal that it was sent, once it has shut down.
    assert api.process.wait(30) == -signal.SIGTERM
    assert "stopped without the database" in worker.output
    assert not any("Traceback" in part.output for part in parts)


def test_up_starts_no_servers_where_the_environment_names_them(
    home: Path, servers: dict[str, str], start: StartRelay
) -> None:
    relay = start([*COMMAND, "up"], US, **servers).wait_until_up()
    family = relay.family()

    assert not any("postgres" in process.name() or "valkey" in process.name() for process in family)
    assert relay.interrupt() == 0
    wait_until_gone(family)


def test_a_doctor_of_a_database_without_tables_says_what_makes_them(home: Path, servers: dict[str, str]) -> None:
    found = told(home, "doctor", **servers, TOCSIN_API_PORT="0")

    assert found.returncode == 1
    assert all(f"ok     {check} " in found.stdout for check in ("Postgres", "Valkey"))
    assert all(f"wrong  {check} " in found.stdout for check in ("migrations", "secrets"))
    assert " ".join(found.stdout.split()).count("tocsin migrate") == 2


def test_a_doctor_who_may_not_read_says_so(home: Path, servers: dict[str, str]) -> None:
    told(home, "migrate", **servers)
    with psycopg.connect(servers["TOCSIN_DATABASE_URL"]) as db:
        db.execute("create role stranger login password 'secret'")
        url = f"postgresql://stranger:secret@{db.info.host}:{db.info.port}/{db.info.dbname}"

    found = told(home, "doctor", **{**servers, "TOCSIN_DATABASE_URL": url}, TOCSIN_API_PORT="0")

    said = " ".join(found.stdout.split())
    assert found.returncode == 1
    assert "ok Postgres" in said
    assert all(f"wrong {check} the user of TOCSIN_DATABASE_URL may not" in said for check in ("migrations", "secrets"))
    assert said.count("permission denied for table") == 2


@pytest.mark.parametrize("part", ["migrate", "api", "worker"])
def test_no_part_starts_without_the_secret_key(home: Path, servers: dict[str, str], part: str) -> None:
    del servers["TOCSIN_SECRET_KEY"]

    refused = told(home, part, **servers)

    assert refused.returncode == 1
    assert "TOCSIN_SECRET_KEY" in refused.stderr
    assert "tocsin new-secret-key" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_secret_key_is_replaced_and_the_one_before_opens_nothing_any_more(
    home: Path, servers: dict[str, str]
) -> None:
    before = servers.pop("TOCSIN_SECRET_KEY")
    new = told(home, "new-secret-key").stdout.strip()
    told(home, "migrate", **servers, TOCSIN_SECRET_KEY=before)
    too_early = told(home, "migrate", **servers, TOCSIN_SECRET_KEY=new)
    both = {"TOCSIN_SECRET_KEY": new, "TOCSIN_SECRET_KEYS_BEFORE": before}

    resealed = told(home, "reseal", **servers, **both)

    after = told(home, "migrate", **servers, TOCSIN_SECRET_KEY=new)
    too_late = told(home, "migrate", **servers, TOCSIN_SECRET_KEY=before)
    assert "Sealed 1 row" in resealed.stdout, resealed.stderr
    assert [each.returncode for each in (too_early, resealed, after, too_late)] == [1, 0, 0, 1]
    assert "TOCSIN_SECRET_KEYS_BEFORE" in too_early.stderr


def test_the_secret_key_of_a_relay_with_endpoints_is_replaced_as_its_operator_is_told_to(
    home: Path, servers: dict[str, str], start: StartRelay
) -> None:
    old = servers.pop("TOCSIN_SECRET_KEY")
    new = alone(home, "new-secret-key").stdout.strip()
    first = {"TOCSIN_SECRET_KEY": old, "TOCSIN_SECRET_KEYS_BEFORE": new}
    swapped = {"TOCSIN_SECRET_KEY": new, "TOCSIN_SECRET_KEYS_BEFORE": old}
    alone(home, "migrate", **servers, **first)
    api = start([*COMMAND, "api"], US, **servers, **first, TOCSIN_OUTBOUND_ALLOW="127.0.0.0/8")
    api.wait_until_answering()
    key = PrivateKey.generate()
    with Client(api.url, key) as client:
        client.agents.register(key)
        client.endpoints.create("http://127.0.0.1:9001/rings", headers={"authorization": "Bearer a-token"})
    api.close()
    start([*COMMAND, "api"], US, **servers, **swapped).wait_until_answering()
    halfway = alone(home, "doctor", **servers, **swapped)

    resealed = alone(home, "reseal", **servers, **swapped)

    done = alone(home, "doctor", **servers, TOCSIN_SECRET_KEY=new, TOCSIN_API_PORT="0")
    assert "run `tocsin reseal`" in " ".join(halfway.stdout.split())
    assert "nothing is left that another one sealed" in resealed.stdout, resealed.stderr
    assert "all sealed by the key" in done.stdout
    assert [each.returncode for each in (halfway, resealed, done)] == [1, 0, 0]


def test_what_an_older_release_stored_as_it_was_is_sealed_by_migrate_and_its_key_rotates(
    home: Path, servers: dict[str, str]
) -> None:
    alone(home, "migrate", **servers)
    with psycopg.connect(servers["TOCSIN_DATABASE_URL"]) as db:
        db.execute("insert into agents (id, created_at) values ('agt_1', now())")
        db.execute(
            """
            insert into endpoints (id, agent_id, url, state, secret, attempts, attempts_before, created_at, updated_at)
            values ('ep_1', 'agt_1', 'https://agent.example/', 'active', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
                0, 0, now(), now())
            """
        )

    sealed = alone(home, "migrate", **servers)

    rotated = alone(home, "rotate-signing-key", **servers)
    assert "Sealed 1 secrets" in sealed.stdout, sealed.stderr
    assert "is published at" in rotated.stdout, rotated.stderr
