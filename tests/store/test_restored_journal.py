"""After a logical restore into another cluster, one documented step makes the journal readable again."""

import re
from pathlib import Path

from sqlalchemy import text

from app.events import Happened, record, store
from app.kit.database import Database
from tests.world import EPOCH

PAGE = Path(__file__).parents[2] / "docs" / "operating" / "README.md"


async def test_restored_events_are_hidden_until_their_writers_are_reset(database: Database) -> None:
    [step] = re.findall(r"```sql\n(update events .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    async with database.transaction() as db:
        await record(db, Happened("test.happened", "before", "agt_1", EPOCH))
        # As if the cluster that wrote it had been much older than this one.
        await db.execute(text("update events set writer = writer + 1000000000"))
    assert await _seen(database) == []

    async with database.transaction() as db:
        await db.execute(text(step))
        await record(db, Happened("test.happened", "after", "agt_1", EPOCH))

    assert await _seen(database) == ["before", "after"]


async def _seen(database: Database) -> list[str]:
    async with database.transaction() as db:
        return [event.subject for event in await store.since(db, "agt_1", 0, 100)]
