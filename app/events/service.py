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
_END = 10**18


class Events:
    """Reading what happened."""

    async def list(self, db: AsyncSession, agent_id: str, query: EventQuery) -> Page[Event]:
        """One page of what happened to this agent's things, the oldest or the newest first."""
        reached, limit, of = _reached(query.cursor), query.limit + 1, (query.kind, query.subject)
        if query.order == "newest":
            before = _END if reached is None else reached
            rows = await store.newest(db, agent_id, before, query.after_seq, limit, *of)
        else:
            rows = await store.since(db, agent_id, max(reached or 0, query.after_seq), limit, *of)
        return pages.page(rows, query.limit, _shown, lambda row: str(row.seq))


def _reached(cursor: str | None) -> int | None:
    """The number of the last event on the page before."""
    position = pages.decode(cursor)
    if position is not None and not _POSITION.fullmatch(position):
        raise InvalidCursor
    return None if position is None else int(position)


def _shown(row: EventRow) -> Event:
    assert row.seq is not None
    return Event(seq=row.seq, kind=row.kind, subject=row.subject, at=row.at, data=row.data)
