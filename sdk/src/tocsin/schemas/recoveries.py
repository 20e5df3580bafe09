"""Recoveries: deliveries of a span of time, sent again at a measured pace."""

from typing import Annotated, Literal

from pydantic import Field

from tocsin.schemas.wire import ListQuery, Timestamp, Wire

__all__ = ["NewRecovery", "NewRedrive", "RecoverableState", "Recovery", "RecoveryQuery", "RecoveryState"]

RecoverableState = Literal["failed", "cancelled", "delivered"]

RecoveryState = Literal["running", "done", "cancelled"]

Rate = Annotated[float, Field(ge=0.1, le=500, description="Deliveries a second that are set on their way.")]
Type = Annotated[str, Field(min_length=1, max_length=200)]


class NewRecovery(Wire):
    """What was sent to an endpoint and is to be sent again."""

    since: Timestamp = Field(description="From what was sent then on; as far back as the relay keeps deliveries.")
    until: Timestamp | None = Field(default=None, description="What was sent before then; default: now.")
    states: list[RecoverableState] = Field(
        default=["failed", "cancelled"],
        min_length=1,
        max_length=3,
        description="With `delivered`, also what has arrived is sent again, with the same webhook-id.",
    )
    type: Type | None = Field(default=None, description="Only messages of this type.")
    rate_per_second: Rate = 50


class NewRedrive(Wire):
    """Dead letters, which have failed for good, and are to be sent again."""

    endpoint: str | None = Field(default=None, max_length=100, description="Only those to this endpoint.")
    type: Type | None = Field(default=None, description="Only messages of this type.")
    since: Timestamp | None = Field(
        default=None, description="From what was sent then on; default: as far back as the relay keeps deliveries."
    )
    until: Timestamp | None = Field(default=None, description="What was sent before then; default: now.")
    rate_per_second: Rate = 50


class Recovery(Wire):
    """A recovery and how far it has got."""

    id: str = Field(description="rec_…")
    endpoint_id: str | None = Field(default=None, description="Null: of all your endpoints.")
    states: list[RecoverableState]
    type: str | None = None
    since: Timestamp
    until: Timestamp
    rate_per_second: float
    state: RecoveryState
    total: int = Field(description="How many there were when it began.")
    sent: int = Field(description="How many it has set on their way again.")
    skipped: int = Field(
        description="How many it has passed by: expunged, or their endpoint deleted; in the end also those that had "
        "been sent again by others."
    )
    eta: Timestamp | None = Field(default=None, description="When it may have come to its end, at its rate.")
    created_at: Timestamp
    ended_at: Timestamp | None = None


class RecoveryQuery(ListQuery):
    """Which recoveries, newest first."""

    state: RecoveryState | None = None
