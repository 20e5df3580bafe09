"""Deliveries from the other door."""

from app.kit import limits
from app.kit.database import AWAY
from app.kit.due import drain
from app.services import Services


async def deliver(services: Services) -> None:
    """Attempt every delivery that is due."""
    await drain(services.deliveries.deliver_next)
    if services.deliveries.in_flight:
        # The drain has reached its bound under load. It goes on at once, unless the worker is about to stop.
        services.wake.ring("deliveries")


async def land(services: Services) -> None:
    """See through what is still in flight, once nothing more is claimed and no bell starts a drain any more.

    What has been answered and is not concluded is sent again. So a database that is away, or breaks off one
    transaction, is tried again for a few seconds before it is left to that.
    """
    clock, away_since = services.clock, None
    while services.deliveries.in_flight:
        try:
            await services.deliveries.deliver_next()
            away_since = None
        except AWAY:
            away_since = clock.monotonic() if away_since is None else away_since
            if clock.monotonic() - away_since >= limits.last_conclusions_seconds:
                raise
            await clock.sleep(limits.conclude_again_seconds)


def hurry(services: Services) -> None:
    """Something new is due while others are still in flight."""
    services.deliveries.hurry()


async def look(services: Services) -> None:
    """Look at what is due and held, for who watches."""
    await services.deliveries.look()


async def verify(services: Services) -> None:
    """Challenge every endpoint that has to prove that it wants to be rung."""
    await drain(services.deliveries.verify_next)


async def recover(services: Services) -> None:
    """Set the next batch of every recovery that is due on its way."""
    await drain(services.deliveries.recoveries.recover_next)
