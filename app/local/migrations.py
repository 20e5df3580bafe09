"""The database's history, applied from the installed `migrations` package."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from app.local.errors import LocalError


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
    """Bring the database to the newest version. Returns what it was before."""
    before = version(url)
    if not before.known:
        raise LocalError(
            f"the database is at version {before.found}, and this relay knows none newer than {before.newest}; "
            "install a newer tocsin-relay"
        )
    if not before.up_to_date:
        command.upgrade(_config(url), "head")
    return before


def version(url: str) -> Version:
    """What version the database is at. Changes nothing."""
    script = ScriptDirectory.from_config(_config(url))
    newest = script.get_current_head()
    assert newest is not None, "there is at least one migration"
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    known = {step.revision for step in script.walk_revisions()}
    return Version(found, newest, found is None or found in known)


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_folder()))
    config.set_main_option("path_separator", "os")
    # configparser reads % as its own.
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def _folder() -> Path:
    spec = find_spec("migrations")
    if spec is None or spec.origin is None:
        raise LocalError("the migrations are not installed; install tocsin-relay again")
    return Path(spec.origin).parent
