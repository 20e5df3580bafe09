"""Schedules: when an agent wants to be told, what a spec means, and what became of each slot."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from tocsin.problems import BadRecurrence
from tocsin.recurrence import InvalidRecurrence, Recurrence
from tocsin.recurrence.intervals import read_interval
from tocsin.schemas.wire import Json, ListQuery, Name, Query, Timestamp, Wire, rfc3339

__all__ = [
    "AskedPreview",
    "Backfill",
    "BackfillOverlap",
    "BackfillQuery",
    "BackfillState",
    "Completion",
    "Duration",
    "Fire",
    "FireKind",
    "FireQuery",
    "FireState",
    "Misfire",
    "NewBackfill",
    "NewSchedule",
    "Overlap",
    "PatchSchedule",
    "PauseSchedule",
    "PreviewWarning",
    "PreviewedFire",
    "Schedule",
    "SchedulePreview",
    "ScheduleQuery",
    "ScheduleState",
    "Spec",
    "UpcomingQuery",
]

payload_bytes_max: Final = 64 * 1024
payload_levels_max: Final = 64
"""Well below what readers of JSON stop at: a ring that its receiver cannot read would be sent for days in vain."""
preview_fires_max: Final = 100
buffer_fires_max: Final = 1_000
catch_up_fires_max: Final = 1_000
jitter_seconds_max: Final = 86_400
backfill_slots_max: Final = 10_000

ScheduleState = Literal["active", "paused", "completed"]
FireState = Literal["planned", "buffered", "fired", "skipped", "dead"]
FireKind = Literal["auto", "manual", "backfill"]
Shift = Literal["moved", "first_pass", "second_pass", "after_skipped"]
Overlap = Literal["allow", "skip", "buffer_one", "buffer_all"]
Misfire = Literal["skip", "latest", "all"]
Completion = Literal["delivery", "report"]
BackfillOverlap = Literal["allow", "skip", "buffer_all"]
BackfillState = Literal["running", "finished", "cancelled"]


def _duration(text: str) -> str:
    read_interval(text)
    return text


Duration = Annotated[str, AfterValidator(_duration), Field(examples=["PT30S", "PT1H", "P1D"])]
"""An ISO 8601 duration of whole seconds: weeks, days, hours, minutes and seconds."""


def duration(seconds: int) -> str:
    """So many seconds as a duration.

    >>> duration(90), duration(86_400), duration(90_000)
    ('PT1M30S', 'P1D', 'P1DT1H')
    """
    days, left = divmod(seconds, 86_400)
    hours, left = divmod(left, 3_600)
    time = "".join(f"{count}{unit}" for count, unit in zip((hours, *divmod(left, 60)), "HMS", strict=True) if count)
    return "P" + (f"{days}D" if days else "") + (f"T{time}" if time else "")


def _simple(required: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [required], "additionalProperties": False, "properties": properties}


_text = {"type": "string"}
_FORMS: Final = (
    (
        "cron",
        {
            "cron": {**_text, "maxLength": 256, "examples": ["0 9 * * 1-5", "30 0 9 * * *", "@hourly"]},
            "timezone": {**_text, "maxLength": 64, "default": "UTC", "examples": ["Europe/Berlin"]},
            "dst": {**_text, "enum": ["debian", "skip_gap"], "default": "debian"},
        },
    ),
    ("every", {"every": {**_text, "examples": ["PT90S", "P1D"]}, "anchor": {**_text, "format": "date-time"}}),
    ("at", {"at": {**_text, "format": "date-time"}}),
)


def _several(*unknown: str) -> dict[str, Any]:
    """A list of simple specs, which know all members but these."""
    members = [
        _simple(name, {member: shape for member, shape in properties.items() if member not in unknown})
        for name, properties in _FORMS
    ]
    return {"type": "array", "minItems": 1, "maxItems": 16, "items": {"anyOf": members}}


_MEMBERS: Final = _several()
# What is excluded goes by the wall clock, whatever changes of the clock do to slots.
_EXCLUDE: Final = _several("dst")
_SPEC_SCHEMA: Final = {
    "title": "Spec",
    "description": "A cron text in a time zone, a fixed interval, one instant, or a union of these, less what is "
    "excluded; see docs/protocol/schedules.md.",
    "anyOf": [
        *(_simple(name, {**properties, "exclude": _EXCLUDE}) for name, properties in _FORMS),
        _simple("union", {"union": _MEMBERS, "exclude": _EXCLUDE}),
        _MEMBERS,
    ],
}

Spec = Annotated[dict[str, Any] | list[dict[str, Any]], WithJsonSchema(_SPEC_SCHEMA)]
"""One of `{"cron", "timezone", "dst"}`, `{"every", "anchor"}`, `{"at"}`, `{"union": [...]}` or a list, which is a
union; all but the list may have `exclude`."""


class _HasSpec(Wire):
    spec: Spec

    def recurrence(self) -> Recurrence:
        """What the spec means. Raises BadRecurrence, which points into the spec."""
        return understood(self.spec)


def understood(spec: dict[str, Any] | list[dict[str, Any]]) -> Recurrence:
    """What a spec means. Raises BadRecurrence, which points into the spec."""
    try:
        return Recurrence.parse(spec)
    except InvalidRecurrence as refusal:
        raise bad_recurrence(refusal) from refusal


def bad_recurrence(refusal: InvalidRecurrence) -> BadRecurrence:
    """The problem that a refused spec travels as."""
    error = {"pointer": f"/spec{refusal.pointer}", "detail": str(refusal), "hint": refusal.hint}
    if refusal.position is not None:
        error["position"] = str(refusal.position)
    return BadRecurrence(errors=[error])


def _payload(value: Json) -> Json:
    if len(payload_text(value).encode()) > payload_bytes_max:
        raise ValueError(f"a payload has at most {payload_bytes_max} bytes as compact JSON")
    if _is_deeper(value, payload_levels_max):
        raise ValueError(f"a payload is nested at most {payload_levels_max} levels deep")
    return value


Payload = Annotated[
    Json,
    AfterValidator(_payload),
    Field(description="Any JSON of at most 64 KiB and 64 levels; sent along with every ring, unchanged."),
]


def _jitter(text: str) -> str:
    if read_interval(text).total_seconds() > jitter_seconds_max:
        raise ValueError('jitter is at most "P1D"')
    return text


Jitter = Annotated[Duration, AfterValidator(_jitter)]


_HEEDED: Final = {
    "buffer_max": ("overlap", "buffer_all"),
    "catch_up_max": ("misfire", "all"),
    "completion_timeout": ("completion", "report"),
    "notify_endpoint_id": ("pause_after_give_ups", None),
}
"""What is heeded only beside another member: its name and the value it has to have (None: any)."""


def refuse_contradiction(name: str, value: Any, before: Mapping[str, Any]) -> None:
    """Refuse a member that contradicts one before it, or that nothing would heed. Raises ValueError.

    A member before it that was refused itself is not in `before`, and contradicts nothing.
    """
    if name == "ends_at":
        starts_at = before.get("starts_at")
        if starts_at is not None and value < starts_at:
            raise ValueError(f"lies before starts_at, which is {rfc3339(starts_at)}")
        return
    beside, wanted = _HEEDED[name]
    if beside not in before or (before[beside] == wanted if wanted else before[beside] is not None):
        return
    present = "absent" if before[beside] is None else repr(before[beside])
    raise ValueError(f"goes with {beside}{f' {wanted!r}' if wanted else ''} only, which is {present} here")


class NewSchedule(_HasSpec):
    """A schedule to register."""

    endpoint_id: str = Field(max_length=100, description="Which endpoint of yours is rung.")
    payload: Payload = None
    name: Name | None = Field(default=None, description="For people; need not be unique.")
    starts_at: Timestamp | None = Field(default=None, description="No slot before this instant counts.")
    ends_at: Timestamp | None = Field(default=None, description="No slot after this instant counts.")
    max_fires: int | None = Field(
        default=None, ge=1, le=10**12, description="Completed once so many of its own slots have fired."
    )
    jitter: Jitter | None = Field(
        default=None,
        description="Fires so much later at most, by a share that the slot itself determines; never reaches the next "
        "slot. A day at most.",
    )
    overlap: Overlap = Field(
        default="allow",
        description="When a slot comes while an earlier run is outstanding: fire all the same, skip it, keep the first "
        "such, or keep them in order.",
    )
    buffer_max: int | None = Field(
        default=None, ge=1, le=buffer_fires_max, description="How many buffer_all keeps; 100 when absent."
    )
    misfire: Misfire = Field(
        default="latest",
        description="After an outage of the relay: skip the slots that were missed, fire the latest, or fire them all.",
    )
    catch_up_max: int | None = Field(
        default=None, ge=1, le=catch_up_fires_max, description="How many misfire all fires; 100 when absent."
    )
    catch_up_window: Duration | None = Field(
        default=None, description="Slots that were missed by more than this are skipped; without limit when absent."
    )
    completion: Completion = Field(
        default="delivery",
        description="A run is outstanding until its delivery has concluded, or until you report that it is done.",
    )
    completion_timeout: Duration | None = Field(
        default=None, description="How long a report is waited for; P1D when absent."
    )
    pause_after_give_ups: int | None = Field(
        default=None, ge=1, le=1_000, description="Paused once so many deliveries in a row were given up."
    )
    notify_endpoint_id: str | None = Field(
        default=None,
        max_length=100,
        description="Which endpoint hears of such a pause; the schedule's own when absent.",
    )

    @field_validator("ends_at", *_HEEDED)
    @classmethod
    def _agrees(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.field_name is not None:
            refuse_contradiction(info.field_name, value, info.data)
        return value


class PatchSchedule(Wire):
    """What to change of a schedule; what is left out stays. `null` takes an optional member away."""

    spec: Spec | None = None
    endpoint_id: str | None = Field(default=None, max_length=100)
    payload: Payload = None
    name: Name | None = None
    starts_at: Timestamp | None = None
    ends_at: Timestamp | None = None
    max_fires: int | None = Field(default=None, ge=1, le=10**12)
    jitter: Jitter | None = None
    overlap: Overlap | None = None
    buffer_max: int | None = Field(default=None, ge=1, le=buffer_fires_max)
    misfire: Misfire | None = None
    catch_up_max: int | None = Field(default=None, ge=1, le=catch_up_fires_max)
    catch_up_window: Duration | None = None
    completion: Completion | None = None
    completion_timeout: Duration | None = None
    pause_after_give_ups: int | None = Field(default=None, ge=1, le=1_000)
    notify_endpoint_id: str | None = Field(default=None, max_length=100)

    @field_validator("spec", "endpoint_id", "overlap", "misfire", "completion")
    @classmethod
    def _is_there(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("cannot be null: leave it out to keep it as it is")
        return value


def _is_deeper(value: Json, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    members = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(member, levels - 1) for member in members)


def payload_text(payload: Json) -> str:
    """A payload as the relay keeps and sends it. Raises ValueError for numbers that JSON cannot carry."""
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class PauseSchedule(Wire):
    """Why a schedule is paused."""

    reason: Name | None = Field(default=None, description="For people, and shown with the schedule.")


class Schedule(Wire):
    """A schedule as the relay knows it."""

    id: str = Field(description="sch_…")
    chosen_id: str | None = Field(default=None, description="The id that you chose by PUT; paths take either.")
    name: str | None = None
    spec: Spec
    endpoint_id: str | None = Field(default=None, description="Null once the endpoint has been deleted.")
    payload: Json = None
    starts_at: Timestamp | None = None
    ends_at: Timestamp | None = None
    max_fires: int | None = None
    jitter: Duration | None = None
    overlap: Overlap
    buffer_max: int | None = None
    misfire: Misfire
    catch_up_max: int | None = None
    catch_up_window: Duration | None = None
    completion: Completion
    completion_timeout: Duration | None = None
    pause_after_give_ups: int | None = None
    notify_endpoint_id: str | None = None
    state: ScheduleState = Field(description="completed: there is no further slot.")
    pause_reason: str | None = None
    paused_at: Timestamp | None = None
    version: int = Field(description="Rises with every change; the ETag of the schedule.")
    next_fire: Timestamp | None = Field(
        default=None, description="Nominal time of the next slot; null while paused and when completed."
    )
    last_fire: Timestamp | None = Field(default=None, description="Nominal time of the latest slot that fired.")
    runs: int = Field(description="How many of its slots have come: fired, or skipped at their time.")
    skipped: dict[str, int] = Field(description="How many journal entries were skipped, by reason.")
    give_ups: int = Field(
        description="How many deliveries in a row were given up; counted while pause_after_give_ups is set."
    )
    timezone_database: str | None = Field(
        default=None, description="The IANA release that next_fire was computed with; null where no zone matters."
    )
    created_at: Timestamp
    updated_at: Timestamp


class ScheduleQuery(ListQuery):
    """Which schedules, oldest first."""

    state: ScheduleState | None = None


class Fire(Wire):
    """One slot of a schedule, and what became of it."""

    id: str = Field(description="fir_…; derived from schedule, kind and nominal time.")
    schedule_id: str
    kind: FireKind = Field(description="auto: the schedule's own slot; manual: triggered; backfill: asked for later.")
    backfill_id: str | None = None
    scheduled_at: Timestamp = Field(description="The nominal time.")
    fire_at: Timestamp = Field(description="When it is due: the nominal time and its share of jitter.")
    state: FireState = Field(description="dead: given up, by the relay or by its delivery.")
    reason: str | None = Field(
        default=None,
        description="Why it was skipped or given up, such as missed, paused, changed, overlap or endpoint_deleted.",
    )
    until: Timestamp | None = Field(
        default=None, description="Skipped only: this entry stands for every slot before it, too."
    )
    run: int | None = Field(
        default=None, description="Numbers the schedule's own slots, from 1; a missed one has none."
    )
    fired_at: Timestamp | None = Field(default=None, description="When the relay handed it over.")
    lateness_ms: int | None = Field(default=None, description="From `fire_at` until the relay handed it over.")
    message_id: str | None = Field(default=None, description="The message that rings the endpoint.")
    delivery_id: str | None = None
    delivery_state: str | None = Field(default=None, description="pending, delivered, failed or cancelled.")
    attempts: int = Field(description="How often the ring was sent.")
    completed_at: Timestamp | None = Field(
        default=None, description="When the run ended, where others of its schedule wait for it."
    )


class FireQuery(ListQuery):
    """Which fires, latest slot first."""

    state: FireState | None = None
    kind: FireKind | None = None
    backfill: str | None = Field(default=None, max_length=100, description="Only those of this backfill.")
    since: Timestamp | None = Field(default=None, description="Slots at or after this instant.")
    until: Timestamp | None = Field(default=None, description="Slots before this instant.")


class NewBackfill(Wire):
    """A range of past slots to fire after all."""

    start: Timestamp = Field(description="The first instant of the range.")
    end: Timestamp = Field(description="The range ends before this instant, which may not lie in the future.")
    overlap: BackfillOverlap = Field(
        default="allow", description="Between its runs: all at once, only while none is outstanding, or in order."
    )


class BackfillQuery(ListQuery):
    """Which backfills, newest first."""


class Backfill(Wire):
    """A backfill and how far it has got."""

    id: str = Field(description="bkf_…")
    schedule_id: str
    start: Timestamp
    end: Timestamp
    overlap: BackfillOverlap
    state: BackfillState
    slots: int = Field(description="How many slots lie in its range.")
    open: int = Field(description="How many have not come to an end yet.")
    fired: int
    skipped: int
    dead: int
    created_at: Timestamp


class AskedPreview(_HasSpec):
    """A spec to look at before it is registered."""

    after: Timestamp | None = Field(default=None, description="From when on; now when absent.")
    count: int = Field(default=5, ge=1, le=preview_fires_max, description="How many slots at most.")
    starts_at: Timestamp | None = None
    ends_at: Timestamp | None = None


class UpcomingQuery(Query):
    """How many of the next slots."""

    count: int = Field(default=5, ge=1, le=preview_fires_max, description="How many slots at most.")


class PreviewedFire(Wire):
    """A slot that is to come."""

    scheduled_at: Timestamp = Field(description="The nominal time.")
    fire_at: Timestamp | None = Field(
        default=None, description="With its share of jitter, which depends on the schedule's id; null in a preview."
    )
    local: str = Field(description="The nominal time on the schedule's own clock, with its offset.")
    shift: Shift | None = Field(
        default=None,
        description="What a change of the clock does to it: moved to the end of a gap, first or second pass of a "
        "repeated hour, or coming after a slot that fell into a gap and does not fire.",
    )


class PreviewWarning(Wire):
    """Something about a spec that may not be meant."""

    code: str = Field(description="Stable, such as top_of_the_hour or leap_day_only.")
    detail: str = Field(description="For people.")


class SchedulePreview(Wire):
    """What a spec means."""

    explanation: str = Field(description="In plain English.")
    fires: list[PreviewedFire]
    warnings: list[PreviewWarning] = Field(description="What may not be meant.")
    timezone_database: str = Field(description="The IANA release that these times are computed with.")
