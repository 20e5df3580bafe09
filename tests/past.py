"""Deliveries of the past, written straight into the tables: with ids that say when they were made."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from app.deliveries import store
from app.deliveries.store import Addressed, NewMessage
from app.kit.database import Database
from app.kit.ids import Ids


@dataclass(frozen=True)
class Past:
    """A delivery that there was."""

    id: str
    message_id: str


async def sent(
    database: Database,
    endpoint_id: str,
    at: datetime,
    state: str = "failed",
    *,
    type: str = "test.said",
    agent_id: str | None = None,
    subject: str | None = None,
    body: str = '{"type":"test.said","data":{}}',
) -> Past:
    """Write down a delivery that was made then, and that is in this state by now."""
    ids = Ids(lambda: int(at.timestamp() * 1000))
    message, delivery = NewMessage(ids.new("msg"), agent_id, type, body, subject), ids.new("dlv")
    async with database.transaction() as db:
        await store.add(db, [message], [Addressed(delivery, message.id, endpoint_id)], at)
        if state != "pending":
            await db.execute(
                text(
                    """
                    update deliveries set state = :state, due_at = null, concluded_at = :at, attempts = 10
                    where id = :id
                    """
                ),
                {"state": state, "at": at, "id": delivery},
            )
    return Past(delivery, message.id)
