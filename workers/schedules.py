"""Plan what falls due, and fire it at its time."""

from app.kit import limits
from app.kit.due import drain
from app.services import Services


async def plan(services: Services) -> None:
    """Plan every slot of the next few seconds, and take over what other workers left behind."""
    await drain(services.schedules.plan_next)
    await drain(services.schedules.take_over_next)


async def fire(services: Services) -> None:
    """Hand over every fire whose time has come; sets the bell for the next.

    Hand-overs are a few milliseconds apart, unless there are more than one takes: what falls due meanwhile then goes
    together, instead of each in a transaction of its own.
    """
    for _ in range(limits.drain_rounds_max):
        handed = await services.schedules.fire_next()
        if handed == 0:
            return
        if handed < limits.fire_batch_max:
            await services.clock.sleep(limits.fires_apart_seconds)
    # The bound is reached under load, and no bell is set. It goes on at once, unless the worker is about to stop.
    services.wake.ring("fires")


async def catch_up(services: Services) -> None:
    """Hand over a few of the fires that are late by intent: one round, as the rounds are what bounds their rate."""
    await services.schedules.catch_up_next()


async def end_runs(services: Services) -> None:
    """End the runs that nobody reported in time."""
    await drain(services.schedules.time_out_next)


async def recompute(services: Services) -> None:
    """Compute slots anew where a newer time zone database may have moved them."""
    await drain(services.schedules.recompute_next)


async def check(services: Services) -> None:
    """Say so when slots pass that nobody has planned."""
    await services.schedules.check()
