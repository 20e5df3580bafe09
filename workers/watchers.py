"""Watchers from the other door."""

from app.kit.due import drain
from app.services import Services


async def look(services: Services) -> None:
    """Look at every source that is due."""
    await drain(services.watchers.look_next)


async def backfill(services: Services) -> None:
    """Read the past for feeds that have to catch up."""
    await drain(services.watchers.backfill_next)
