"""The schedule that a request is about: found by either id, locked on its conditions, shown as it stands."""

import json

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries.service import Deliveries
from app.kit.operations import require
from app.kit.preconditions import UNCONDITIONAL, Preconditions
from app.schedules import register
from app.schedules.models import Schedule
from app.schedules.shown import shown
from app.schedules.timing import Timing, timing
from tocsin.problems import Conflict
from tocsin.recurrence import InvalidRecurrence
from tocsin.schemas import schedules as wire

__all__ = ["described", "found", "locked", "require_rung", "timing_of"]


async def found(db: AsyncSession, agent_id: str, name: str) -> Schedule:
    """The agent's schedule of this name, which is its own id or the one that was chosen for it."""
    return require(await register.find(db, agent_id, name), "schedule")


async def locked(db: AsyncSession, agent_id: str, name: str, conditions: Preconditions = UNCONDITIONAL) -> Schedule:
    """The same, locked, and known to be of the version that the request has in mind."""
    schedule = require(await register.find(db, agent_id, name, lock=True), "schedule")
    conditions.check(schedule.version)
    return schedule


async def described(db: AsyncSession, schedule: Schedule) -> wire.Schedule:
    """The schedule with how far it has got."""
    return shown(schedule, (await register.progress(db, [schedule.id]))[schedule.id])


async def require_rung(db: AsyncSession, deliveries: Deliveries, schedule: Schedule) -> None:
    """Refuse a schedule whose endpoint nobody could ring."""
    if schedule.endpoint_id is None:
        raise Conflict("the endpoint of this schedule has been deleted; PATCH it with another endpoint_id")
    await deliveries.require_endpoint(db, schedule.agent_id, schedule.endpoint_id)


def timing_of(schedule: Schedule) -> Timing:
    """When its slots come. Raises Conflict for a spec that reads no more, as its zone has been dropped since."""
    try:
        return timing(json.dumps(schedule.spec), schedule.starts_at, schedule.ends_at, schedule.jitter_seconds)
    except InvalidRecurrence as refusal:
        raise Conflict(f"the relay cannot read the spec any more ({refusal}); PUT or PATCH another one") from refusal
