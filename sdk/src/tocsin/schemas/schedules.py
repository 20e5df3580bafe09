"""Schedules: when an agent wants to be told, what a spec means, and what became of each slot."""

import json
from typing import Annotated, Any, Final, Literal

from pydantic import Field, WithJsonSchema, field_validator

from tocsin.problems import BadRecurrence
from tocsin.recurrence import InvalidRecurrence, Recurrence
from tocsin.schemas.wire import Json, ListQuery, Name, Timestamp, Wire

__all__ = [
    "AskedPreview",
    "Fire",
    "FireQuery",
    "FireState",
    "NewSchedule",
    "PreviewedFire",
    "Schedule",
    "SchedulePreview",
    "ScheduleQuery",
    "ScheduleState",
    "Spec",
]

payload_bytes_max: Final = 64 * 1024
payload_levels_max: Final = 64
"""Well below what readers of JSON stop at: a ring that its receiver cannot read would be sent for days in vain."""
preview_fires_max: Final = 100

ScheduleState = Literal["active", "paused", "completed"]
FireState = Literal["planned", "fired", "skipped", "dead"]
Shift = Literal["moved", "first_pass", "second_pass", "after_skipped"]


def _object(required: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [required], "additionalProperties": False, "properties": properties}


_text = {"type": "string"}
_SPEC_SCHEMA: Final = {
    "title": "Spec",
    "description": "A cron text in a time zone, a fixed interval, or one instant; see docs/protocol/schedules.md.",
    "anyOf": [
        _object(
            "cron",
            {
                "cron": {**_text, "maxLength": 256, "examples": ["0 9 * * 1-5", "@hourly"]},
                "timezone": {**_text, "maxLength": 64, "default": "UTC", "examples": ["Europe/Berlin"]},
                "dst": {**_text, "enum": ["debian", "skip_gap"], "default": "debian"},
            },
        ),
        _object(
            "every",
            {
                "every": {**_text, "examples": ["PT90S", "P1D"]},
                "anchor": {**_text, "format": "date-time"},
            },
        ),
        _object("at", {"at": {**_text, "format": "date-time"}}),
    ],
}

Spec = Annotated[dict[str, str], WithJsonSchema(_SPEC_SCHEMA)]
"""One of `{"cron", "timezone", "dst"}`, `{"every", "anchor"}`, `{"at"}`."""


class _HasSpec(Wire):
    spec: Spec

    def recurrence(self) -> Recurrence:
        """What the spec means. Raises BadRecurrence, which points into the spec."""
        try:
            return Recurrence.parse(self.spec)
        except InvalidRecurrence as refusal:
            raise bad_recurrence(refusal) from refusal


def bad_recurrence(refusal: InvalidRecurrence) -> BadRecurrence:
    """The problem that a refused spec travels as."""
    error = {"pointer": f"/spec{refusal.pointer}", "detail": str(refusal), "hint": refusal.hint}
    if refusal.position is not None:
        error["position"] = str(refusal.position)
    return BadRecurrence(errors=[error])


class NewSchedule(_HasSpec):
    """A schedule to register."""

    endpoint_id: str = Field(max_length=100, description="Which endpoint of yours is rung.")
    payload: Json = Field(
        default=None,
        description="Any JSON of at most 64 KiB and 64 levels; sent along with every ring, unchanged.",
    )
    name: Name | None = Field(default=None, description="For people; need not be unique.")

    @field_validator("payload")
    @classmethod
    def _fits(cls, payload: Json) -> Json:
        if len(payload_text(payload).encode()) > payload_bytes_max:
            raise ValueError(f"a payload has at most {payload_bytes_max} bytes as compact JSON")
        if _is_deeper(payload, payload_levels_max):
            raise ValueError(f"a payload is nested at most {payload_levels_max} levels deep")
        return payload


def _is_deeper(value: Json, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    members = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(member, levels - 1) for member in members)


def payload_text(payload: Json) -> str:
    """A payload as the relay keeps and sends it. Raises ValueError for numbers that JSON cannot carry."""
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Schedule(Wire):
    """A schedule as the relay knows it."""

    id: str = Field(description="sch_…")
    name: str | None = None
    spec: Spec
    endpoint_id: str | None = Field(default=None, description="Null once the endpoint has been deleted.")
    payload: Json = None
    state: ScheduleState = Field(description="completed: there is no further slot.")
    version: int
    next_fire: Timestamp | None = Field(default=None, description="Nominal time of the next slot.")
    last_fire: Timestamp | None = Field(default=None, description="Nominal time of the latest slot that fired.")
    runs: int = Field(description="How many of its slots have come: fired, or skipped at their time.")
    created_at: Timestamp
    updated_at: Timestamp


class ScheduleQuery(ListQuery):
    """Which schedules, oldest first."""

    state: ScheduleState | None = None


class Fire(Wire):
    """One slot of a schedule, and what became of it."""

    id: str = Field(description="fir_…; derived from schedule, kind and nominal time.")
    schedule_id: str
    kind: str = Field(description="auto: the schedule's own slot.")
    scheduled_at: Timestamp = Field(description="The nominal time.")
    state: FireState
    reason: str | None = Field(
        default=None,
        description="Why it was skipped or given up, such as missed, paused, changed or endpoint_deleted.",
    )
    until: Timestamp | None = Field(
        default=None, description="Skipped only: this entry stands for every slot before it, too."
    )
    run: int | None = Field(default=None, description="Numbers the slots, from 1; a slot that was missed has none.")
    fired_at: Timestamp | None = None
    lateness_ms: int | None = Field(default=None, description="From the nominal time until the relay handed it over.")
    message_id: str | None = Field(default=None, description="The message that rings the endpoint.")


class FireQuery(ListQuery):
    """Which fires, latest slot first."""

    state: FireState | None = None


class AskedPreview(_HasSpec):
    """A spec to look at before it is registered."""

    after: Timestamp | None = Field(default=None, description="From when on; now when absent.")
    count: int = Field(default=5, ge=1, le=preview_fires_max, description="How many slots at most.")


class PreviewedFire(Wire):
    """A slot that is to come."""

    scheduled_at: Timestamp
    local: str = Field(description="The same instant on the schedule's own clock, with its offset.")
    shift: Shift | None = Field(
        default=None,
        description="What a change of the clock does to it: moved to the end of a gap, first or second pass of a "
        "repeated hour, or coming after a slot that fell into a gap and does not fire.",
    )


class SchedulePreview(Wire):
    """What a spec means."""

    explanation: str = Field(description="In plain English.")
    fires: list[PreviewedFire]
    timezone_database: str = Field(description="The IANA release that these times are computed with.")
