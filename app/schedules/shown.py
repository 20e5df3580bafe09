"""Schedules, fires and backfills as agents see them."""

from datetime import timedelta
from typing import Protocol

from app.schedules.changes import terms
from app.schedules.models import Backfill, Fire, Schedule
from app.schedules.register import Progress, Tally
from tocsin.schemas import schedules as wire

__all__ = ["shown", "shown_backfill", "shown_fire"]

_AS_THEY_ARE = frozenset(
    {
        "id",
        "chosen_id",
        "state",
        "pause_reason",
        "paused_at",
        "version",
        "give_ups",
        "created_at",
        "updated_at",
    }
)


def shown(schedule: Schedule, progress: Progress) -> wire.Schedule:
    """A schedule. A slot that is planned but has not fired is still to come."""
    return wire.Schedule.model_validate(
        {
            **terms(schedule.model_dump()),
            **schedule.model_dump(include=set(_AS_THEY_ARE)),
            "next_fire": (progress.next_planned or schedule.next_fire) if schedule.state == "active" else None,
            "last_fire": progress.last_fired,
            "runs": schedule.runs - progress.planned,
            "skipped": dict(progress.skipped),
            "timezone_database": schedule.tzdata,
        }
    )


_OF_A_FIRE = frozenset(
    {
        "id",
        "schedule_id",
        "scheduled_at",
        "fire_at",
        "state",
        "reason",
        "until",
        "run",
        "fired_at",
        "message_id",
        "delivery_id",
        "completed_at",
    }
)


class Progressed(Protocol):
    """How far a delivery has got."""

    @property
    def state(self) -> str: ...

    @property
    def attempts(self) -> int: ...


def shown_fire(fire: Fire, delivery: Progressed | None) -> wire.Fire:
    """A fire, with how far its delivery has got."""
    kind, _, of = fire.kind.partition(":")
    lateness = None if fire.fired_at is None else (fire.fired_at - fire.fire_at) // timedelta(milliseconds=1)
    return wire.Fire.model_validate(
        {
            **fire.model_dump(include=set(_OF_A_FIRE)),
            "kind": kind,
            "backfill_id": of if kind == "backfill" else None,
            "lateness_ms": lateness,
            "delivery_state": delivery.state if delivery else None,
            "attempts": delivery.attempts if delivery else 0,
        }
    )


def shown_backfill(backfill: Backfill, tally: Tally) -> wire.Backfill:
    """A backfill and how far it has got."""
    state = "cancelled" if backfill.cancelled_at else "running" if tally.open else "finished"
    return wire.Backfill.model_validate(
        {
            **backfill.model_dump(include={"id", "schedule_id", "overlap", "slots", "created_at"}),
            "start": backfill.range_start,
            "end": backfill.range_end,
            "state": state,
            "open": tally.open,
            "fired": tally.fired,
            "skipped": tally.skipped,
            "dead": tally.dead,
        }
    )
