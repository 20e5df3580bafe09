"""The ground that all cases stand on, and the table that they end in."""

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from app.local import migrations
from app.local.postgres import Postgres
from app.local.valkey import Valkey
from app.local.watchdog import Watchdog
from tests.faults.ear import Ear, hearing
from tests.faults.publisher import Publisher
from tests.faults.reconciliation import Case, Row, table
from tests.faults.relay import Relay

_PROPERTY = "reconciled"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was reconciled, whatever became of it."""
    reports = [report for state in ("passed", "failed") for report in terminalreporter.stats.get(state, ())]
    told = [value for report in reports for name, value in getattr(report, "user_properties", ()) if name == _PROPERTY]
    if told:
        # A failed teardown reports its test once more.
        rows: list[Row] = [json.loads(text) for text in dict.fromkeys(told)]
        terminalreporter.section("reconciled by id")
        terminalreporter.write_line(table(rows))
        terminalreporter.write_line("duplicates: allowed / seen")


@dataclass
class Ground:
    """A Postgres that every case has a database of its own on."""

    home: Path
    postgres: Postgres
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def database(self) -> str:
        """The address of a migrated database with nothing in it."""
        # A case that stops Postgres and fails is to fail alone.
        if self.postgres.exit_code() is not None:
            self.postgres.launch()
        name = f"case_{next(self._numbers)}"
        with psycopg.connect(self.postgres.url_of("postgres"), autocommit=True) as db:
            db.execute(sql.SQL("create database {} template empty").format(sql.Identifier(name)))
        return self.postgres.url_of(name)


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory, watchdog: Watchdog) -> Iterator[Ground]:
    home = tmp_path_factory.mktemp("faults")
    postgres = Postgres.start(home, watchdog=watchdog)
    migrations.migrate(postgres.url_of("empty"))
    yield Ground(home, postgres)
    postgres.stop()


@pytest.fixture
def relay_here(ground: Ground, tmp_path: Path, watchdog: Watchdog) -> Iterator[Relay]:
    """A relay of which nothing runs yet but Postgres and Valkey."""
    yield from running(
        Relay(tmp_path, ground.postgres, Valkey.start(tmp_path, watchdog=watchdog), watchdog, ground.database())
    )


@pytest.fixture
def relay(relay_here: Relay) -> Relay:
    """The relay of the case; some bring one of their own."""
    return relay_here


def running(relay: Relay) -> Iterator[Relay]:
    """The relay; its processes and its Valkey end with the case."""
    try:
        yield relay
    finally:
        relay.close()
        relay.valkey.stop()


@pytest.fixture
def case(relay: Relay, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Case:
    """The case that this test is. Its name is the test's marker `case`, with its parameters."""
    [name] = request.node.get_closest_marker("case").args
    parameters = getattr(request.node, "callspec", None)
    name = f"{name} ({parameters.id})" if parameters else name
    return Case(name, relay, lambda row: record_property(_PROPERTY, json.dumps(row)))


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    async with hearing() as listening:
        yield listening


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    agent = Publisher()
    yield agent
    await agent.close()
