"""What nobody waits for: forget what has expired, and stop what has no owner any more."""

from app.kit.due import drain
from app.services import Services


async def tidy(services: Services) -> None:
    """Drop nonces, kept answers, secrets and keys whose time is over, disable endpoints that have no owner or have
    expired, and end subscriptions that have none."""
    async with services.database.transaction() as db:
        now = await services.clock.now(db)
        await services.identity.forget(db, now)
        await services.deliveries.endpoints.leave_revoked(db, now)
        await services.deliveries.forget(db, now)
        await services.deliveries.endpoints.expire(db, now)
    await drain(services.subscriptions.leave_revoked_next)


async def retain(services: Services) -> None:
    """Make room for the weeks to come, give up what is too old, then drop the weeks of which all is, and what watchers
    saw and feeds said so long ago."""
    await drain(services.deliveries.retention.make_room_next)
    await drain(services.deliveries.retention.expire_next)
    await drain(services.deliveries.retention.drop_next)
    await drain(services.subscriptions.forget_next)
