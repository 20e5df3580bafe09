"""The database's history, applied from the installed `migrations` package."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, make_url

from app.local.errors import LocalError
from app.local.refusals import worded


@dataclass(frozen=True)
class Version:
    """How far a database is, and how far this relay would bring it."""

    found: str | None
    newest: str
    known: bool

    @property
    def up_to_date(self) -> bool:
        return self.found == self.newest


def migrate(url: str) -> Version:
    """Bring the database to the newest version. Returns what it was before; nothing happens when it was there."""
    with _connected(url) as connection:
        before = _version(connection)
        if not before.known:
            raise LocalError(
                f"the database is at version {before.found}, and this relay knows none newer than {before.newest}; "
                "install a newer tocsin-relay"
            )
        if not before.up_to_date:
            settings = config()
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")
            connection.commit()
    return before


def version(url: str) -> Version:
    """What version the database is at. Changes nothing."""
    with _connected(url) as connection:
        return _version(connection)


def config() -> Config:
    """Alembic's configuration, pointing at the migrations that were installed with the relay."""
    spec = find_spec("migrations")
    if spec is None or spec.origin is None:
        raise LocalError("the migrations are not installed; install tocsin-relay again")
    found = Config()
    # configparser reads % as its own.
    found.set_main_option("script_location", str(Path(spec.origin).parent).replace("%", "%%"))
    found.set_main_option("path_separator", "os")
    return found


@contextmanager
def _connected(url: str) -> Generator[Connection]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with worded(url), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _version(connection: Connection) -> Version:
    script = ScriptDirectory.from_config(config())
    newest = script.get_current_head()
    assert newest is not None, "there is at least one migration"
    found = MigrationContext.configure(connection).get_current_revision()
    known = {step.revision for step in script.walk_revisions()}
    connection.rollback()
    return Version(found, newest, found is None or found in known)
