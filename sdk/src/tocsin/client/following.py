"""Following a subscription: its feed read in order, each entry checked against the one before."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, overload

from tocsin.client.calls import Area, Call, get, segment
from tocsin.feeds import Entry, Follower, Fork, Gap, InOrder
from tocsin.schemas.subscriptions import EventPage, FeedPosition, Subscription

if TYPE_CHECKING:
    from tocsin.client import AsyncClient, Client

__all__ = ["BrokenSequence", "following"]

_page = 100


class BrokenSequence(Exception):
    """What the relay gives does not hang together: it has told two stories, or kept something back."""

    def __init__(self, seq: int, reason: str) -> None:
        super().__init__(f"entry {seq}: {reason}")
        self.seq = seq
        self.reason = reason


class following:
    """A method that follows a subscription: on a `Client` an iterator that blocks, on an `AsyncClient` one to await.

    What it decorates only describes it.
    """

    def __init__(self, described: Callable[..., None]) -> None:
        self.__doc__ = described.__doc__
        self.__name__ = described.__name__

    @overload
    def __get__(self, area: "Area[Client]", owner: Any = None) -> "_Blocking": ...
    @overload
    def __get__(self, area: "Area[AsyncClient]", owner: Any = None) -> "_Awaiting": ...
    def __get__(self, area: Any, owner: Any = None) -> Any:
        from tocsin.client import Client

        if area is None:
            return self
        return _Blocking(area.client) if isinstance(area.client, Client) else _Awaiting(area.client)


class _Blocking:
    def __init__(self, client: "Client") -> None:
        self._client = client

    def __call__(self, id: str, after: FeedPosition | int | None = None, wait_seconds: int = 25) -> Iterator[Entry]:
        reading = _Reading(self._client.send(_subscription(id)), after)
        while True:
            bodies = self._client.send(reading.next(wait_seconds)).bodies or []
            for body in bodies:
                yield from reading.checked(body)
            if not bodies and not wait_seconds:
                return


class _Awaiting:
    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def __call__(
        self, id: str, after: FeedPosition | int | None = None, wait_seconds: int = 25
    ) -> AsyncIterator[Entry]:
        reading = _Reading(await self._client.send(_subscription(id)), after)
        while True:
            bodies = (await self._client.send(reading.next(wait_seconds))).bodies or []
            for body in bodies:
                for entry in reading.checked(body):
                    yield entry
            if not bodies and not wait_seconds:
                return


def _subscription(id: str) -> Call[Subscription]:
    return get(f"/v1/subscriptions/{segment(id)}", Subscription)


class _Reading:
    """Reads on from a place. Who names none begins where the subscription does, or with the oldest that is kept.

    So does who names a number alone, from there on: what the entry of this number was is not known to be checked.
    """

    def __init__(self, subscription: Subscription, after: FeedPosition | int | None) -> None:
        self._id = subscription.id
        joined = subscription.joins_after
        place = after if isinstance(after, FeedPosition) else joined
        self._by_number = isinstance(after, int) and after > joined.seq
        begins_after = after if isinstance(after, int) and self._by_number else place.seq
        self._follower = Follower(subscription.feed_id, begins_after, place.hash)
        self._may_begin_later = not isinstance(after, FeedPosition)

    def next(self, wait_seconds: int) -> Call[EventPage]:
        """What to ask next."""
        path = f"/v1/subscriptions/{segment(self._id)}/events"
        after = self._follower.seq
        return get(path, EventPage, wait_seconds, after_seq=after, wait=wait_seconds, limit=_page, exact="true")

    def checked(self, body: str) -> tuple[Entry, ...]:
        """The entry, if it is the next and follows the one before."""
        if self._may_begin_later:
            self._follower.begin_with(body.encode(), whatever_was_before=self._by_number)
            self._may_begin_later = False
        match self._follower.take(body.encode()):
            case InOrder(entries):
                return entries
            case Gap(after_seq, before_seq):
                raise BrokenSequence(after_seq + 1, f"it is missing: the relay goes on with {before_seq}")
            case Fork(seq, reason):
                raise BrokenSequence(seq, reason)
            case _:
                return ()
