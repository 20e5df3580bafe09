"""The programs in examples/ do what they say."""

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tests.acceptance.relays import Account, Relay, environment, free_port, run, until
from tests.packages import ROOT
from tocsin import Client, PrivateKey
from tocsin.webhooks import new_secret

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]

TOCSIN = Path(sys.executable).parent / "tocsin"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    started = Relay([TOCSIN, "up"], tmp_path_factory.mktemp("relay"), Account("us"))
    yield started.wait_until_up()
    started.close()


def test_the_sleeper_is_woken_and_verifies(relay: Relay, tmp_path: Path) -> None:
    program = run([sys.executable, ROOT / "examples" / "sleeper.py", "3"], tmp_path, TOCSIN_URL=relay.url)
    assert program.returncode == 0, program.stderr
    *rings, last = program.stdout.splitlines()
    assert [line.split("  ")[1:] for line in rings] == [
        [f"run {n}", "{'do': 'wake up'}", "by ('v1',)"] for n in (1, 2, 3)
    ]
    assert last.endswith("is deleted after 3 rings")


def test_the_bookkeeper_hears_of_what_it_wants_and_in_order(relay: Relay, tmp_path: Path) -> None:
    program = run([sys.executable, "-m", "examples.shop"], tmp_path, PYTHONPATH=str(ROOT), TOCSIN_URL=relay.url)
    assert program.returncode == 0, program.stderr
    assert program.stdout.splitlines() == [
        "order.paid to 0, order.paid to 1, order.shipped to 0, order.refunded to 1",
        "order.paid: o-2, 250",
        "order.refunded: o-2, 250",
    ]


def test_the_alert_is_woken_when_the_price_crosses(relay: Relay, tmp_path: Path) -> None:
    key = PrivateKey.generate()
    key.save(tmp_path / "key")
    with Client(relay.url, key) as client, quoting("2999.99") as site:
        client.agents.register(key, "alert")
        settings = {"TOCSIN_URL": relay.url, "TOCSIN_KEY": str(tmp_path / "key"), "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-m", "examples.price_alert", site.url, "data.price", "3000", "2900", "2"]
        with subprocess.Popen(
            words, cwd=tmp_path, env=environment(tmp_path, **settings), stdout=subprocess.PIPE
        ) as alert:
            assert alert.stdout is not None
            said = [alert.stdout.readline().decode()]
            for price in ("3000.0000000000000000001", "2899"):
                site.price = price
                said.append(alert.stdout.readline().decode())
            assert alert.wait(20) == 0
        assert [*client.endpoints.list(), *client.subscriptions.list()] == []
    assert said[0].startswith("asleep")
    assert said[1:] == ["3000.0000000000000000001 is above 3000\n", "2899 is below 2900\n"]


def test_the_reporter_writes_each_report_once_however_often_it_is_started(relay: Relay, tmp_path: Path) -> None:
    key, reports = PrivateKey.generate(), tmp_path / "reports"
    key.save(tmp_path / "key")
    settings = {"TOCSIN_URL": relay.url, "TOCSIN_KEY": str(tmp_path / "key"), "REPORT_SECRET": new_secret()}
    words = [sys.executable, "-m", "examples.daily_report", str(free_port()), str(reports)]
    with Client(relay.url, key) as client:
        with running(words, tmp_path, settings) as first_line:
            assert " version 1, next report " in first_line
            triggered = client.schedules.trigger("daily-report")

            def concluded(attempts: int) -> bool:
                [fire] = client.schedules.fires("daily-report", kind="manual")
                return (fire.delivery_state, fire.attempts) == ("delivered", attempts)

            until(lambda: concluded(1), 20, lambda: f"{triggered.id} was not delivered")
            [fire] = client.schedules.fires("daily-report", kind="manual")
            client.deliveries.redeliver(str(fire.delivery_id))
            until(lambda: concluded(2), 20, lambda: f"{triggered.id} was not delivered again")
            assert [path.name for path in reports.iterdir()] == [f"{triggered.id}.md"]
            assert "What happened yesterday" in (reports / f"{triggered.id}.md").read_text()
        with running(words, tmp_path, settings) as first_line:
            assert " version 1, next report " in first_line
        assert [schedule.chosen_id for schedule in client.schedules.list()] == ["daily-report"]


@contextmanager
def running(words: list[str], home: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """A program that runs beside the test, as soon as it has said its first line."""
    with subprocess.Popen(
        words, cwd=ROOT, env=environment(home, **settings), stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        yield program.stdout.readline()
        program.terminate()


def test_the_development_chain_says_how_to_watch_it_and_moves(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "examples.devchain"]
    with subprocess.Popen(words, cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        said = list[str]()
        while not said or not said[-1].startswith("block"):
            said.append(next(program.stdout))
        [[url, body]] = [shlex.split(line)[1::2] for line in said if line.strip().startswith("curl")]
        taken_back = httpx.post(url, content=body, headers={"content-type": "application/json"}).json()
        program.send_signal(signal.SIGINT)
        assert program.wait(20) == 0
    [exported] = [line for line in said if "export" in line]
    assert json.loads(shlex.split(exported)[1].removeprefix("TOCSIN_CHAINS=")).keys() == {"eip155:31337"}
    assert re.fullmatch(r"block [3-9]: 1 from 0x\w{40} to 0x\w{40}\n", said[-1])
    assert "result" in taken_back


class Site(ThreadingHTTPServer):
    """A site that quotes a price."""

    price = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/eth.json"


class Quote(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Site)
        body = b'{"data": {"price": %s}}' % self.server.price.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return None


@contextmanager
def quoting(price: str) -> Iterator[Site]:
    with Site(("127.0.0.1", 0), Quote) as site:
        site.price = price
        Thread(target=site.serve_forever, args=(0.01,), daemon=True).start()
        yield site
        site.shutdown()
