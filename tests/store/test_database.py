"""What a connection of ours shows of what goes through it."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.kit.database import Database


async def test_an_error_does_not_show_the_values_that_it_was_about(database: Database) -> None:
    with pytest.raises(DBAPIError) as raised:
        async with database.transaction() as db:
            await db.execute(text("select :secret, 1 / :zero"), {"secret": "whsec_do-not-log-me", "zero": 0})

    assert "whsec_do-not-log-me" not in str(raised.value)
