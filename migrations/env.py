"""How Alembic runs our migrations: on the connection it is handed, or by TOCSIN_DATABASE_URL from the command line."""

from alembic import context
from sqlalchemy import Connection, create_engine, make_url

from app.settings import Settings
from app.tables import is_described, metadata


def run(connection: Connection) -> None:
    """Bring this database to the asked-for revision, in one transaction, one process at a time."""
    context.configure(
        connection=connection, target_metadata=metadata, compare_server_default=True, include_name=is_described
    )
    with context.begin_transaction():
        # Released at commit: a second process that starts now waits, then finds nothing to do.
        connection.exec_driver_sql("select pg_advisory_xact_lock(7206011726)")
        context.run_migrations()


def main() -> None:
    """Use the given connection, or open one."""
    given: Connection | None = context.config.attributes.get("connection")
    if given is not None:
        run(given)
        return
    url = Settings().database.url
    assert url is not None, "set TOCSIN_DATABASE_URL"
    with create_engine(make_url(url).set(drivername="postgresql+psycopg")).connect() as connection:
        run(connection)


main()
