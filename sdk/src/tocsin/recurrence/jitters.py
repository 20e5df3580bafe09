"""How long after its nominal time a slot fires, when its schedule spreads its fires."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

_MILLISECOND: Final = timedelta(milliseconds=1)


def jitter(schedule_id: str, scheduled_at: datetime, limit: timedelta, following: datetime | None) -> timedelta:
    """The delay of one slot: whole milliseconds, below `limit` and below the gap to the `following` slot.

    The same slot has the same delay wherever and however often it is computed, so agents can know it, too.

        >>> nine = datetime(2026, 11, 22, 9, tzinfo=UTC)
        >>> jitter("sch_06nnr80c3zv4w9d2k7s5y8t0fm", nine, timedelta(minutes=5), nine + timedelta(hours=1))
        datetime.timedelta(seconds=229, microseconds=756000)
    """
    bound = limit if following is None else min(limit, following - scheduled_at)
    choices = -(-bound // _MILLISECOND)  # rounded up: there are two whole numbers below 1.5
    return hashed(schedule_id, scheduled_at) % choices * _MILLISECOND if choices > 0 else timedelta()


def hashed(schedule_id: str, scheduled_at: datetime) -> int:
    """The number that a slot draws: the first eight bytes of the SHA-256 of its schedule's id, a space and its time."""
    moment = scheduled_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return int.from_bytes(hashlib.sha256(f"{schedule_id} {moment}".encode()).digest()[:8], "big")
