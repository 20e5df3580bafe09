"""The lanes of one worker: what waits for a place, by endpoint, and what flies.

Lanes take turns, and each takes off only while its endpoint's share of the places allows, and its host's. So what is
slow or dead waits in its own lane, and in nobody's way.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import inf
from typing import Generic, Protocol, TypeVar

from app.deliveries.shares import ahead_max, may_fly, may_wait

__all__ = ["Lanes", "Waiting"]

paces_max = 10_000  # endpoints whose pace is remembered while nothing of theirs is here
pace_flights_max = 32  # the running mean is over about so many
# How long a first flight may take before an endpoint whose pace is unknown passes for one that takes that long.
unknown_seconds = 0.25


class Waiting(Protocol):
    """What can wait in a lane. Hosts are shared by the endpoints of all tenants."""

    @property
    def id(self) -> str: ...

    @property
    def endpoint_id(self) -> str: ...

    @property
    def host(self) -> str: ...


T = TypeVar("T", bound=Waiting)


@dataclass(slots=True)
class Pace:
    """How long an endpoint keeps a place, as a running mean of seconds."""

    seconds: float
    flights: int = 1

    def learn(self, seconds: float) -> None:
        self.flights = min(self.flights + 1, pace_flights_max)
        self.seconds += (seconds - self.seconds) / self.flights


@dataclass(slots=True)
class Lane(Generic[T]):
    """One endpoint's. `flying` is ordered by take-off, with its time."""

    endpoint_id: str
    pace: Pace | None
    waiting: deque[T] = field(default_factory=deque[T])
    flying: dict[str, float] = field(default_factory=dict[str, float])
    landed_at: float = -inf
    is_queued: bool = False


class Lanes(Generic[T]):
    """What waits and what flies, and whose turn it is."""

    def __init__(self, places: int, host_places: int, monotonic: Callable[[], float]) -> None:
        self._places = places
        self._host_places = host_places
        self._monotonic = monotonic
        self._lanes: dict[str, Lane[T]] = {}
        self._paces: dict[str, Pace] = {}
        self._hosts: dict[str, int] = {}
        # A lane in which something waits is in one of these: its turn comes, its share is used, or its host's.
        self._turns: deque[Lane[T]] = deque()
        self._over_share: dict[str, Lane[T]] = {}
        self._at_host: dict[str, deque[Lane[T]]] = {}
        self._waiting = self._flying = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._waiting

    def put(self, items: Iterable[T]) -> None:
        """Let these wait for their turn."""
        for item in items:
            lane = self._lane(item.endpoint_id)
            lane.waiting.append(item)
            self._waiting += 1
            self._settle(lane)

    def take(self) -> T | None:
        """The next that may take off, which it thereby does; None when nothing waits or nothing may."""
        while self._turns and self._flying < self._places:
            lane = self._turns.popleft()
            lane.is_queued = False
            if not lane.waiting:
                self._settle(lane)
                continue
            if not self._may_fly(lane):
                lane.is_queued = True
                self._over_share[lane.endpoint_id] = lane
                continue
            host = lane.waiting[0].host
            if self._hosts.get(host, 0) >= self._host_places:
                lane.is_queued = True
                self._at_host.setdefault(host, deque()).append(lane)
                continue
            item = lane.waiting.popleft()
            lane.flying[item.id] = self._monotonic()
            self._hosts[host] = self._hosts.get(host, 0) + 1
            self._waiting -= 1
            self._flying += 1
            self._settle(lane)
            return item
        return None

    def landed(self, item: T) -> None:
        """This one has given its place back."""
        lane = self._lanes[item.endpoint_id]
        lane.landed_at = self._monotonic()
        self._learn(lane, lane.landed_at - lane.flying.pop(item.id))
        self._flying -= 1
        self._leave(item.host)
        if self._over_share.pop(lane.endpoint_id, None) is not None:
            lane.is_queued = False
        self._settle(lane)

    def look_again(self) -> None:
        """Ask again for those that were passed over: others may have given places back."""
        over_share, self._over_share = self._over_share, {}
        at_host, self._at_host = self._at_host, {}
        for lane in chain(over_share.values(), *at_host.values()):
            lane.is_queued = False
            self._settle(lane)

    # What may come in, and what has to go

    def room(self, endpoint_id: str) -> int:
        """How many more of this endpoint may wait here."""
        lane = self._lanes.get(endpoint_id)
        bound = min(may_wait(self._places, self._pace(endpoint_id, lane)), ahead_max)
        return max(0, int(bound) - (len(lane.waiting) if lane else 0))

    def full(self) -> Sequence[str]:
        """The endpoints of which no more may wait here."""
        return [id for id, lane in self._lanes.items() if lane.waiting and self.room(id) == 0]

    def busy(self, waiting_min: int) -> Sequence[str]:
        """The endpoints of which at least so many wait here."""
        return [id for id, lane in self._lanes.items() if len(lane.waiting) >= waiting_min]

    def is_over(self, endpoint_id: str, more: int) -> bool:
        """Whether so many more of this endpoint would be too many."""
        lane = self._lanes.get(endpoint_id)
        bound = may_wait(self._places, self._pace(endpoint_id, lane))
        return (len(lane.waiting) if lane else 0) + more > bound

    def give_up(self) -> Sequence[T]:
        """Let go of what waits too long: the last of each lane that has too many, as its endpoint is slower than it
        seemed when they came."""
        left: list[T] = []
        for id, lane in self._lanes.items():
            bound = may_wait(self._places, self._pace(id, lane))
            # Twice as many, so that nothing goes to and fro when a pace wavers.
            if len(lane.waiting) > 2 * bound:
                left += [lane.waiting.pop() for _ in range(len(lane.waiting) - int(bound))]
        self._waiting -= len(left)
        return left

    def _lane(self, endpoint_id: str) -> Lane[T]:
        lane = self._lanes.get(endpoint_id)
        if lane is None:
            lane = self._lanes[endpoint_id] = Lane(endpoint_id, self._paces.get(endpoint_id))
        return lane

    def _settle(self, lane: Lane[T]) -> None:
        """Give the lane its next turn; or forget it, when nothing of it is here."""
        if lane.is_queued:
            return
        if lane.waiting:
            lane.is_queued = True
            self._turns.append(lane)
        elif not lane.flying:
            self._lanes.pop(lane.endpoint_id, None)

    def _may_fly(self, lane: Lane[T]) -> bool:
        free = self._places - self._flying
        return may_fly(len(lane.flying), free, self._places, self._pace(lane.endpoint_id, lane))

    def _pace(self, endpoint_id: str, lane: Lane[T] | None) -> float | None:
        """The mean, or the time for which all of its flights have been silent, when that is longer already."""
        if lane is None:
            pace = self._paces.get(endpoint_id)
            return pace.seconds if pace else None
        mean = lane.pace.seconds if lane.pace else None
        if not lane.flying:
            return mean
        silent = self._monotonic() - max(lane.landed_at, next(iter(lane.flying.values())))
        if mean is None:
            return silent if silent > unknown_seconds else None
        return max(mean, silent)

    def _learn(self, lane: Lane[T], seconds: float) -> None:
        if lane.pace is not None:
            lane.pace.learn(seconds)
            return
        lane.pace = self._paces[lane.endpoint_id] = Pace(seconds)
        if len(self._paces) > paces_max:
            del self._paces[next(iter(self._paces))]

    def _leave(self, host: str) -> None:
        count = self._hosts[host] - 1
        if count:
            self._hosts[host] = count
        else:
            del self._hosts[host]
        waiting = self._at_host.get(host)
        if waiting:
            lane = waiting.popleft()
            lane.is_queued = False
            self._settle(lane)
            if not waiting:
                del self._at_host[host]
