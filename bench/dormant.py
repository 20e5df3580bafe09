"""A million schedules that are not due: what an idle planner pays for them, every second."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Sequence

import psycopg
import uvloop

from app.kit.wake import Silence
from app.services import open_services
from bench import report
from bench.stage import Stage
from tocsin.recurrence import zone_database_version

schedules_count = 1_000_000
ticks = 2_000


def report_idle(on: Stage, workers: int) -> None:
    """Print what each step of an idle planner takes."""
    _insert(on)
    report.line("schedules, spread over the next year", f"{schedules_count}")
    for name, milliseconds in uvloop.run(_steps(on)).items():
        report.show(name, milliseconds)


async def _steps(on: Stage) -> dict[str, Sequence[float]]:
    async with open_services(on.settings, Silence(), name="bench") as services:
        plan_next, take_over_next = services.schedules.plan_next, services.schedules.take_over_next

        async def tick() -> int:
            return await plan_next() + await take_over_next()

        return {
            "idle tick (plan and take over)": await _times(tick, ticks),
            "  plan_next": await _times(plan_next, ticks),
            "  take_over_next": await _times(take_over_next, ticks),
        }


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
