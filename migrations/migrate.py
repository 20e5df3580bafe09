"""Migrations as a call, for entry points and tests."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, make_url


def config() -> Config:
    """Alembic's configuration, pointing at the migrations that were installed with the relay."""
    found = Config()
    found.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return found


def upgrade(url: str) -> None:
    """Bring the database to the newest revision; nothing happens when it is there. Raises SQLAlchemy's errors."""
    settings = config()
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with engine.connect() as connection:
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")
            connection.commit()
    finally:
        engine.dispose()


def head() -> str:
    """The newest revision there is."""
    newest = ScriptDirectory.from_config(config()).get_current_head()
    assert newest is not None
    return newest
