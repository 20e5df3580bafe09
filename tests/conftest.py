"""Real servers for every test: one Postgres and one Valkey per test process, emptied between tests."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from app.kit.database import Database
from app.kit.wake import Silence
from app.local.postgres import Postgres
from app.local.valkey import Valkey
from app.main import assemble, routes
from app.services import Services, open_services
from app.settings import ApiSettings, DatabaseSettings, OutboundSettings, Settings, ValkeySettings
from app.tables import metadata
from migrations.migrate import upgrade
from tests.world import AUTHORITY, ORIGIN, OwnClock, TestAgent

NewAgent = Callable[[], Awaitable[TestAgent]]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A real Postgres that does not outlive the tests; it skips fsync, which only a power cut would miss."""
    server = Postgres.start(_home(tmp_path_factory), durable=False)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A real Valkey."""
    server = Valkey.start(_home(tmp_path_factory))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> str:
    """The address of a database that has every table."""
    url = postgres.url_of("relay")
    upgrade(url)
    return url


@pytest.fixture
async def database(migrated: str) -> AsyncIterator[Database]:
    """A migrated database with nothing in it."""
    opened = Database(migrated, name="tests")
    names = ", ".join(table.name for table in metadata.sorted_tables)
    async with opened.transaction() as db:
        await db.execute(text(f"truncate {names} restart identity cascade"))
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> OwnClock:
    return OwnClock()


@pytest.fixture
def settings(migrated: str, valkey: Valkey) -> Settings:
    """Settings of a relay at http://relay.test that may call loopback."""
    return Settings(
        database=DatabaseSettings(url=migrated),
        valkey=ValkeySettings(url=valkey.url),
        api=ApiSettings(public_url=ORIGIN, authorities=(AUTHORITY,)),
        outbound=OutboundSettings(allow=("127.0.0.0/8", "::1/128")),
    )


@pytest.fixture
async def services(settings: Settings, database: Database, clock: OwnClock) -> AsyncIterator[Services]:
    """The services of a process whose clock the test owns, and whose bell is silent: the test drains by hand."""
    async with open_services(settings, Silence(), name="tests", clock=clock) as opened:
        yield opened


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """An unsigned client of the API, which runs in this process."""
    transport = httpx.ASGITransport(assemble(routes(services)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
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


def _home(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("servers")
