"""A statement that a connection runs again and again is planned once, unless a pooler stands in the way."""

from sqlalchemy import text

from app.kit.database import Database, prepare_after


async def _prepared(database: Database) -> int:
    """How many statements the one connection has had prepared, after one that it ran often enough."""
    for _ in range(prepare_after + 1):
        async with database.transaction() as db:
            await db.execute(text("select cast(:number as int)"), {"number": 1})
    async with database.transaction() as db:
        # Asked by a statement that is run once, and so is none of them.
        return (await db.execute(text("select count(*) from pg_prepared_statements"))).scalar_one()


async def test_what_is_run_often_is_prepared(migrated: str) -> None:
    database = Database(migrated, connections=1, name="prepares")
    prepared = await _prepared(database)
    await database.close()
    assert prepared > 0


async def test_nothing_is_prepared_where_that_is_switched_off(migrated: str) -> None:
    database = Database(migrated, connections=1, name="prepares nothing", prepares=False)
    prepared = await _prepared(database)
    await database.close()
    assert prepared == 0
