"""What a connection of ours shows of what goes through it, and what is counted of what goes wrong."""

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

from app.kit.database import Database


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


async def _raise(database: Database, code: str) -> None:
    async with database.transaction() as db:
        await db.execute(text(f"do $$ begin raise exception using errcode = '{code}'; end $$"))


def _errors(kind: str) -> float:
    return REGISTRY.get_sample_value("tocsin_database_errors_total", {"kind": kind}) or 0.0
