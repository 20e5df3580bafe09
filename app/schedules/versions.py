"""A new version of a schedule that we have locked: what every change comes to, and a pause, whoever asks for it."""

from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.events import Happened, record
from app.schedules import journal, register
from app.schedules.models import Schedule
from tocsin.problems import NotFound
from tocsin.schemas.wire import rfc3339

__all__ = ["happened", "new_version", "pause"]


async def pause(db: AsyncSession, schedule: Schedule, reason: str | None, now: datetime) -> None:
    """Let none of its own slots fire from now on. Paused already, it is only given another reason."""
    opened = await register.lock_own(db, schedule.id)
    if schedule.state == "active":
        await journal.withdraw(db, schedule, opened, "paused", now, waiting=True)
        schedule.state, schedule.paused_at = "paused", now
    schedule.pause_reason = reason
    await new_version(db, schedule, now)
    await record(db, happened("paused", schedule, now, reason=reason))


async def new_version(db: AsyncSession, schedule: Schedule, now: datetime) -> None:
    """Count the change; the open fires, which we have locked, are those of the new version."""
    schedule.version += 1
    schedule.updated_at = now
    try:
        await db.flush()
    except IntegrityError as error:  # of the only foreign key that a change can touch
        raise NotFound("there is no such endpoint") from error
    await register.carry_along(db, schedule.id, schedule.version)


def happened(verb: str, schedule: Schedule, now: datetime, **more: Any) -> Happened:
    """The event of what was done with a schedule."""
    told = {
        "chosen_id": schedule.chosen_id,
        "name": schedule.name,
        "version": schedule.version,
        "next_fire": None if schedule.next_fire is None else rfc3339(schedule.next_fire),
    }
    return Happened(f"schedule.{verb}", schedule.id, schedule.agent_id, now, told | more)
