"""A connection is asked whether it is still there when it has lain idle, and only then."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.kit import limits
from app.kit.database import Database

_KILL_OTHERS = """
    select pg_terminate_backend(pid, 5000) from pg_stat_activity
    where application_name = 'idle' and pid <> pg_backend_pid()
"""


async def _serve(database: Database) -> int:
    async with database.transaction() as db:
        return (await db.execute(text("select pg_backend_pid()"))).scalar_one()


async def _serve_at_once(database: Database, count: int) -> set[int]:
    """The server processes of so many transactions that are open together."""
    all_are_open = asyncio.Barrier(count)

    async def serve() -> int:
        async with database.transaction() as db:
            await all_are_open.wait()
            return (await db.execute(text("select pg_backend_pid()"))).scalar_one()

    return set(await asyncio.gather(*(serve() for _ in range(count))))


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


async def test_one_that_is_gone_is_replaced_alone(
    database: Database, migrated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "database_idle_seconds", 0.0)
    idle = Database(migrated, connections=4, name="idle")
    before = await _serve_at_once(idle, 4)
    last_used = await _serve(idle)
    async with database.transaction() as db:
        await db.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": last_used})
    replaced = await _serve(idle)
    after = await _serve_at_once(idle, 4)
    await idle.close()
    assert after == before - {last_used} | {replaced}


async def test_when_all_are_gone_nobody_fails(
    database: Database, migrated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "database_idle_seconds", 0.0)
    idle = Database(migrated, connections=6, name="idle")
    before = await _serve_at_once(idle, 6)
    async with database.transaction() as db:
        await db.execute(text(_KILL_OTHERS))
    one_by_one = {await _serve(idle) for _ in range(3)}
    after = await _serve_at_once(idle, 6)
    await idle.close()
    assert len(one_by_one) == 1
    assert len(after) == 6
    assert one_by_one <= after
    assert not after & before


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
