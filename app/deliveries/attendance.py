"""How many held deliveries of an endpoint may go, and when its lane is attended next: the rule."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from app.deliveries import breaker, bucket
from app.deliveries.breaker import Breaker, Tally
from app.deliveries.bucket import Bucket

__all__ = ["Lane", "Limits", "freed", "holding", "left", "may_go", "revived", "told"]


@dataclass(frozen=True, slots=True)
class Lane:
    """What the engine remembers of an endpoint. `holders` are the deliveries in flight of one that bounds their number,
    each with the end of its lease: until then it holds a place, unless its conclusion gives it back."""

    endpoint_id: str
    due_at: datetime | None
    breaker: Breaker
    bucket: Bucket | None
    holders: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class Limits:
    """What an endpoint's owner has bounded, and whether it is to be rung at all."""

    is_active: bool
    max_in_flight: int | None = None
    rate_per_second: float | None = None


def may_go(lane: Lane, limits: Limits, room: int, now: datetime) -> int:
    """How many of this lane may go now, when there is room for so many."""
    if not limits.is_active:
        return 0
    permitted = breaker.permits(lane.breaker, now)
    number = room if permitted is None else min(room, permitted)
    if limits.max_in_flight is not None:
        number = min(number, limits.max_in_flight - len(_living(lane.holders, now)))
    if limits.rate_per_second is not None and number > 0:
        number, _ = bucket.taken(lane.bucket, limits.rate_per_second, number, now)
    return max(0, number)


def left(
    lane: Lane, limits: Limits, gone: Mapping[str, datetime], *, is_empty: bool, now: datetime, lease_end: datetime
) -> Lane:
    """The lane after these have gone, whose leases end then, and when it is due again."""
    if not limits.is_active:
        # Whoever makes the endpoint active makes its lane due.
        return replace(lane, due_at=None)
    state = lane.breaker
    if gone and state.state != "closed":
        state = breaker.probing(state, lease_end)
    filled = lane.bucket
    if limits.rate_per_second is not None:
        _, filled = bucket.taken(lane.bucket, limits.rate_per_second, len(gone), now)
    holders = _living(lane.holders, now)
    if limits.max_in_flight is not None:
        holders = {**holders, **gone}
    after = replace(lane, breaker=state, bucket=filled, holders=holders)
    return replace(after, due_at=None if is_empty else _due_at(after, limits, now))


def freed(lane: Lane, concluded: Collection[str], now: datetime) -> Lane:
    """The lane after these have come back: what is held may have its turn at once."""
    if not any(id in lane.holders for id in concluded):
        return lane
    holders = {id: until for id, until in lane.holders.items() if id not in concluded}
    return _looked_at_again(replace(lane, holders=holders), now)


def told(lane: Lane, tally: Tally, now: datetime, jitter: float) -> Lane:
    """The lane after these attempts have landed."""
    state = breaker.after(lane.breaker, tally, now, jitter)
    return lane if state == lane.breaker else _looked_at_again(replace(lane, breaker=state), now)


def revived(lane: Lane, now: datetime) -> Lane:
    """The lane after somebody has said that its endpoint is well: one that has been left alone for its failures is
    probed at once, and not when that time is over."""
    state = lane.breaker
    if state.state != "open" or state.opens == 0 or state.open_until is None or state.open_until <= now:
        return lane
    return replace(lane, breaker=replace(state, open_until=now), due_at=now)


def holding(lane: Lane, now: datetime) -> Lane:
    """The lane after something has been held for it."""
    at = max(now, breaker.look_at(lane.breaker) or now)
    return replace(lane, due_at=at if lane.due_at is None else min(lane.due_at, at))


def _looked_at_again(lane: Lane, now: datetime) -> Lane:
    """Due as soon as its breaker has it, if it is due at all."""
    return lane if lane.due_at is None else replace(lane, due_at=max(now, breaker.look_at(lane.breaker) or now))


def _due_at(lane: Lane, limits: Limits, now: datetime) -> datetime:
    """When the first of what is held may go, as far as this lane is concerned."""
    at = max(now, breaker.look_at(lane.breaker) or now)
    if limits.rate_per_second is not None and lane.bucket is not None:
        at = max(at, bucket.ready_at(lane.bucket, limits.rate_per_second))
    if limits.max_in_flight is not None and len(lane.holders) >= limits.max_in_flight:
        # A conclusion makes the lane due sooner. If nobody is left who could conclude, the lease ends.
        at = max(at, min(lane.holders.values()))
    return at


def _living(holders: Mapping[str, datetime], now: datetime) -> dict[str, datetime]:
    return {id: until for id, until in holders.items() if until > now}
