"""Deliveries from the other door."""

from app.kit.due import drain
from app.services import Services


async def deliver(services: Services) -> None:
    """Attempt every delivery that is due."""
    await drain(services.deliveries.deliver_next)
    if services.deliveries.in_flight:
        # The drain has reached its bound under load. It goes on at once, unless the worker is about to stop.
        services.wake.ring("deliveries")


async def land(services: Services) -> None:
    """See through what is still in flight, once nothing more is claimed and no bell starts a drain any more."""
    while services.deliveries.in_flight:
        await services.deliveries.deliver_next()


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
