"""What happened, as its owner reads it."""

from typing import Literal

from pydantic import Field

from tocsin.schemas.wire import Json, ListQuery, Timestamp, Wire

__all__ = ["Event", "EventOrder", "EventQuery"]

EventOrder = Literal["oldest", "newest"]


class Event(Wire):
    """One thing that happened. Events are only ever appended."""

    seq: int = Field(description="Rises with every event of the relay; not without gaps.")
    kind: str = Field(description="For example `schedule.created`.")
    subject: str = Field(description="The id of what it happened to.")
    at: Timestamp
    data: dict[str, Json]


class EventQuery(ListQuery):
    """Which events, and which of them first."""

    kind: str | None = Field(default=None, max_length=100)
    subject: str | None = Field(default=None, max_length=100)
    after_seq: int = Field(default=0, ge=0, le=10**18, description="Only what came after the event of this number.")
    order: EventOrder = Field(
        default="oldest", description="Which come first. A cursor goes on in the order of the page that gave it."
    )
