"""What nobody waits for: forget what has expired, and stop what has no owner any more."""

from app.services import Services


async def tidy(services: Services) -> None:
    """Drop nonces, kept answers, secrets and keys whose time is over, and disable the endpoints of revoked agents."""
    async with services.database.transaction() as db:
        now = await services.clock.now(db)
        await services.identity.forget(db, now)
        await services.deliveries.endpoints.leave_revoked(db, now)
        await services.deliveries.forget(db, now)
