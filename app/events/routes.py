"""The journal's operations."""

from app.events.service import Events
from app.kit.operations import Call, Operation
from tocsin.schemas.events import Event, EventQuery
from tocsin.schemas.wire import Page


async def list_events(call: Call[Events], query: EventQuery) -> Page[Event]:
    """List what happened to your things, oldest first; with `order=newest`, newest first.

    What a source told belongs to all who subscribe to it: read that at `/v1/subscriptions/{id}/events`.
    """
    return await call.service.list(call.db, call.agent.id, query)


OPERATIONS = (Operation("GET", "/v1/events", list_events),)
