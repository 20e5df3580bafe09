"""What a PUT or a PATCH changes of a schedule, and what becomes of its open fires: values in, values out."""

import json
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from app.schedules.timing import Timing
from tocsin.problems import InvalidBody
from tocsin.recurrence.intervals import read_interval
from tocsin.schemas.schedules import NewSchedule, PatchSchedule, duration, payload_text

__all__ = [
    "Change",
    "NoChange",
    "Open",
    "Withdrawal",
    "columns",
    "difference",
    "first_free",
    "merged",
    "terms",
    "withdrawn",
]

_TIMING: Final = frozenset({"spec", "starts_at", "ends_at", "jitter_seconds"})
_COLUMN_OF: Final = {
    "jitter": "jitter_seconds",
    "catch_up_window": "catch_up_seconds",
    "completion_timeout": "completion_seconds",
    "pause_after_give_ups": "pause_after",
}
_MEMBER_OF: Final = {column: member for member, column in _COLUMN_OF.items()}
_DURATIONS: Final = ("jitter", "catch_up_window", "completion_timeout")


@dataclass(frozen=True, slots=True)
class NoChange:
    """Everything is as it was asked for."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different from now on."""

    columns: Mapping[str, Any]

    @property
    def timing(self) -> bool:
        """Whether it may change when the schedule fires."""
        return not _TIMING.isdisjoint(self.columns)

    @property
    def members(self) -> list[str]:
        """What changes, in the words of the wire."""
        return sorted(_MEMBER_OF.get(column, column) for column in self.columns)


def columns(asked: NewSchedule) -> dict[str, Any]:
    """What an agent asks for, as columns."""
    members = asked.model_dump()
    members |= {name: _seconds(members[name]) for name in _DURATIONS}
    members |= {"jitter": members["jitter"] or 0, "payload": payload_text(asked.payload)}
    return {_COLUMN_OF.get(member, member): value for member, value in members.items()}


def terms(row: Mapping[str, Any]) -> dict[str, Any]:
    """What an agent has asked for, as members, by the columns of its schedule."""
    members = {member: row[_COLUMN_OF.get(member, member)] for member in NewSchedule.model_fields}
    members |= {name: duration(members[name]) if members[name] else None for name in _DURATIONS}
    return members | {"payload": json.loads(row["payload"])}


def merged(row: Mapping[str, Any], patch: PatchSchedule) -> NewSchedule:
    """The schedule as it would be with this patch. Raises InvalidBody where the whole would contradict itself."""
    whole = terms(row) | patch.model_dump(exclude_unset=True)
    if whole["endpoint_id"] is None:
        raise InvalidBody.at("/endpoint_id", "the endpoint of this schedule has been deleted; name another one")
    try:
        return NewSchedule.model_validate(whole)
    except ValidationError as error:
        raise InvalidBody(errors=[_refusal(e["loc"], e["msg"]) for e in error.errors(include_url=False)]) from error


def difference(row: Mapping[str, Any], asked: NewSchedule) -> Change | NoChange:
    """What has to change of a schedule to be as it is asked for."""
    wanted = columns(asked)
    changed = {column: value for column, value in wanted.items() if _differs(row[column], value, column)}
    return Change(changed) if changed else NoChange()


@dataclass(frozen=True, slots=True)
class Open:
    """A fire that has not come to its end."""

    id: str
    kind: str
    # Its time had come, but others were before it: it is buffered, or has just been let go.
    waits: bool
    scheduled_at: datetime
    previous: datetime | None


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What becomes of the open fires of a schedule that will not fire as it was planned to."""

    unplanned: Sequence[Open]
    """Still to come: taken out of the journal, as if they had never been planned. In the order of their slots."""
    skipped: Sequence[Open]
    """Their time has come."""


def withdrawn(opened: Iterable[Open], now: datetime, *, waiting: bool) -> Withdrawal:
    """Withdraw these slots of a schedule's own; those that wait for their turn if asked to."""
    planned = sorted((fire for fire in opened if not fire.waits), key=lambda fire: fire.scheduled_at)
    return Withdrawal(
        unplanned=[fire for fire in planned if fire.scheduled_at > now],
        skipped=[fire for fire in opened if (waiting if fire.waits else fire.scheduled_at <= now)],
    )


def first_free(timing: Timing, after: datetime, taken: AbstractSet[datetime]) -> datetime | None:
    """The first slot later than `after` that is not in the journal already."""
    return next((slot for slot in timing.slots_after(after) if slot not in taken), None)


def _seconds(text: str | None) -> int | None:
    return None if text is None else read_interval(text) // timedelta(seconds=1)


def _differs(present: Any, asked: Any, column: str) -> bool:
    if column == "spec":
        # As text: 1 and true are equal in Python.
        return json.dumps(present, sort_keys=True) != json.dumps(asked, sort_keys=True)
    return present != asked


def _refusal(place: Sequence[int | str], detail: str) -> dict[str, str]:
    return {"pointer": "".join(f"/{step}" for step in place), "detail": detail.removeprefix("Value error, ")}
