"""What a round of the courier has found out so far: one step tells the next by it."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from app.deliveries import breaker, landings, order
from app.deliveries.attempts import GiveUp, Retry, Verdict
from app.deliveries.conclusions import Concluded
from app.deliveries.ending import Ended
from app.deliveries.landings import Landing, Load
from app.deliveries.lanes import Lanes
from app.deliveries.store import Claimed

__all__ = ["Round"]


class Round:
    """What one round has found out so far."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.judged: Sequence[tuple[Landing, Verdict]] = ()
        self.claimed = list[Claimed]()  # to fly
        self.aside = list[Claimed]()  # claimed, and to be held for their lanes
        self.orphans = list[Claimed]()  # claimed, and to be cancelled by the next round: their endpoints are no more
        self.renewed = list[Claimed]()  # claimed, and on their way from here already
        self.gone = list[Claimed]()  # whose endpoints say that they are gone
        self.concluded = list[Concluded]()  # that somebody may want to hear of
        self.freed_keys = set[order.Key]()  # whose first has concluded
        self.holders = dict[str, list[str]]()  # what has come back of endpoints that are limited
        self.hopeless = set[str]()
        self.moved = 0  # of what is counted nowhere else
        self.is_heard = False  # whether somebody was told of what has concluded
        self.loads: Sequence[Load] = ()  # what is to fly, ready for it
        self.next_look: datetime | None = None
        self._attempts = defaultdict[str, list[tuple[int | None, Verdict]]](list)
        self._straight = defaultdict[str, int](int)
        self._watched = set[str]()

    @property
    def is_for_lanes(self) -> bool:
        """Whether there is something new for lanes, or nothing else to do."""
        return bool(self.aside or self.holders) or not (self.claimed or self._attempts)

    @property
    def acted_on(self) -> int:
        """How many it did something about, besides what had landed."""
        return len(self.loads) + len(self.aside) + len(self.orphans) + len(self.hopeless) + self.moved

    def landed(self, judged: Sequence[tuple[Landing, Verdict]], ours: Collection[str]) -> None:
        """These attempts have ended; of those that were ours the outcome is written down."""
        self.judged = judged
        for landing, verdict in judged:
            claimed = landing.claimed
            self._attempts[claimed.endpoint_id].append((landing.status, verdict))
            if claimed.is_watched or not landing.is_success:
                self._watched.add(claimed.endpoint_id)
            if claimed.id not in ours:
                continue
            if isinstance(verdict, GiveUp) and verdict.gone:
                self.gone.append(claimed)
            told = landings.about(landing, verdict)
            if told is not None:
                self.concluded.append(told)
            if claimed.key is not None and not isinstance(verdict, Retry):
                self.freed_keys.add(claimed.key)
        self.ended([landing.claimed for landing, _ in judged])

    def ended(self, claimed: Sequence[Claimed]) -> None:
        """These fly no more."""
        for each in claimed:
            if each.is_limited:
                self.holders.setdefault(each.endpoint_id, []).append(each.id)

    def cancelled(self, ended: Sequence[Ended]) -> None:
        """These are cancelled, as their endpoints are no more."""
        self.concluded += [Concluded(e.subject, e.id, "cancelled") for e in ended if e.subject is not None]
        self.freed_keys |= {each.key for each in ended if each.key is not None}

    def sort(self, claimed: Sequence[Claimed], lanes: Lanes[Load]) -> None:
        """What of this goes straight, and what its lane is to let go."""
        for each in claimed:
            if each.is_for_its_lane or lanes.is_over(each.endpoint_id, self._straight[each.endpoint_id] + 1):
                self.aside.append(each)
            else:
                self.claimed.append(each)
                self._straight[each.endpoint_id] += 1

    def put_aside(self, claimed: Iterable[Claimed]) -> None:
        """These have waited here, and go back to their lanes."""
        claimed = list(claimed)
        self.aside += claimed
        self.ended(claimed)

    def claimed_for(self, endpoint_id: str) -> int:
        """How many go straight to this endpoint."""
        return self._straight[endpoint_id]

    def withdraw(self, endpoint_ids: Collection[str]) -> Sequence[Claimed]:
        """Those that would have flown to these endpoints, and do not."""
        if not endpoint_ids:
            return ()
        withdrawn = [each for each in self.claimed if each.endpoint_id in endpoint_ids]
        self.claimed = [each for each in self.claimed if each.endpoint_id not in endpoint_ids]
        return withdrawn

    def tallies(self) -> Mapping[str, breaker.Tally]:
        """What came of the attempts at endpoints that are in trouble, or were."""
        return {id: breaker.tallied(self._attempts[id]) for id in self._watched}
