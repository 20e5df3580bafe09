"""What a fire tells its agent."""

from datetime import datetime
from itertools import islice

import orjson

from app.deliveries.service import Outgoing
from app.kit import limits
from app.schedules.firing import Ripe
from app.schedules.timing import timing
from tocsin.recurrence import InvalidRecurrence
from tocsin.schemas.wire import rfc3339

__all__ = ["outgoing"]


def outgoing(fire: Ripe, now: datetime) -> Outgoing:
    """The ring, as `tocsin.schemas.webhooks.ScheduleFired` describes it."""
    assert fire.endpoint_id is not None, "judged to ring"
    told = {
        "schedule_id": fire.schedule_id,
        "chosen_id": fire.chosen_id,
        "fire_id": fire.id,
        "kind": fire.kind.partition(":")[0],
        "scheduled_at": rfc3339(fire.scheduled_at),
        "fired_at": rfc3339(now),
        "run": fire.run,
        "previous": None if fire.previous is None else rfc3339(fire.previous),
        "upcoming": [rfc3339(slot) for slot in _upcoming(fire, now)],
        # The agent's own text, untouched: reading it and writing it again would cost time and change numbers.
        "payload": orjson.Fragment(fire.payload or "null"),
    }
    body = orjson.dumps({"type": "schedule.fired", "timestamp": rfc3339(now), "data": told})
    return Outgoing("schedule.fired", body, [fire.endpoint_id], agent_id=fire.agent_id, subject=fire.id)


def _upcoming(fire: Ripe, now: datetime) -> list[datetime]:
    """The slots after this one; after now for one that is none of the schedule's own, or stands for the past."""
    assert fire.spec is not None, "judged to ring"
    try:
        slots = timing(fire.spec, fire.starts_at, fire.ends_at, 0).slots_after(
            fire.scheduled_at if fire.is_own else now
        )
        return list(islice(slots, limits.upcoming_fires_max))
    except InvalidRecurrence:
        # A newer time zone database may have dropped its zone. This slot was promised, and nothing comes after it.
        return []
