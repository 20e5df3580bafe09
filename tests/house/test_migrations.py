"""The migrations make what the models describe."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, make_url

from app.local import migrations
from app.local.postgres import Postgres
from app.tables import is_described, metadata


def test_a_migrated_database_is_what_the_models_describe(migrated: str) -> None:
    engine = create_engine(make_url(migrated).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        opts = {"compare_type": True, "compare_server_default": True, "include_name": is_described}
        context = MigrationContext.configure(connection, opts=opts)
        differences = compare_metadata(context, metadata)
    engine.dispose()
    assert differences == []


def test_the_history_is_one_line() -> None:
    script = ScriptDirectory.from_config(migrations.config())
    newest_first = [step.revision for step in script.walk_revisions()]
    assert len(script.get_heads()) == 1
    assert newest_first == sorted(newest_first, reverse=True)


def test_a_migration_that_was_done_is_not_done_again(postgres: Postgres) -> None:
    url = postgres.url_of("migrated_twice")
    first, second = migrations.migrate(url), migrations.migrate(url)
    assert first.found is None
    assert second.up_to_date
    assert migrations.version(url).up_to_date
