"""What a connection of ours shows of what goes through it, and what is counted of what goes wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, OperationalError, PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncSession

from app.identity.models import Agent
from app.kit.clock import SystemClock
from app.kit.database import Database
from tests.world import EPOCH


@pytest.fixture
async def lonely_database(migrated: str) -> AsyncIterator[Database]:
    """A database by a single connection: whoever comes next gets the one that was given back."""
    opened = Database(migrated, connections=1, name="tests")
    yield opened
    await opened.close()


async def test_an_error_does_not_show_the_values_that_it_was_about(database: Database) -> None:
    with pytest.raises(DBAPIError) as raised:
        async with database.transaction() as db:
            await db.execute(text("select :secret, 1 / :zero"), {"secret": "whsec_do-not-log-me", "zero": 0})

    assert "whsec_do-not-log-me" not in str(raised.value)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("57P01", "away"),  # shut down by its operator
        ("53100", "full"),  # no disk
        ("53300", "full"),  # no connections
        ("40P01", "conflict"),  # a deadlock
    ],
)
async def test_what_ails_the_database_is_counted(database: Database, code: str, kind: str) -> None:
    before = _errors(kind)

    with pytest.raises(DBAPIError):
        await _raise(database, code)

    assert _errors(kind) == before + 1


async def test_what_the_database_refuses_when_it_is_well_is_not_counted(database: Database) -> None:
    before = [_errors(kind) for kind in ("away", "full", "busy", "conflict")]

    with pytest.raises(DBAPIError):
        await _raise(database, "23505")  # a row that is there already

    assert [_errors(kind) for kind in ("away", "full", "busy", "conflict")] == before


async def test_a_database_that_nobody_answers_for_is_away() -> None:
    nobody = Database("postgresql://nobody@127.0.0.1:1/none")
    before = _errors("away")

    with pytest.raises(OperationalError):
        async with nobody.transaction() as db:
            await db.execute(text("select 1"))

    assert _errors("away") == before + 1
    await nobody.close()


async def test_text_is_taken_with_named_values_and_signs_of_percent(database: Database) -> None:
    async with database.transaction() as db:
        rows = await db.execute(
            text("select :a || '%' as joined, 7 % 4 as rest, null as none"), {"a": "50", "unused": 1}
        )

    row = rows.one()
    assert (row.joined, row.rest, row.none) == ("50%", 3, None)


async def test_text_sees_what_was_only_added_once_it_is_flushed(database: Database) -> None:
    count = text("select count(*) from agents where id = 'agt_new'")
    async with database.transaction() as db:
        db.add(Agent(id="agt_new", created_at=EPOCH))
        before = (await db.execute(count)).scalar_one()
        await db.flush()
        after = (await db.execute(count)).scalar_one()

    assert (before, after) == (0, 1)


async def test_text_and_objects_are_one_transaction(database: Database) -> None:
    insert = text("insert into agents (id, created_at) values ('agt_gone', :at)")

    async def fail_after_both() -> None:
        async with database.transaction() as db:
            await db.execute(insert, {"at": EPOCH})
            db.add(Agent(id="agt_gone_too", created_at=EPOCH))
            await db.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_after_both()
    async with database.transaction() as db:
        assert (await db.scalars(select(Agent).where(Agent.id.like("agt_gone%")))).all() == []  # pyright: ignore


async def test_what_a_savepoint_takes_back_is_taken_back_for_text_too(database: Database) -> None:
    insert = text("insert into agents (id, created_at) values (:id, :at)")
    async with database.transaction() as db:
        await db.execute(insert, {"id": "agt_kept", "at": EPOCH})
        async with db.begin_nested() as savepoint:
            await db.execute(insert, {"id": "agt_taken_back", "at": EPOCH})
            await savepoint.rollback()

    async with database.transaction() as db:
        ids = await db.execute(text("select id from agents where id in ('agt_kept', 'agt_taken_back')"))
        assert ids.scalars().all() == ["agt_kept"]


async def test_an_error_of_text_has_the_name_that_sqlalchemy_gives_it(database: Database) -> None:
    twice = text("insert into agents (id, created_at) values ('agt_twice', now()), ('agt_twice', now())")
    with pytest.raises(IntegrityError):
        async with database.transaction() as db:
            await db.execute(twice)


async def test_a_connection_that_the_server_ended_is_given_to_nobody(lonely_database: Database) -> None:
    ended = text("select pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(OperationalError):
        async with lonely_database.transaction() as db:
            await db.execute(ended)

    async with lonely_database.transaction() as db:
        assert (await db.execute(text("select 1"))).scalar_one() == 1


async def test_whoever_is_cancelled_in_a_statement_leaves_a_connection_that_works(lonely_database: Database) -> None:
    async def wait_for_ever() -> None:
        async with lonely_database.transaction() as db:
            asyncio.get_running_loop().call_soon(waiting.cancel)
            await db.execute(text("select pg_sleep(3600)"))

    waiting = asyncio.create_task(wait_for_ever())
    with pytest.raises(asyncio.CancelledError):
        await waiting

    async with lonely_database.transaction() as db:
        assert (await db.execute(text("select 1"))).scalar_one() == 1


@pytest.mark.parametrize("again_after_seconds", [0.0, 0.001, 0.002])
async def test_whoever_is_cancelled_twice_ends_by_that_and_not_by_what_came_of_the_connection(
    lonely_database: Database, again_after_seconds: float
) -> None:
    async def wait_for_ever() -> None:
        async with lonely_database.transaction() as db:
            is_asking.set()
            await db.execute(text("select pg_sleep(3600)"))

    is_asking = asyncio.Event()
    waiting = asyncio.create_task(wait_for_ever())
    await is_asking.wait()
    waiting.cancel()
    asyncio.get_running_loop().call_later(again_after_seconds, waiting.cancel)
    with pytest.raises(asyncio.CancelledError):
        await waiting

    async with lonely_database.transaction() as db:
        assert (await db.execute(text("select 1"))).scalar_one() == 1


async def test_whoever_is_cancelled_while_the_server_is_gone_ends_by_that(
    database: Database, lonely_database: Database
) -> None:
    async def wait_for_ever() -> None:
        async with lonely_database.transaction() as db:
            pid = (await db.execute(text("select pg_backend_pid()"))).scalar_one()
            async with database.transaction() as other:
                await other.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            is_gone.set()
            await asyncio.Event().wait()

    is_gone = asyncio.Event()
    waiting = asyncio.create_task(wait_for_ever())
    await is_gone.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    async with lonely_database.transaction() as db:
        assert (await db.execute(text("select 1"))).scalar_one() == 1


async def test_a_session_says_nothing_once_its_transaction_has_ended(lonely_database: Database) -> None:
    async with lonely_database.transaction() as ended:
        await ended.execute(text("select 1"))

    async with lonely_database.transaction():  # by the same connection
        with pytest.raises(InvalidRequestError, match="has ended"):
            await ended.execute(text("select 1"))
        with pytest.raises(InvalidRequestError, match="has ended"):
            await ended.scalars(select(Agent))


async def test_a_session_that_kept_objects_says_nothing_either_once_its_transaction_has_ended(
    lonely_database: Database,
) -> None:
    async with lonely_database.transaction() as ended:
        await ended.scalars(select(Agent))

    async with lonely_database.transaction():  # by the same connection
        with pytest.raises(InvalidRequestError):
            await ended.scalars(select(Agent))


async def test_what_text_did_is_taken_back_by_a_rollback_and_nothing_is_said_after_it(database: Database) -> None:
    insert = text("insert into agents (id, created_at) values (:id, :at)")
    async with database.transaction() as db:
        await db.execute(insert, {"id": "agt_gone", "at": EPOCH})
        await db.rollback()
        with pytest.raises(InvalidRequestError, match="has ended"):
            await db.execute(insert, {"id": "agt_late", "at": EPOCH})

    assert await _agents(database) == []


async def test_text_says_nothing_after_a_flush_that_failed(database: Database) -> None:
    insert = text("insert into agents (id, created_at) values (:id, :at)")

    async def go_on() -> None:
        async with database.transaction() as db:
            await db.execute(insert, {"id": "agt_twice", "at": EPOCH})
            db.add(Agent(id="agt_twice", created_at=EPOCH))
            with suppress(IntegrityError):
                await db.flush()
            await db.execute(insert, {"id": "agt_late", "at": EPOCH})

    with pytest.raises(InvalidRequestError, match="has ended"):
        await go_on()
    assert await _agents(database) == []


@pytest.mark.parametrize("with_objects", [False, True])
async def test_what_failed_and_was_caught_is_not_taken_for_durable(
    lonely_database: Database, with_objects: bool
) -> None:
    insert = text("insert into agents (id, created_at) values ('agt_lost', :at)")

    async def go_on() -> None:
        async with lonely_database.transaction() as db:
            if with_objects:
                await db.scalars(select(Agent))
            await db.execute(insert, {"at": EPOCH})
            with suppress(DBAPIError):
                await db.execute(text("select 1 / 0"))

    with pytest.raises(PendingRollbackError, match="savepoint"):
        await go_on()
    assert await _agents(lonely_database) == []  # by the same connection, which is as good as new


async def test_an_object_that_failed_and_was_caught_is_not_taken_for_durable(lonely_database: Database) -> None:
    async def go_on() -> None:
        async with lonely_database.transaction() as db:
            await db.execute(text("insert into agents (id, created_at) values ('agt_twice', :at)"), {"at": EPOCH})
            db.add(Agent(id="agt_twice", created_at=EPOCH))
            with suppress(IntegrityError):
                await db.flush()

    with pytest.raises(PendingRollbackError):
        await go_on()
    assert await _agents(lonely_database) == []


async def test_a_connection_that_was_lost_and_was_not_missed_is_not_taken_for_durable(
    lonely_database: Database,
) -> None:
    async def go_on() -> None:
        async with lonely_database.transaction() as db:
            await db.execute(text("insert into agents (id, created_at) values ('agt_lost', :at)"), {"at": EPOCH})
            with suppress(OperationalError):
                await db.execute(text("select pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(PendingRollbackError):
        await go_on()
    assert await _agents(lonely_database) == []


async def test_what_failed_in_a_savepoint_leaves_the_rest_durable(database: Database) -> None:
    async def fail(db: AsyncSession) -> None:
        async with db.begin_nested():
            await db.execute(text("select 1 / 0"))

    async with database.transaction() as db:
        await db.execute(text("insert into agents (id, created_at) values ('agt_kept', :at)"), {"at": EPOCH})
        with suppress(DBAPIError):
            await fail(db)

    assert await _agents(database) == ["agt_kept"]


async def test_a_block_that_ends_while_another_task_makes_a_savepoint_gives_its_connection_back(
    lonely_database: Database,
) -> None:
    async def save(db: AsyncSession) -> None:
        async with db.begin_nested():
            await db.execute(text("select 1"))

    async def fail_beside() -> None:
        async with lonely_database.transaction() as db:
            besides.append(asyncio.create_task(save(db)))
            await asyncio.sleep(0)
            raise ZeroDivisionError

    besides: list[asyncio.Task[None]] = []
    # Whether by its own error or by SQLAlchemy's refusal to be closed just then.
    with pytest.raises((ZeroDivisionError, InvalidRequestError)):
        await fail_beside()
    await asyncio.gather(*besides, return_exceptions=True)

    async with lonely_database.transaction() as db:
        assert (await db.execute(text("select 1"))).scalar_one() == 1


async def test_what_is_asked_one_by_one_is_asked_by_the_same_connection(database: Database) -> None:
    async def backend() -> int:
        async with database.transaction() as db:
            return (await db.execute(text("select pg_backend_pid()"))).scalar_one()

    await asyncio.gather(*(backend() for _ in range(4)))  # opens several

    assert len({await backend() for _ in range(8)}) == 1


async def test_text_that_asks_for_all_columns_has_those_that_there_are_by_now(database: Database) -> None:
    ask = text("select * from pg_temp.altered")
    async with database.transaction() as db:
        await db.execute(text("create temporary table altered (a integer, b integer) on commit drop"))
        await db.execute(text("insert into pg_temp.altered values (1, 2)"))
        before = (await db.execute(ask)).mappings().one()
        await db.execute(text("alter table pg_temp.altered drop column a"))
        after = (await db.execute(ask)).mappings().one()

    assert (before, after) == ({"a": 1, "b": 2}, {"b": 2})


async def test_the_time_goes_on_within_a_transaction_and_is_never_ahead_of_the_servers(database: Database) -> None:
    clock = SystemClock()
    async with database.transaction() as db:
        first = await clock.now(db)
        server = (await db.execute(text("select clock_timestamp()"))).scalar_one()
        second = await clock.now(db)

    assert first <= server
    assert first < second < server + timedelta(seconds=10)
    assert first.utcoffset() == timedelta()


async def _agents(database: Database) -> list[str]:
    async with database.transaction() as db:
        return list((await db.execute(text("select id from agents"))).scalars())


async def _raise(database: Database, code: str) -> None:
    async with database.transaction() as db:
        await db.execute(text(f"do $$ begin raise exception using errcode = '{code}'; end $$"))


def _errors(kind: str) -> float:
    return REGISTRY.get_sample_value("tocsin_database_errors_total", {"kind": kind}) or 0.0
