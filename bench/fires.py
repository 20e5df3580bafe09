"""Fires: how late they are at a steady rate, how long a herd of one instant takes, and what both cost.

Three moments of each: handed over (committed with its message), request begun (by the worker), received. All processes
share this machine's clock. A fire before its nominal time, or none at all, would be a defect and not a figure.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from app.kit import limits
from bench import costs, report
from bench.stage import Stage, sealed_secrets

steady_per_second = 1_000
steady_seconds = 60
warm_up_seconds = 5
herd_count = 10_000
endpoints_count = 20
grace_seconds = 60.0

Registered = tuple[datetime, dict[str, str]]


@dataclass(frozen=True)
class Fires:
    """Milliseconds from its nominal time until each fire was handed over, until its request began and it arrived."""

    expected: int
    handed_over: Sequence[float]
    begun: Sequence[float]
    received: Sequence[float]
    repeated: int
    cpu_ms: Sequence[tuple[str, float]]

    @property
    def early(self) -> int:
        """How many came before their time. None may."""
        return sum(ms < 0 for ms in (*self.handed_over, *self.begun, *self.received))

    @property
    def lost(self) -> int:
        """How many never arrived. None may."""
        return self.expected - len(self.received)


def steady(on: Stage, workers: int, seconds: int = steady_seconds) -> Fires:
    """Schedules that fire once a second each, spread evenly over it. Those of the first seconds only warm up."""

    def schedules(begin: datetime) -> list[Registered]:
        firsts = [begin + timedelta(seconds=n / steady_per_second) for n in range(steady_per_second)]
        return [(at, {"every": "PT1S", "anchor": at.isoformat(timespec="milliseconds")}) for at in firsts]

    return _measure(on, workers, schedules, warm_up_seconds, seconds, steady_per_second * seconds)


def herd(on: Stage, workers: int, spec: Callable[[datetime], dict[str, str]]) -> Fires:
    """Schedules that all fire at the same instant."""
    return _measure(on, workers, lambda at: [(at, spec(at))] * herd_count, 0, 1, herd_count)


def _hourly(at: datetime) -> dict[str, str]:
    return {"cron": f"{at.second} {at.minute} * * * *", "timezone": "Europe/Berlin"}


def _once(at: datetime) -> dict[str, str]:
    return {"at": at.isoformat()}


def report_steady(on: Stage, workers: int) -> None:
    """Print how late fires are at a steady rate."""
    fires = steady(on, workers)
    what = f"{steady_per_second} fires/s for {steady_seconds} s"
    report.show(f"{what}, handed over", fires.handed_over)
    report.show(f"{what}, request begun", fires.begun)
    report.show(f"{what}, received", fires.received)
    _report_faults(fires)


def report_herd(on: Stage, workers: int) -> None:
    """Print how long it takes when the hourly schedules of many fire."""
    _report_herd(herd(on, workers, _hourly))


def report_instants(on: Stage, workers: int) -> None:
    """Print how long a herd takes whose schedules are done with it."""
    _report_herd(herd(on, workers, _once))


def _report_herd(fires: Fires) -> None:
    what = f"{herd_count} fires of one instant, the last"
    for moment, milliseconds in (
        ("handed over", fires.handed_over),
        ("request begun", fires.begun),
        ("received", fires.received),
    ):
        report.line(f"{what} {moment}", f"after {max(milliseconds, default=0):.0f} ms")
    _report_faults(fires)


def _report_faults(fires: Fires) -> None:
    report.line("  early, lost, received twice", f"{fires.early}, {fires.lost}, {fires.repeated}")
    report.line("  CPU for each fire", ", ".join(f"{name} {ms:.2f} ms" for name, ms in fires.cpu_ms))


def _measure(
    on: Stage,
    workers: int,
    schedules: Callable[[datetime], list[Registered]],
    after_seconds: float,
    seconds: float,
    expected: int,
) -> Fires:
    """Run workers over these schedules, and look at the slots of some seconds, a while after they began."""
    with psycopg.connect(on.postgres.url, autocommit=True) as db:
        processes = [on.start("-m", "workers.main") for _ in range(workers)]
        try:
            _wait_for_workers(db, workers)
            pids = {"worker": [process.pid for process in processes], "Postgres": [on.postgres.pid]}
            start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=limits.plan_ahead_seconds + 2)
            _add(db, on, schedules(start))
            begin = start + timedelta(seconds=after_seconds)
            end = begin + timedelta(seconds=seconds)
            _sleep_until(begin)
            before = _cpu(pids)
            _sleep_until(end)
            _wait_until_counted(on, expected + round(after_seconds * expected / seconds))
            cpu_ms = list(costs.spent(before, _cpu(pids), expected))
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(30)
        return _fires(db, on, begin, end, expected, cpu_ms)


def _wait_for_workers(db: psycopg.Connection, count: int) -> None:
    ends_at = time.monotonic() + 30
    question = "select count(distinct client_port) from pg_stat_activity where application_name = 'tocsin worker'"
    while (row := db.execute(question).fetchone()) is None or row[0] < count:
        assert time.monotonic() < ends_at, "the workers do not start"
        time.sleep(0.2)


def _wait_until_counted(on: Stage, count: int) -> None:
    """Until the receiver has got that many, but not for ever: what has not come by then is lost."""
    ends_at = time.monotonic() + grace_seconds
    while on.counted() < count and time.monotonic() < ends_at:
        time.sleep(0.2)


def _sleep_until(moment: datetime) -> None:
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))


def _cpu(pids: dict[str, list[int]]) -> dict[str, float]:
    return {name: sum(map(costs.cpu_seconds, ids)) for name, ids in pids.items()}


def _add(db: psycopg.Connection, on: Stage, schedules: Sequence[Registered]) -> None:
    """Schedules and endpoints as if these had been verified: what is measured is the firing."""
    now = datetime.now(UTC)
    db.execute("insert into agents (id, created_at) values ('agt_bench', %s) on conflict do nothing", [now])
    ids = [f"ep_fires{number}" for number in range(endpoints_count)]
    db.cursor().executemany(
        """
        insert into endpoints (id, agent_id, url, state, secrets, attempts, attempts_before, created_at, updated_at)
        values (%s, 'agt_bench', %s, 'active', %s, 0, 0, %s, %s) on conflict do nothing
        """,
        [(id, f"{on.receiver}/fires", sealed_secrets(id, now), now, now) for id in ids],
    )
    db.execute(
        """
        insert into schedules
            (id, agent_id, endpoint_id, spec, payload, version, state, next_fire, runs, created_at, updated_at)
        select 'sch_' || lpad(n::text, 26, '0'), 'agt_bench', 'ep_fires' || n %% %s, spec::jsonb, %s, 1, 'active',
            first, 0, %s, %s
        from unnest(%s::text[], %s::timestamptz[]) with ordinality as s(spec, first, n)
        """,
        [endpoints_count, json.dumps({"task": "refresh", "note": "x" * 60}), now, now, *_columns(schedules)],
    )
    db.execute("vacuum analyze schedules, endpoints")


def _columns(schedules: Sequence[Registered]) -> tuple[list[str], list[datetime]]:
    return [json.dumps(spec) for _, spec in schedules], [first for first, _ in schedules]


def _fires(
    db: psycopg.Connection,
    on: Stage,
    begin: datetime,
    end: datetime,
    expected: int,
    cpu_ms: Sequence[tuple[str, float]],
) -> Fires:
    rows = db.execute(
        """
        select extract(epoch from f.fired_at - f.scheduled_at) * 1000,
            extract(epoch from a.started_at - f.scheduled_at) * 1000
        from fires f join deliveries d on d.message_id = f.message_id
        join attempts a on a.delivery_id = d.id and a.number = 1
        where f.scheduled_at >= %s and f.scheduled_at < %s
        """,
        [begin, end],
    ).fetchall()
    arrivals = [
        (fire_id, (at - scheduled_at.timestamp()) * 1000)
        for fire_id, nominal, at in on.taken()["fires"]
        if begin <= (scheduled_at := datetime.fromisoformat(nominal)) < end
    ]
    # The first arrival of each counts: dict keeps the last of its keys, so the latest go in first.
    first = dict(reversed(arrivals))
    return Fires(
        expected=expected,
        handed_over=[float(row[0]) for row in rows],
        begun=[float(row[1]) for row in rows],
        received=list(first.values()),
        repeated=len(arrivals) - len(first),
        cpu_ms=cpu_ms,
    )
