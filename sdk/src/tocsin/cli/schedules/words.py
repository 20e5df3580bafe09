"""Schedules in a person's words."""

import json
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tocsin.cli.show import local, with_offset

# The schemas are imported where they are needed: `tocsin --help` should not wait for them.
if TYPE_CHECKING:
    from tocsin.schemas.schedules import Backfill, Fire, PreviewedFire, Schedule

SHIFTS = {
    "moved": "moved: the clock leaps over its time that day",
    "first_pass": "the first of two: the clock shows this time twice that day",
    "second_pass": "the second of two: the clock shows this time twice that day",
    "after_skipped": "the one before does not fire: the clock leaps over its time",
}

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_TERMS = (
    "starts_at",
    "ends_at",
    "max_fires",
    "jitter",
    "overlap",
    "buffer_max",
    "completion",
    "completion_timeout",
    "misfire",
    "catch_up_max",
    "catch_up_window",
    "pause_after_give_ups",
    "notify_endpoint_id",
)


def meaning(spec: dict[str, Any] | list[dict[str, Any]]) -> str:
    """A spec in plain English, or as it is where a newer relay knows more than we do."""
    from tocsin.recurrence import InvalidRecurrence, Recurrence

    try:
        return Recurrence.parse(spec).explain()
    except InvalidRecurrence:
        return json.dumps(spec, ensure_ascii=False)


def described(schedule: "Schedule") -> dict[str, Any]:
    """What is to be said of a schedule, by name: whatever is not as it would be by default."""
    told: dict[str, Any] = {
        "state": state(schedule),
        "name": schedule.name,
        "endpoint": schedule.endpoint_id or "deleted",
    }
    told |= unusual(schedule)
    told |= {"payload": schedule.payload, "version": schedule.version, "runs": schedule.runs or None}
    told["skipped"] = ", ".join(f"{count} {reason}" for reason, count in sorted(schedule.skipped.items()) if count)
    told["given up"] = f"the latest {schedule.give_ups} in a row" if schedule.give_ups else None
    return {name: value for name, value in told.items() if value not in (None, "")}


def state(schedule: "Schedule") -> str:
    """How it is, and why."""
    if schedule.state != "paused":
        return schedule.state
    since = "" if schedule.paused_at is None else f" since {with_offset(schedule.paused_at)}"
    reason = "" if schedule.pause_reason is None else f": {schedule.pause_reason}"
    return f"paused{since}{reason}"


def unusual(schedule: "Schedule") -> dict[str, Any]:
    """The terms that differ from what they are by default."""
    from tocsin.schemas.schedules import NewSchedule

    terms = schedule.model_dump(mode="json", include=set(_TERMS))
    return {name: terms[name] for name in _TERMS if terms[name] != NewSchedule.model_fields[name].default}


def fate(fire: "Fire") -> str:
    """What became of a slot, up to its delivery."""
    kind = "" if fire.kind == "auto" else f" ({fire.kind})"
    delivery = f", {fire.delivery_state}" if fire.state == "fired" and fire.delivery_state else ""
    return f"{fire.state}{delivery}{kind}"


def cause(fire: "Fire") -> str:
    """Why a slot was skipped or given up."""
    upto = "" if fire.until is None else f", and all up to {local(fire.until)}"
    return f"{fire.reason or ''}{upto}"


def lateness(fire: "Fire") -> str:
    """How late a slot was handed over."""
    if fire.lateness_ms is None:
        return ""
    if fire.lateness_ms < 1_000:
        return f"{fire.lateness_ms} ms"
    return length(timedelta(milliseconds=fire.lateness_ms))


def slot(fire: "PreviewedFire") -> str:
    """A slot on its schedule's own clock, with the offset."""
    at = datetime.fromisoformat(fire.local)
    fraction = f".{at.microsecond // 1000:03d}" if at.microsecond else ""
    return f"{at:%a %Y-%m-%d %H:%M:%S}{fraction} {at.isoformat()[-6:]}"


def remark(fire: "PreviewedFire") -> str:
    """What is special about a slot: a change of the clock, and how much jitter puts it off."""
    put_off = (fire.fire_at or fire.scheduled_at) - fire.scheduled_at
    jitter = f"fires {put_off.total_seconds():.3f} s later" if put_off else ""
    shift = SHIFTS.get(fire.shift, fire.shift) if fire.shift else ""
    return "; ".join(part for part in (jitter, shift) if part)


def progress(backfill: "Backfill") -> str:
    """How far a backfill has got."""
    done = backfill.slots - backfill.open
    parts = ("fired", backfill.fired), ("skipped", backfill.skipped), ("given up", backfill.dead)
    became = ", ".join(f"{count} {name}" for name, count in parts if count)
    return f"{done} of {backfill.slots} slots" + (f": {became}" if became else "")


def away(at: datetime, now: datetime) -> str:
    """How far off an instant is."""
    return f"in {length(at - now)}" if at > now else f"{length(now - at)} ago"


def length(span: timedelta) -> str:
    """A length of time in its largest unit, and the next one while that matters."""
    seconds = int(span.total_seconds())
    for (unit, size), (smaller, part) in pairwise(_UNITS):
        if seconds >= size:
            count, rest = seconds // size, seconds % size // part
            return f"{count} {unit}" + (f" {rest} {smaller}" if rest and count < 10 else "")
    return f"{seconds} s"
