"""The worker: hears the doorbell, sweeps each second, and drains one feature at a time.

Postgres knows what is due; Valkey only shortens the wait. While Valkey is away the sweep goes on, and the doorbell is
tried again every second.
"""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import uvloop
from arq.connections import ArqRedis
from arq.worker import Worker, func
from prometheus_client import start_http_server
from redis.exceptions import RedisError

from app.kit import limits, telemetry
from app.kit.clock import Clock
from app.kit.database import AWAY, first_line
from app.kit.outbound import Resolver
from app.kit.wake import Bells, connect, waiting_key
from app.services import Services, open_services
from app.settings import Settings, export_traces
from workers import deliveries, housekeeping, schedules, subscriptions, watchers

log = telemetry.logger(__name__)
cancel_again_seconds = 1.0
# Net new objects, collections of those, and collections of these before the next older are looked at.
collect_after = (10_000, 20, 20)


@dataclass(frozen=True)
class Duty:
    """What a worker does when a feature's bell rings, and how often it looks unasked."""

    drain: Callable[[Services], Awaitable[object]]
    sweep_seconds: float = limits.sweep_seconds
    # Rung while the drain runs: it may be waiting for something slow, and there may be something new.
    hurry: Callable[[Services], None] | None = None


DUTIES: Mapping[str, Duty] = {
    "deliveries": Duty(deliveries.deliver, hurry=deliveries.hurry),
    "endpoints": Duty(deliveries.verify),
    "recoveries": Duty(deliveries.recover),
    "schedules": Duty(schedules.plan),
    "fires": Duty(schedules.fire),
    "late_fires": Duty(schedules.catch_up, sweep_seconds=limits.catch_up_seconds),
    "runs": Duty(schedules.end_runs),
    "time_zones": Duty(schedules.recompute, sweep_seconds=limits.recompute_sweep_seconds),
    "overdue_schedules": Duty(schedules.check, sweep_seconds=limits.check_sweep_seconds),
    "standing": Duty(deliveries.look, sweep_seconds=limits.standing_sweep_seconds),
    "watchers": Duty(watchers.look),
    "backfills": Duty(watchers.backfill),
    "subscriptions": Duty(subscriptions.feed),
    "housekeeping": Duty(housekeeping.tidy, sweep_seconds=60),
    "retention": Duty(housekeeping.retain, sweep_seconds=limits.retention_sweep_seconds),
}


async def work(settings: Settings, *, clock: Clock | None = None, resolver: Resolver | None = None) -> None:
    """Drain until SIGTERM or SIGINT; what is in flight then is finished first."""
    stop = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
    # `tocsin worker` has held Ctrl-C back until there is somebody who hears it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if settings.worker.metrics_port is not None:
        start_http_server(settings.worker.metrics_port, addr=settings.worker.metrics_host)
    bells = Bells()
    async with open_services(settings, bells, name="worker", clock=clock, resolver=resolver) as services:
        for feature, duty in DUTIES.items():
            hurry = duty.hurry
            bells.hang(feature, partial(duty.drain, services), partial(hurry, services) if hurry else None)
        services.deliveries.start()
        services.watchers.start()
        collect_seldom()
        listening = [asyncio.create_task(_sweep(bells, feature, duty)) for feature, duty in DUTIES.items()]
        listening.append(asyncio.create_task(answer_doorbell(settings, bells)))
        log.info("the worker listens", features=sorted(DUTIES))
        await stop.wait()
        services.deliveries.stop()
        await end(listening)
        await bells.close()
        await leave(services)
    log.info("the worker has stopped")


async def leave(services: Services) -> None:
    """See through what is in flight, and leave what is held to others, as far as a database takes it."""
    try:
        await deliveries.land(services)
        await services.schedules.release()
    except AWAY as error:
        # Leases end by themselves. What has just been answered and could not be concluded is sent again then.
        log.warning("stopped without the database; leases end by themselves", error=first_line(error))


def collect_seldom() -> None:
    """Keep the garbage collector out of the way of fires.

    What has been imported by now stays, and is the most there is. Looked through at every full collection, it holds up
    everything for a tenth of a second and more, several times a minute, and takes a fifth of the time at 1,000 fires/s.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*collect_after)


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel these until they have ended: a client can swallow a cancellation that meets a time-out of its own."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=cancel_again_seconds)


async def _sweep(bells: Bells, feature: str, duty: Duty) -> None:
    while True:
        bells.ring(feature)
        await asyncio.sleep(duty.sweep_seconds)


async def answer_doorbell(settings: Settings, bells: Bells) -> None:
    """Turn arq's jobs into rings here, until cancelled. A lost Valkey ends the arq worker; another takes its place."""
    assert settings.valkey.url is not None, "TOCSIN_VALKEY_URL must be set; `tocsin up` sets it"
    while True:
        valkey = connect(settings.valkey.url)
        listener = _listener(valkey, bells)
        try:
            await listener.async_run()
        except (RedisError, OSError) as error:
            log.warning("the doorbell is away; sweeping goes on", error=type(error).__name__)
        finally:
            # Not arq's own close: that one speaks to Valkey, which may be what went away.
            running = [task for task in (listener.main_task, *listener.tasks.values()) if task is not None]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await valkey.aclose(close_connection_pool=True)
        await asyncio.sleep(limits.sweep_seconds)


def _listener(valkey: ArqRedis, bells: Bells) -> Worker:
    return Worker(
        functions=[func(cast(Any, _ringer(feature, bells)), name=feature) for feature in DUTIES],
        redis_pool=valkey,
        poll_delay=limits.wake_poll_seconds,
        keep_result=0,
        max_tries=1,
        handle_signals=False,
    )


def _ringer(feature: str, bells: Bells) -> Callable[[dict[Any, Any]], Coroutine[Any, Any, None]]:
    async def ring(ctx: dict[Any, Any]) -> None:
        # First the key, then the look: a change that commits after this line finds no key and rings again.
        await ctx["redis"].delete(waiting_key(feature))
        bells.ring(feature)

    return ring


def main() -> None:
    """What `tocsin worker` runs."""
    settings = Settings()
    telemetry.configure(settings.log.format, settings.log.level, settings.log.attempts)
    export_traces(settings.telemetry, "tocsin-worker")
    uvloop.run(work(settings))


if __name__ == "__main__":
    main()
