"""Real servers for every test: one Postgres and one Valkey per test process, emptied between tests."""

import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import text

from app.kit.database import Database
from app.kit.wake import Silence
from app.local import migrations
from app.local.postgres import Postgres
from app.local.valkey import Valkey
from app.local.watchdog import Watchdog
from app.main import assemble, routes
from app.services import Services, open_services
from app.settings import ApiSettings, DatabaseSettings, OutboundSettings, SecretSettings, Settings, ValkeySettings
from app.tables import metadata
from tests.described import as_described
from tests.sealed import SECRET_KEY
from tests.world import AUTHORITY, ORIGIN, OwnClock, TestAgent

# Laws are tried on a bounded number of cases, the same in every run, or on many and new ones: `make simulate` passes
# --hypothesis-profile simulate.
hypothesis_settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
hypothesis_settings.register_profile(
    "simulate",
    max_examples=20_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
hypothesis_settings.load_profile("ci")

# A shell that runs us in its background has us ignore SIGINT, and whoever we start inherits that, and is interrupted by
# tests in vain.
signal.signal(signal.SIGINT, signal.default_int_handler)

NewAgent = Callable[[], Awaitable[TestAgent]]

# Children before their parents. Deleting the few rows of a test takes a tenth of what truncating all tables does.
_EMPTY = ";\n".join(
    [f"delete from {table.name}" for table in reversed(metadata.sorted_tables)]
    + ["select setval((schemaname || '.' || sequencename)::regclass, start_value, false) from pg_sequences"]
)


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """Where the servers keep their files. Not in pytest's own folder: when root runs the tests, Postgres runs as
    another account, which may not pass through there."""
    with tempfile.TemporaryDirectory(prefix="tocsin-tests-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def watchdog() -> Iterator[Watchdog]:
    """Ends the servers should the tests be killed."""
    guard = Watchdog()
    yield guard
    guard.close()


@pytest.fixture(scope="session")
def postgres(home: Path, watchdog: Watchdog) -> Iterator[Postgres]:
    """A real Postgres that does not outlive the tests; it skips fsync, which only a power cut would miss."""
    server = Postgres.start(home, durable=False, watchdog=watchdog)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey(home: Path, watchdog: Watchdog) -> Iterator[Valkey]:
    """A real Valkey."""
    server = Valkey.start(home, watchdog=watchdog)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> str:
    """The address of a database that has every table."""
    url = postgres.url_of("relay")
    migrations.migrate(url)
    return url


@pytest.fixture(scope="session")
async def connections(migrated: str) -> AsyncIterator[Database]:
    """What the tests share, one after the other: new connections cost more than all else that most of them do."""
    opened = Database(migrated, name="tests")
    yield opened
    await opened.close()


@pytest.fixture
async def database(connections: Database) -> Database:
    """A migrated database with nothing in it."""
    async with connections.transaction() as db:
        await db.execute(text(_EMPTY))
    return connections


@pytest.fixture
def clock() -> OwnClock:
    return OwnClock()


@pytest.fixture
def settings(migrated: str, valkey: Valkey) -> Settings:
    """Settings of a relay at http://relay.test that may call loopback."""
    return Settings(
        database=DatabaseSettings(url=migrated),
        valkey=ValkeySettings(url=valkey.url),
        secret=SecretSettings(key=SECRET_KEY),
        api=ApiSettings(public_url=ORIGIN, authorities=(AUTHORITY,)),
        outbound=OutboundSettings(allow=("127.0.0.0/8", "::1/128")),
    )


@pytest.fixture
async def services(settings: Settings, database: Database, clock: OwnClock) -> AsyncIterator[Services]:
    """The services of a process whose clock the test owns, and whose bell is silent: the test drains by hand."""
    async with open_services(settings, Silence(), name="tests", clock=clock, database=database) as opened:
        yield opened


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """An unsigned client of the API, which runs in this process."""
    transport = httpx.ASGITransport(assemble(routes(services)), raise_app_exceptions=False)
    hooks = {"response": [as_described]}
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, event_hooks=hooks) as client:
        yield client


@pytest.fixture
def new_agent(http: httpx.AsyncClient, clock: OwnClock) -> NewAgent:
    """Makes registered agents."""

    async def make() -> TestAgent:
        agent = TestAgent(http, clock)
        (await agent.register()).raise_for_status()
        return agent

    return make


@pytest.fixture
async def agent(new_agent: NewAgent) -> TestAgent:
    """A registered agent."""
    return await new_agent()
