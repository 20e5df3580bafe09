"""The operations of watchers."""

from app.kit.operations import Call, Operation
from app.watchers.service import Watchers
from tocsin.schemas.watchers import Watcher, WatcherQuery
from tocsin.schemas.wire import Page


async def list_watchers(call: Call[Watchers], query: WatcherQuery) -> Page[Watcher]:
    """List the watchers of what you subscribe to."""
    return await call.service.list(call.db, call.agent.id, query)


OPERATIONS = (Operation("GET", "/v1/watchers", list_watchers),)
