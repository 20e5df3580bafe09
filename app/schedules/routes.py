"""The operations of schedules."""

from app.kit.operations import Call, Operation, Reply
from app.kit.preconditions import Preconditions
from app.schedules.service import Schedules
from tocsin.problems import BadRecurrence, Conflict, EndpointNotActive, InvalidId, NotFound
from tocsin.schemas.schedules import (
    AskedPreview,
    Backfill,
    BackfillQuery,
    Fire,
    FireQuery,
    NewBackfill,
    NewSchedule,
    PatchSchedule,
    PauseSchedule,
    Schedule,
    SchedulePreview,
    ScheduleQuery,
    UpcomingQuery,
)
from tocsin.schemas.wire import Page


async def create_schedule(call: Call[Schedules], body: NewSchedule) -> Reply[Schedule]:
    """Create a schedule.

    Each slot rings the endpoint with `schedule.fired`. An instant that passed less than a minute ago fires at once; one
    that lies further back is refused.
    """
    return _replied(call, await call.service.create(call.db, call.agent.id, body, call.now))


async def list_schedules(call: Call[Schedules], query: ScheduleQuery) -> Page[Schedule]:
    """List your schedules, oldest first."""
    return await call.service.list(call.db, call.agent.id, query)


async def preview_schedule(call: Call[Schedules], body: AskedPreview) -> SchedulePreview:
    """Look at a spec before you register it.

    Shows what it means in plain English, its next slots, and what changes of the clock do to them.
    """
    return await call.service.preview(body, call.now)


async def get_schedule(call: Call[Schedules], id: str) -> Reply[Schedule]:
    """Show a schedule."""
    shown = await call.service.get(call.db, call.agent.id, id)
    return Reply(shown, shown.version)


async def put_schedule(call: Call[Schedules], id: str, body: NewSchedule, conditions: Preconditions) -> Reply[Schedule]:
    """Create or replace a schedule under an id of your choice.

    The id is yours to choose, unless it begins with `sch_`: those are the relay's own, and take a schedule that is
    there. If everything is already as you ask, nothing changes, and what is planned stays planned.
    """
    shown, created = await call.service.put(call.db, call.agent.id, id, body, call.now, conditions)
    return _replied(call, shown, created=created)


async def patch_schedule(
    call: Call[Schedules], id: str, body: PatchSchedule, conditions: Preconditions
) -> Reply[Schedule]:
    """Change some of a schedule.

    What is left out stays. A change of `spec`, `starts_at`, `ends_at` or `jitter` plans the slots to come anew, and
    none that has come fires again.
    """
    return _replied(call, await call.service.patch(call.db, call.agent.id, id, body, call.now, conditions))


async def delete_schedule(call: Call[Schedules], id: str, conditions: Preconditions) -> None:
    """Delete a schedule.

    Nothing of it fires any more, not even what was planned for this very second. Its journal stays, under the id that
    begins with `sch_`.
    """
    await call.service.lifecycle.delete(call.db, call.agent.id, id, call.now, conditions)


async def pause_schedule(
    call: Call[Schedules], id: str, body: PauseSchedule, conditions: Preconditions
) -> Reply[Schedule]:
    """Pause a schedule.

    None of its slots fires until it is resumed. What is triggered or backfilled fires all the same.
    """
    shown = await call.service.lifecycle.pause(call.db, call.agent.id, id, body.reason, call.now, conditions)
    call.ring("schedules")  # what is backfilled may have waited for what does not fire now
    return _replied(call, shown)


async def resume_schedule(call: Call[Schedules], id: str, conditions: Preconditions) -> Reply[Schedule]:
    """Resume a paused schedule.

    It goes on with its next slot to come; those that passed are in the journal as skipped. To have them after all,
    backfill them.
    """
    return _replied(call, await call.service.lifecycle.resume(call.db, call.agent.id, id, call.now, conditions))


async def trigger_schedule(call: Call[Schedules], id: str, conditions: Preconditions) -> Fire:
    """Fire a schedule now.

    Beside its own slots, which go on as they would have, and also while it is paused or completed.
    """
    fire = await call.service.lifecycle.trigger(call.db, call.agent.id, id, call.now, conditions)
    call.ring("schedules")
    return fire


async def skip_next_fire(call: Call[Schedules], id: str, conditions: Preconditions) -> Fire:
    """Skip exactly the next slot.

    Answers the slot, which is now in the journal as skipped; the one after it is the next. Send an `Idempotency-Key`:
    a repeat without one skips another.
    """
    return await call.service.lifecycle.skip_next(call.db, call.agent.id, id, call.now, conditions)


async def list_upcoming_fires(call: Call[Schedules], id: str, query: UpcomingQuery) -> SchedulePreview:
    """Show when a schedule fires next.

    As things stand: within its bounds, with each slot's share of jitter, without slots that you have skipped. While it
    is paused: as if it were resumed now.
    """
    return await call.service.upcoming(call.db, call.agent.id, id, query.count, call.now)


async def list_fires(call: Call[Schedules], id: str, query: FireQuery) -> Page[Fire]:
    """List the slots of a schedule and what became of each, latest first.

    The journal of a deleted schedule is found under the id that begins with `sch_`.
    """
    return await call.service.list_fires(call.db, call.agent.id, id, query)


async def complete_fire(call: Call[Schedules], id: str, fire_id: str) -> Fire:
    """Report that a run is done.

    With `"completion": "report"` a run is outstanding until then, or until its time is up; what waits for it goes on.
    To report it with the answer to the webhook instead, answer 2xx with `{"completed": true}`.
    """
    fire = await call.service.lifecycle.complete(call.db, call.agent.id, id, fire_id, call.now)
    call.ring("schedules")
    return fire


async def create_backfill(call: Call[Schedules], id: str, body: NewBackfill, conditions: Preconditions) -> Backfill:
    """Fire the slots of a range of the past after all.

    Each under a fire id of its own, also those that fired at their time. At a bounded rate, and never ahead of what is
    due now.
    """
    backfill = await call.service.backfills.start(call.db, call.agent.id, id, body, call.now, conditions)
    call.ring("schedules")
    return backfill


async def list_backfills(call: Call[Schedules], id: str, query: BackfillQuery) -> Page[Backfill]:
    """List the backfills of a schedule, newest first."""
    return await call.service.backfills.list(call.db, call.agent.id, id, query)


async def get_backfill(call: Call[Schedules], id: str, backfill_id: str) -> Backfill:
    """Show a backfill and how far it has got."""
    return await call.service.backfills.get(call.db, call.agent.id, id, backfill_id)


async def cancel_backfill(call: Call[Schedules], id: str, backfill_id: str) -> Backfill:
    """Cancel a backfill.

    What has not fired yet is skipped. One that has come to its end stays as it is.
    """
    backfill = await call.service.backfills.cancel(call.db, call.agent.id, id, backfill_id, call.now)
    call.ring("schedules")  # slots of its own may have waited for what does not fire now
    return backfill


def _replied(call: Call[Schedules], shown: Schedule, *, created: bool = False) -> Reply[Schedule]:
    """The schedule as it is now. Wakes the planners if it is due sooner than they look by themselves."""
    if call.service.is_soon(shown, call.now):
        call.ring("schedules")
    return Reply(shown, shown.version, created=created)


_OF_A_NEW_ONE = (BadRecurrence, NotFound, EndpointNotActive, Conflict)

OPERATIONS = (
    Operation("POST", "/v1/schedules", create_schedule, status=201, price="$0.001", problems=_OF_A_NEW_ONE),
    Operation("GET", "/v1/schedules", list_schedules),
    Operation("POST", "/v1/schedules/preview", preview_schedule, problems=(BadRecurrence,)),
    Operation("GET", "/v1/schedules/{id}", get_schedule),
    Operation(
        "PUT", "/v1/schedules/{id}", put_schedule, creates=True, price="$0.001", problems=(*_OF_A_NEW_ONE, InvalidId)
    ),
    Operation("PATCH", "/v1/schedules/{id}", patch_schedule, problems=_OF_A_NEW_ONE),
    Operation("DELETE", "/v1/schedules/{id}", delete_schedule, status=204),
    Operation("POST", "/v1/schedules/{id}/pause", pause_schedule, problems=(Conflict,)),
    Operation("POST", "/v1/schedules/{id}/resume", resume_schedule, problems=(Conflict,)),
    Operation(
        "POST", "/v1/schedules/{id}/trigger", trigger_schedule, status=202, problems=(Conflict, EndpointNotActive)
    ),
    Operation("POST", "/v1/schedules/{id}/skip-next", skip_next_fire, problems=(Conflict,)),
    Operation("GET", "/v1/schedules/{id}/upcoming", list_upcoming_fires, problems=(Conflict,)),
    Operation("GET", "/v1/schedules/{id}/fires", list_fires),
    Operation("POST", "/v1/schedules/{id}/fires/{fire_id}/complete", complete_fire, problems=(Conflict,)),
    Operation(
        "POST",
        "/v1/schedules/{id}/backfill",
        create_backfill,
        status=201,
        problems=(Conflict, EndpointNotActive),
    ),
    Operation("GET", "/v1/schedules/{id}/backfills", list_backfills),
    Operation("GET", "/v1/schedules/{id}/backfills/{backfill_id}", get_backfill),
    Operation("DELETE", "/v1/schedules/{id}/backfills/{backfill_id}", cancel_backfill),
)
