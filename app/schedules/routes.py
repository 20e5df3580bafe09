"""The operations of schedules."""

from app.kit.operations import Call, Operation
from app.schedules.service import Schedules
from tocsin.problems import BadRecurrence, Conflict, EndpointNotActive, NotFound
from tocsin.schemas.schedules import (
    AskedPreview,
    Fire,
    FireQuery,
    NewSchedule,
    Schedule,
    SchedulePreview,
    ScheduleQuery,
)
from tocsin.schemas.wire import Page


async def create_schedule(call: Call[Schedules], body: NewSchedule) -> Schedule:
    """Create a schedule.

    Each slot rings the endpoint with `schedule.fired`. An instant that passed less than a minute ago fires at once; one
    that lies further back is refused.
    """
    schedule = await call.service.create(call.db, call.agent.id, body, call.now)
    if call.service.is_soon(schedule, call.now):
        call.ring("schedules")
    return schedule


async def list_schedules(call: Call[Schedules], query: ScheduleQuery) -> Page[Schedule]:
    """List your schedules, oldest first."""
    return await call.service.list(call.db, call.agent.id, query)


async def preview_schedule(call: Call[Schedules], body: AskedPreview) -> SchedulePreview:
    """Look at a spec before you register it.

    Shows what it means in plain English, its next slots, and what changes of the clock do to them.
    """
    return call.service.preview(body, call.now)


async def get_schedule(call: Call[Schedules], id: str) -> Schedule:
    """Show a schedule."""
    return await call.service.get(call.db, call.agent.id, id)


async def delete_schedule(call: Call[Schedules], id: str) -> None:
    """Delete a schedule.

    Nothing of it fires any more, not even what was planned for this very second.
    """
    await call.service.delete(call.db, call.agent.id, id, call.now)


async def list_fires(call: Call[Schedules], id: str, query: FireQuery) -> Page[Fire]:
    """List the slots of a schedule and what became of each, latest first."""
    return await call.service.list_fires(call.db, call.agent.id, id, query)


OPERATIONS = (
    Operation(
        "POST",
        "/v1/schedules",
        create_schedule,
        status=201,
        price="$0.001",
        problems=(BadRecurrence, NotFound, EndpointNotActive, Conflict),
    ),
    Operation("GET", "/v1/schedules", list_schedules),
    Operation("POST", "/v1/schedules/preview", preview_schedule, problems=(BadRecurrence,)),
    Operation("GET", "/v1/schedules/{id}", get_schedule),
    Operation("DELETE", "/v1/schedules/{id}", delete_schedule, status=204),
    Operation("GET", "/v1/schedules/{id}/fires", list_fires),
)
