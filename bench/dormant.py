"""A million schedules that are not due: what an idle planner pays for them, every second."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Sequence

import psycopg
import uvloop

from app.kit.wake import Silence
from app.schedules.upkeep import Upkeep
from app.services import open_services
from bench import report
from bench.stage import Stage
from tocsin.recurrence import zone_database_version

schedules_count = 1_000_000
ticks = 2_000
recomputing_rounds = 10


def report_idle(on: Stage, workers: int) -> None:
    """Print what each step of an idle planner takes."""
    _insert(on)
    report.line("schedules, spread over the next year", f"{schedules_count}")
    for name, milliseconds in uvloop.run(_steps(on)).items():
        report.show(name, milliseconds)
    report.line("recomputed for a new time zone database", f"{uvloop.run(_recomputed_per_second(on)):,.0f}/s")


async def _steps(on: Stage) -> dict[str, Sequence[float]]:
    async with open_services(on.settings, Silence(), name="bench") as services:
        schedules = services.schedules
        return {
            "an idle planner's tick (plan_next)": await _times(schedules.plan_next, ticks),
            "take_over_next": await _times(schedules.take_over_next, ticks),
            "catch_up_next": await _times(schedules.catch_up_next, ticks),
            "time_out_next": await _times(schedules.time_out_next, ticks),
            "the self-check (check)": await _times(schedules.check, ticks),
            "recompute_next, with the same zones": await _times(schedules.recompute_next, ticks),
        }


async def _recomputed_per_second(on: Stage) -> float:
    """How fast a new time zone database is taken in, by one worker."""
    async with open_services(on.settings, Silence(), name="bench") as services:
        upkeep = Upkeep(services.database.transaction, services.clock, Silence(), tzdata="9999z")
        started = time.perf_counter()
        recomputed = sum([await upkeep.recompute_next() for _ in range(recomputing_rounds)])
        return recomputed / (time.perf_counter() - started)


async def _times(step: Callable[[], Awaitable[int]], count: int) -> list[float]:
    """Milliseconds of each of so many steps, none of which finds anything to do."""
    milliseconds: list[float] = []
    for _ in range(count // 10):
        await step()
    gc.collect()
    for _ in range(count):
        started = time.perf_counter()
        found = await step()
        milliseconds.append((time.perf_counter() - started) * 1000)
        assert found == 0, "it should have been idle"
        await asyncio.sleep(0)
    return milliseconds


def _insert(on: Stage) -> None:
    """Half of them daily by cron in a zone, half by an interval; the first is due in an hour."""
    with psycopg.connect(on.postgres.url, autocommit=True) as db:
        db.execute("insert into agents (id, created_at) values ('agt_bench', now())")
        db.execute(
            """
            insert into schedules
                (id, agent_id, spec, payload, version, state, next_fire, tzdata, runs, created_at, updated_at)
            select 'sch_' || lpad(n::text, 26, '0'), 'agt_bench', specs.spec::jsonb, '{"task": "refresh"}', 1, 'active',
                now() + interval '1 hour' + (n * interval '1 year' / %s), specs.tzdata, 0, now(), now()
            from generate_series(1, %s) as n join (values
                (0, '{"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"}', %s),
                (1, '{"every": "P7D"}', null)
            ) as specs(place, spec, tzdata) on n %% 2 = specs.place
            """,
            [schedules_count, schedules_count, zone_database_version],
        )
        db.execute("vacuum analyze schedules")
