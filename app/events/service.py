"""The verbs of the journal."""

import re

from sqlalchemy.ext.asyncio import AsyncSession

from app.events import store
from app.events.models import Event as EventRow
from app.kit import pages
from tocsin.problems import InvalidCursor
from tocsin.schemas.events import Event, EventQuery
from tocsin.schemas.wire import Page

_POSITION = re.compile(r"[0-9]{1,18}")


class Events:
    """Reading what happened."""

    async def list(self, db: AsyncSession, agent_id: str, query: EventQuery) -> Page[Event]:
        """One page of what happened to this agent's things, oldest first."""
        after = pages.decode(query.cursor) or "0"
        if not _POSITION.fullmatch(after):
            raise InvalidCursor
        after_seq = max(int(after), query.after_seq)
        rows = await store.since(db, agent_id, after_seq, query.limit + 1, query.kind, query.subject)
        return pages.page(rows, query.limit, _shown, lambda row: str(row.seq))


def _shown(row: EventRow) -> Event:
    assert row.seq is not None
    return Event(seq=row.seq, kind=row.kind, subject=row.subject, at=row.at, data=row.data)
