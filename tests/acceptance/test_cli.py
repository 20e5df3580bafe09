"""The command line, typed against a real relay.

Commands that end by themselves are forked from a process that has read their code: to read it takes most of a second,
over a hundred times here. Those that run beside others are started as a person starts them.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.forks import typed
from tests.acceptance.relays import Account, Relay, environment, free_port, until

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("cli")]

TOCSIN = Path(sys.executable).parent / "tocsin"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    started = Relay([TOCSIN, "up"], tmp_path_factory.mktemp("relay"), Account("us"))
    yield started.wait_until_up()
    started.close()


class Terminal:
    """A person's terminal: commands, and what they print."""

    def __init__(self, relay: Relay, home: Path) -> None:
        self.home = home
        self.url = relay.url
        self._started: list[subprocess.Popen[str]] = []

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        return typed(words, self.home, environment(self.home, TOCSIN_URL=self.url, XDG_CONFIG_HOME=""))

    def read(self, *words: str) -> list[Any]:
        """What a command prints as JSON, line by line."""
        typed = self.type(*words)
        assert typed.returncode == 0, typed.stderr
        return [json.loads(line) for line in typed.stdout.splitlines()]

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """A command that runs beside others."""
        started = subprocess.Popen(
            [str(TOCSIN), *words],
            env=environment(self.home, TOCSIN_URL=self.url, XDG_CONFIG_HOME=""),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(started)
        return started

    def close(self) -> None:
        for process in self._started:
            process.terminate()
            process.communicate(timeout=20)


@pytest.fixture
def terminal(relay: Relay, tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(relay, tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def registered(relay: Relay, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """The terminal of an agent that the relay knows."""
    opened = Terminal(relay, tmp_path_factory.mktemp("registered"))
    assert opened.type("register").returncode == 0
    return opened


def wait_for_endpoint(terminal: Terminal) -> str:
    """The id of the one endpoint there is, once it is active."""

    def active() -> bool:
        typed = terminal.type("endpoints", "ls", "--json")  # refused while the agent is not yet registered
        return [json.loads(line)["state"] for line in typed.stdout.splitlines()] == ["active"]

    until(active, 20, lambda: "no endpoint became active")
    return terminal.read("endpoints", "ls", "--json")[0]["id"]


def test_one_command_is_enough_to_be_rung(terminal: Terminal) -> None:
    key_file = terminal.home / ".config" / "tocsin" / "key"
    listener = terminal.start("listen", "--json", "--count", "1")
    until(lambda: key_file.exists(), 20, lambda: "listening made no key")
    terminal.read("endpoints", "test", wait_for_endpoint(terminal), "--json")
    output, told = listener.communicate(timeout=20)
    assert listener.returncode == 0, told
    rings = [json.loads(line) for line in output.splitlines()]
    assert [ring["type"] for ring in rings] == ["endpoint.verification", "endpoint.test"]
    assert all(ring["verified"] == ["v1", "v1a"] for ring in rings)
    assert terminal.read("endpoints", "ls", "--json") == []


def test_one_command_more_is_a_schedule(terminal: Terminal) -> None:
    listener = terminal.start("listen", "--every", "1s", "--count", "1")
    output, told = listener.communicate(timeout=40)
    assert listener.returncode == 0, told
    assert "schedule.fired" in output
    assert "ms after its time" in output
    assert terminal.read("schedule", "ls", "--json") == []


def test_a_schedule_is_added_heard_looked_at_and_removed(terminal: Terminal) -> None:
    terminal.type("register")
    listener = terminal.start("listen", "--json", "--count", "2")
    wait_for_endpoint(terminal)
    [added] = terminal.read("schedule", "add", "--every", "1s", "--payload", '{"task": "report"}', "--json")
    output, told = listener.communicate(timeout=30)
    assert listener.returncode == 0, told
    rings = [json.loads(line) for line in output.splitlines()][1:]
    assert [ring["type"] for ring in rings] == ["schedule.fired"] * 2
    assert [ring["data"]["run"] for ring in rings] == [1, 2]
    assert all(ring["data"]["payload"] == {"task": "report"} for ring in rings)
    assert terminal.read("schedule", "fires", added["id"], "--json")
    assert terminal.type("schedule", "rm", added["id"]).returncode == 0
    assert terminal.read("schedule", "ls", "--json") == []


def test_a_preview_says_when_without_a_key(terminal: Terminal) -> None:
    words = ["--cron", "30 2 * * *", "-z", "Europe/Berlin", "--after", "2027-03-27T12:00:00Z", "-n", "2"]
    typed = terminal.type("schedule", "preview", *words)
    first, _, moved, *_ = typed.stdout.splitlines()
    assert first == "At 02:30 every day, Europe/Berlin time"
    assert moved.split()[:4] == ["Sun", "2027-03-28", "03:00:00", "+02:00"]
    assert "moved" in moved
    assert not (terminal.home / ".config").exists()


def test_a_schedule_under_a_chosen_id_is_made_so_and_changed_only_as_it_was_seen(registered: Terminal) -> None:
    endpoint = registered.read("endpoints", "add", "http://127.0.0.1:9009/", "--json")[0]["id"]
    (registered.home / "payload.json").write_text('{"task": "report"}')
    words = ["--cron", "0 9 * * 1-5", "--tz", "Europe/Berlin", "--endpoint", endpoint, "--payload", "@payload.json"]
    [added] = registered.read("schedule", "add", "--id", "daily", *words, "--overlap", "skip", "--json")
    [again] = registered.read("schedule", "add", "--id", "daily", *words, "--overlap", "skip", "--json")
    assert (again["id"], again["version"], again["payload"]) == (added["id"], 1, {"task": "report"})
    [changed] = registered.read("schedule", "change", "daily", "--jitter", "30s", "--if-version", "1", "--json")
    assert (changed["version"], changed["jitter"], changed["overlap"]) == (2, "PT30S", "skip")
    stale = registered.type("schedule", "change", "daily", "--remove", "jitter", "--if-version", "1")
    assert stale.returncode == 1
    assert "Precondition failed (412)" in stale.stderr
    assert "version 2" in stale.stderr
    shown = registered.type("schedule", "show", "daily").stdout
    assert "At 09:00 on Monday through Friday, Europe/Berlin time" in shown
    assert shown.count("09:00:00 +0") == 5
    assert registered.type("schedule", "rm", "daily").returncode == 0


def test_stepping_in_leaves_its_trace(registered: Terminal) -> None:
    endpoint = registered.read("endpoints", "add", "http://127.0.0.1:9010/", "--json")[0]["id"]
    registered.read("schedule", "add", "--id", "hourly", "--every", "1h", "--endpoint", endpoint, "--json")
    [skipped] = registered.read("schedule", "skip-next", "hourly", "--json")
    [next_one] = registered.read("schedule", "upcoming", "hourly", "-n", "1", "--json")
    assert next_one["fires"][0]["scheduled_at"] > skipped["scheduled_at"]
    assert "paused" in registered.type("schedule", "pause", "hourly", "--reason", "holidays").stdout
    assert "paused" in registered.type("schedule", "show", "hourly").stdout
    assert "next" in registered.type("schedule", "resume", "hourly").stdout
    [listed] = [one for one in registered.read("schedule", "ls", "--json") if one["chosen_id"] == "hourly"]
    assert listed["state"] == "active"
    assert registered.type("schedule", "rm", "hourly").returncode == 0


def test_a_run_is_reported_as_done(terminal: Terminal) -> None:
    terminal.type("register")
    terminal.start("listen", "--json", "--count", "9")
    wait_for_endpoint(terminal)
    policy = ["--overlap", "skip", "--completion", "report"]
    terminal.read("schedule", "add", "--id", "report", "--every", "1d", *policy, "--json")
    [triggered] = terminal.read("schedule", "trigger", "report", "--json")
    until(
        lambda: [one["state"] for one in terminal.read("schedule", "fires", "report", "--json")] == ["fired"],
        20,
        lambda: "the triggered fire did not fire",
    )
    [completed] = terminal.read("schedule", "complete", "report", triggered["id"], "--json")
    assert (completed["id"], completed["kind"]) == (triggered["id"], "manual")
    assert completed["completed_at"]


def test_a_backfill_is_watched_until_all_its_slots_have_fired(terminal: Terminal) -> None:
    terminal.type("register")
    listener = terminal.start("listen", "--json", "--count", "6")
    wait_for_endpoint(terminal)
    terminal.read("schedule", "add", "--id", "minutes", "--every", "1m", "--payload", '{"task": "report"}', "--json")
    moments = ["--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:06:00Z"]
    typed = terminal.type("schedule", "backfill", "minutes", *moments)
    assert typed.returncode == 0, typed.stderr
    assert typed.stdout.splitlines()[-1].endswith("finished  6 of 6 slots: 6 fired")
    [found] = terminal.read("schedule", "backfills", "ls", "minutes", "--json")
    fires = terminal.read("schedule", "fires", "minutes", "--backfill", found["id"], "--json")
    assert {(one["state"], one["kind"]) for one in fires} == {("fired", "backfill")}
    assert len(listener.communicate(timeout=30)[0].splitlines()) == 7


def test_a_key_is_registered_once_and_calls_are_signed(terminal: Terminal) -> None:
    terminal.type("keygen")
    [me] = terminal.read("register", "--name", "night watch", "--json")
    assert terminal.read("register", "--json") == [me]
    [called] = terminal.read("call", "get", "v1/agents/me")
    assert called["id"] == me["id"]
    [event] = terminal.read("events", "--json")
    assert (event["kind"], event["subject"]) == ("agent.registered", me["id"])


def test_a_stream_is_printed_as_it_comes(terminal: Terminal) -> None:
    terminal.type("register")
    [inbox] = terminal.read("subscribe", "inbox", "--verify", "none", "--pull", "--json")
    streaming = terminal.start("call", "GET", f"/v1/subscriptions/{inbox['id']}/stream")
    assert streaming.stdout is not None
    assert streaming.stdout.readline() == ":\n"
    assert streaming.poll() is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["call", "GET", "/v1/endpoints/ep_1"], ""),
        (["endpoints", "show", "ep_1"], "Not found (404)"),
        (["endpoints", "add", "http://10.0.0.1/"], "/url"),
        (["schedule", "preview", "--cron", "61 * * * *"], "/spec/cron"),
        (["subscribe", "logs", "--chain", "eip155:1", "--pull"], "name an address, a topic or an event"),
        (["--url", "http://127.0.0.1:1", "me"], "Check the relay's URL"),
    ],
)
def test_a_refusal_is_told_and_exits_with_one(registered: Terminal, words: list[str], told: str) -> None:
    typed = registered.type(*words)
    assert typed.returncode == 1
    assert told in typed.stderr
    assert "Traceback" not in typed.stderr


def test_an_endpoint_is_looked_after_from_the_terminal(registered: Terminal) -> None:
    """One that nobody listens at: what is sent to it fails, and is sent again when asked."""
    url = f"http://127.0.0.1:{free_port()}/hook"
    [added] = registered.read(
        "endpoints", "add", url, "--type", "order.*", "--filter", '{"amount": 1}', "--header", "X-Team: us", "--json"
    )
    [paused] = registered.read("endpoints", "pause", added["id"], "--json")
    [rotated] = registered.read("endpoints", "rotate-secret", added["id"], "--overlap", "1h", "--json")
    [stats] = registered.read("endpoints", "stats", added["id"], "--json")
    [begun] = registered.read("endpoints", "recover", added["id"], "--since", "1h", "--no-wait", "--json")
    listed = registered.read("recoveries", "ls", "--json")
    [cancelled] = registered.read("recoveries", "cancel", begun["id"], "--json")
    [resumed] = registered.read("endpoints", "resume", added["id"], "--json")
    refused = registered.type("endpoints", "rotate-secret", added["id"], "--overlap", "a day")
    hasty = registered.type("endpoints", "rm", added["id"])
    removed = registered.type("endpoints", "rm", added["id"], "--yes")

    assert (added["types"], added["filter"], added["headers"]) == (["order.*"], {"amount": 1}, {"X-Team": "***"})
    assert (paused["state"], resumed["state"]) == ("paused", "pending")
    assert (rotated["secret"] != added["secret"], len(rotated["secrets"])) == (True, 2)
    assert (stats["endpoint_id"], stats["breaker"], stats["held"]) == (added["id"], "closed", 0)
    assert [each["id"] for each in listed] == [begun["id"]]
    assert cancelled["state"] in ("cancelled", "done")
    assert (refused.returncode, hasty.returncode, removed.returncode) == (2, 2, 0)
    assert "--yes" in hasty.stderr
    assert "--overlap" in refused.stderr
