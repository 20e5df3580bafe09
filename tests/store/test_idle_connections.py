"""A connection is asked whether it is still there when it has lain idle, and only then."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.kit import limits
from app.kit.database import Database

_KILL_OTHERS = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'idle' and pid <> pg_backend_pid()
"""


async def _serve(database: Database) -> int:
    async with database.transaction() as db:
        return (await db.execute(text("select pg_backend_pid()"))).scalar_one()


async def test_one_that_lay_idle_is_replaced_when_its_server_has_gone(
    database: Database, migrated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "database_idle_seconds", 0.0)
    idle = Database(migrated, connections=2, name="idle")
    before = await _serve(idle)
    async with database.transaction() as db:
        await db.execute(text(_KILL_OTHERS))
    after = await _serve(idle)
    await idle.close()
    assert after != before


async def test_one_that_has_just_been_used_is_not_asked(database: Database, migrated: str) -> None:
    idle = Database(migrated, connections=2, name="idle")
    before = await _serve(idle)
    async with database.transaction() as db:
        await db.execute(text(_KILL_OTHERS))
    # The step that finds it gone fails, as it would had the server gone a moment later; the next has a new one.
    with pytest.raises(OperationalError):
        await _serve(idle)
    after = await _serve(idle)
    await idle.close()
    assert after != before
