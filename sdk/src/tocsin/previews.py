"""What a spec means and when it fires, computed here: no relay, no key, and `now` comes in.

>>> from datetime import UTC, datetime
>>> weekdays = {"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"}
>>> seen = preview(AskedPreview(spec=weekdays, count=1), now=datetime(2027, 3, 26, 12, tzinfo=UTC))
>>> seen.explanation, seen.fires[0].local
('At 09:00 on Monday through Friday, Europe/Berlin time', '2027-03-29T09:00:00.000+02:00')

`POST /v1/schedules/preview` answers the same, with the relay's clock and its release of the time zone database.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

from tocsin.recurrence import Occurrence, Recurrence, zone_database_version
from tocsin.schemas.schedules import AskedPreview, PreviewedFire, PreviewWarning, SchedulePreview

__all__ = ["preview", "previewed"]

FireAt = Callable[[datetime], datetime]
"""When a slot is due, with its share of jitter."""


def preview(asked: AskedPreview, now: datetime) -> SchedulePreview:
    """What a spec means, its next slots within the bounds, and what may not be meant.

    Raises BadRecurrence, which points into the spec.
    """
    recurrence = asked.recurrence().within(asked.starts_at, asked.ends_at)
    after = asked.after or now
    return previewed(recurrence, recurrence.preview(after, asked.count), after)


def previewed(
    recurrence: Recurrence, slots: Iterable[Occurrence], after: datetime, fire_at: FireAt | None = None
) -> SchedulePreview:
    """What a recurrence means after a moment, with these slots of it."""
    fires = [_shown(slot, fire_at) for slot in slots]
    # What has jitter crowds nowhere, and need not be told to add it.
    has_jitter = any(fire.fire_at not in (None, fire.scheduled_at) for fire in fires)
    warnings = (one for one in recurrence.warnings(after) if not (has_jitter and one.code == "top_of_the_hour"))
    return SchedulePreview(
        explanation=recurrence.explain(),
        fires=fires,
        warnings=[PreviewWarning(code=one.code, detail=one.sentence) for one in warnings],
        timezone_database=zone_database_version,
    )


def _shown(slot: Occurrence, fire_at: FireAt | None) -> PreviewedFire:
    return PreviewedFire(
        scheduled_at=slot.at,
        fire_at=None if fire_at is None else fire_at(slot.at),
        local=slot.local.isoformat(timespec="milliseconds"),
        shift=slot.shift.value if slot.shift else None,
    )
