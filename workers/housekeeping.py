"""Forget what has expired."""

from app.services import Services


async def tidy(services: Services) -> None:
    """Drop nonces and kept answers whose time is over."""
    async with services.database.transaction() as db:
        await services.identity.forget(db, await services.clock.now(db))
