"""Subscriptions from the other door."""

from app.kit.due import drain
from app.services import Services


async def feed(services: Services) -> None:
    """Let every feed that is due say what there is to say."""
    await drain(services.subscriptions.feed_next)
