"""Subscriptions from the other door."""

from app.kit.due import drain
from app.services import Services


async def fan_out(services: Services) -> None:
    """Set everything that was told of a source on its way to those who subscribe."""
    await drain(services.subscriptions.fan_out_next)
