"""`tocsin up`, installed from wheels in an empty environment, as root and as an ordinary account."""

import json
import os
import shutil
import signal
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from app.local.accounts import shared_place
from tests.acceptance.conftest import StartRelay
from tests.acceptance.relays import Account, Relay, ordinary_account, run, wait_until_gone
from tests.packages import ROOT

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]

Command = list[str | Path]


def test_a_relay_comes_up_and_ctrl_c_leaves_nothing(
    tocsin: Command, account: Account, start: StartRelay, home: Path
) -> None:
    relay = start([*tocsin, "up"], account).wait_until_up()
    family = relay.family()

    described = httpx.get(f"{relay.url}/openapi.json").json()
    doctor = run([*tocsin, "doctor"], home, account)
    code = relay.interrupt()

    assert "/v1/agents" in described["paths"]
    assert doctor.returncode == 0, doctor.stdout
    assert f"answers on 127.0.0.1:{relay.port}" in doctor.stdout
    assert code == 0, relay.output
    wait_until_gone(family)
    stopped = [line.split()[0] for line in relay.output.splitlines() if line.endswith("has stopped")]
    assert stopped == ["worker", "api", "valkey", "postgres"]
    assert "TOCSIN_OUTBOUND_ALLOW" in relay.output


def test_a_killed_relay_leaves_nothing_and_the_next_one_recovers(
    tocsin: Command, account: Account, start: StartRelay, home: Path
) -> None:
    relay = start([*tocsin, "up"], account).wait_until_up()
    family = relay.family()
    remember(home)

    relay.process.kill()
    relay.process.wait()

    wait_until_gone(family)
    start([*tocsin, "up"], account).wait_until_up()
    assert remembered(home)


def test_a_relay_that_is_killed_at_its_first_start_can_be_started_again(tocsin: Command, start: StartRelay) -> None:
    relay = start([*tocsin, "up"], ordinary_account())
    relay.wait_for_line("with its data in")
    family = relay.family()

    relay.process.kill()
    relay.process.wait()

    wait_until_gone(family)
    start([*tocsin, "up"], ordinary_account()).wait_until_up()


def test_every_part_that_dies_is_started_again(tocsin: Command, start: StartRelay) -> None:
    relay = start([*tocsin, "up"], ordinary_account()).wait_until_up()

    for name in ("worker", "api", "valkey", "postgres"):
        part(relay, name).kill()
        relay.wait_for_line(f"{name:<8} │ ended by itself: signal SIGKILL")
        relay.wait_for_line(f"{name:<8} │ runs again")

    relay.wait_until_answering()
    assert relay.process.poll() is None


def test_a_watchdog_that_dies_is_replaced_by_one_as_good(tocsin: Command, start: StartRelay) -> None:
    relay = start([*tocsin, "up"], ordinary_account()).wait_until_up()
    part(relay, "watchdog").kill()
    relay.wait_for_line("another watches")
    family = relay.family()

    relay.process.kill()
    relay.process.wait()

    wait_until_gone(family)


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGHUP])
def test_other_ways_to_ask_for_the_end_are_heard_too(
    tocsin: Command, start: StartRelay, signal_number: signal.Signals
) -> None:
    relay = start([*tocsin, "up"], ordinary_account()).wait_until_up()
    family = relay.family()

    relay.process.send_signal(signal_number)

    assert relay.process.wait(30) == 0
    wait_until_gone(family)


def test_a_database_that_hangs_does_not_hold_up_the_end(tocsin: Command, start: StartRelay) -> None:
    relay = start([*tocsin, "up"], ordinary_account()).wait_until_up()
    family = relay.family()
    server = part(relay, "postgres")
    for process in (server, *server.children()):
        process.suspend()

    code = relay.interrupt()  # within 30 s; with all its patience it would take twice that

    assert code == 0, relay.output
    assert "the database does not answer" in relay.output
    wait_until_gone(family)
    start([*tocsin, "up"], ordinary_account()).wait_until_up()


def test_asked_twice_everything_ends_at_once(tocsin: Command, start: StartRelay) -> None:
    relay = start([*tocsin, "up"], ordinary_account()).wait_until_up()
    family = relay.family()
    servers = part(relay, "postgres").children()
    checkpointer = next(server for server in servers if "checkpointer" in server.cmdline()[0])
    checkpointer.suspend()
    relay.process.send_signal(signal.SIGINT)
    relay.wait_for_line("postgres │ ends after its last checkpoint")

    relay.process.send_signal(signal.SIGINT)

    assert relay.process.wait(1) == 128 + signal.SIGINT
    checkpointer.resume()
    wait_until_gone(family)


def test_root_opens_no_folder_to_others(tocsin: Command, start: StartRelay, home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root starts Postgres as another account")
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    relay = start([*tocsin, "up", "--home", str(closed / "relay")], Account("root")).wait_until_up()
    elsewhere = (closed / "relay" / "postgres").resolve()

    relay.interrupt()

    assert elsewhere.is_relative_to(shared_place)
    assert closed.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(elsewhere)


def test_make_up_killed_leaves_nothing(start: StartRelay) -> None:
    relay = start(["make", "up"], Account("us"), cwd=ROOT).wait_until_up()
    family = relay.family()

    relay.process.kill()
    relay.process.wait()

    wait_until_gone(family)


def part(relay: Relay, name: str) -> psutil.Process:
    """The process of this part."""
    words = {
        "worker": "worker",
        "api": "api",
        "valkey": "valkey-server",
        "postgres": "postgres",
        "watchdog": "watchdog.py",
    }
    child = psutil.Process(relay.process.pid).children()
    return next(process for process in child if any(word.endswith(words[name]) for word in process.cmdline()))


def database(home: Path) -> str:
    return json.loads((home / "relay" / "running.json").read_text())["database_url"]


def remember(home: Path) -> None:
    with psycopg.connect(database(home)) as db:
        db.execute("create table remembered as select 1 as it")


def remembered(home: Path) -> bool:
    with psycopg.connect(database(home)) as db:
        return db.execute("select it from remembered").fetchone() == (1,)
