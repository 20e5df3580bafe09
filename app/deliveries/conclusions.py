"""What becomes of deliveries, told to the feature that they are about."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

__all__ = ["Concluded", "Conclusions", "Listener", "answer_bytes_max"]

answer_bytes_max = 1024


@dataclass(frozen=True, slots=True)
class Concluded:
    """A delivery that is on its way no more, and what its message was about.

    `answer` is the beginning of what a receiver said that took it: bytes of a stranger's.
    """

    subject: str
    delivery_id: str
    state: Literal["delivered", "failed", "cancelled"]
    answer: bytes = b""


class Listener(Protocol):
    """A feature that wants to know what becomes of its messages."""

    async def concluded(self, db: AsyncSession, conclusions: Sequence[Concluded], now: datetime) -> bool:
        """Called in the transaction that concludes these deliveries, once it has locked all that it locks of ours.

        So what is written here is as durable as the conclusion, and is done once for each, though a delivery that is
        sent again concludes again. Schedules and fires may be locked; deliveries and endpoints may not. An exception
        undoes the conclusion, too: the answers are kept, and told again until they are taken.

        True: ring "schedules" once it has committed.
        """
        ...

    async def endpoint_leaves(self, db: AsyncSession, endpoint_id: str, subjects: Sequence[str]) -> None:
        """Called before an endpoint is deleted, which is locked, and before its deliveries about these subjects are
        told of: to lock whatever refers to either, in the order in which others lock it. The deletion would go by an
        order of its own."""
        ...


class Conclusions:
    """Passes on what has concluded to the one who listens."""

    def __init__(self) -> None:
        self._listener: Listener | None = None

    def listen(self, listener: Listener) -> None:
        """Tell this one from now on, and no other."""
        self._listener = listener

    async def tell(self, db: AsyncSession, conclusions: Sequence[Concluded], now: datetime) -> bool:
        """As `Listener.concluded`; False when nobody listens."""
        if self._listener is None or not conclusions:
            return False
        return await self._listener.concluded(db, conclusions, now)

    async def endpoint_leaves(self, db: AsyncSession, endpoint_id: str, subjects: Sequence[str]) -> None:
        """As `Listener.endpoint_leaves`."""
        if self._listener is not None:
            await self._listener.endpoint_leaves(db, endpoint_id, subjects)
