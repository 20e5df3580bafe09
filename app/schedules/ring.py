"""What a fire tells its agent."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
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
    assert fire.spec is not None, "judged to ring"
    # After now for one that is none of the schedule's own, or stands for the past.
    after, fired_at = fire.scheduled_at if fire.is_own else now, rfc3339(now)
    told = {
        "schedule_id": fire.schedule_id,
        "chosen_id": fire.chosen_id,
        "fire_id": fire.id,
        "kind": fire.kind.partition(":")[0],
        "scheduled_at": rfc3339(fire.scheduled_at),
        "fired_at": fired_at,
        "run": fire.run,
        "previous": None if fire.previous is None else rfc3339(fire.previous),
        "upcoming": _upcoming(fire.spec, fire.starts_at, fire.ends_at, after),
        # The agent's own text, untouched: reading it and writing it again would cost time and change numbers.
        "payload": orjson.Fragment(fire.payload or "null"),
    }
    body = orjson.dumps({"type": "schedule.fired", "timestamp": fired_at, "data": told})
    return Outgoing("schedule.fired", body, [fire.endpoint_id], agent_id=fire.agent_id, subject=fire.id)


@lru_cache(maxsize=1024)
def _upcoming(spec: str, starts_at: datetime | None, ends_at: datetime | None, after: datetime) -> Sequence[str]:
    """The slots after that instant. Kept, because herds share spec and slot, and cron takes its time."""
    try:
        slots = timing(spec, starts_at, ends_at, 0).slots_after(after)
        return [rfc3339(slot) for slot in islice(slots, limits.upcoming_fires_max)]
    except InvalidRecurrence:
        # A newer time zone database may have dropped its zone. This slot was promised, and nothing comes after it.
        return []
