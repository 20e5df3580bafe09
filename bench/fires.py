"""Fires: how late they are at a steady rate, and how long a herd of one instant takes."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from app.kit import limits
from bench.stage import Stage
from tocsin import webhooks

steady_per_second = 200
steady_seconds = 20
herd_count = 2_000

Registered = tuple[datetime, dict[str, str]]
_ENDPOINT = "ep_00000000000000000000000999"


@dataclass(frozen=True)
class Lateness:
    """Milliseconds from the nominal time until the fire was handed over, and until its request began."""

    handed_over: Sequence[float]
    begun: Sequence[float]

    @property
    def early(self) -> int:
        """How many came before their time. None may."""
        return sum(ms < 0 for ms in (*self.handed_over, *self.begun))


def steady(on: Stage) -> Lateness:
    """Schedules that fire once a second each, spread evenly over it."""

    def schedules(begin: datetime) -> list[Registered]:
        firsts = [begin + timedelta(seconds=n / steady_per_second) for n in range(steady_per_second)]
        return [(at, {"every": "PT1S", "anchor": at.isoformat(timespec="milliseconds")}) for at in firsts]

    return _measure(on, schedules, steady_per_second * steady_seconds)


def herd(on: Stage) -> Lateness:
    """One-shots of the same instant."""
    return _measure(on, lambda at: [(at, {"at": at.isoformat()})] * herd_count, herd_count)


def _measure(on: Stage, schedules: Callable[[datetime], list[Registered]], count: int) -> Lateness:
    with psycopg.connect(on.postgres.url, autocommit=True) as db:
        db.execute("truncate fires, schedules, deliveries, attempts, messages, events")
        worker = on.start("-m", "workers.main")
        try:
            _wait_until(db, "select count(*) from pg_stat_activity where application_name = 'tocsin worker'", 1)
            begin = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=limits.plan_ahead_seconds + 2)
            _add(db, on, schedules(begin))
            _wait_until(db, "select count(*) from attempts", count)
            return _lateness(db, count)
        finally:
            worker.terminate()
            worker.wait(30)


def _add(db: psycopg.Connection, on: Stage, schedules: Sequence[Registered]) -> None:
    """Schedules and an endpoint as if it had been verified: what is measured is the firing."""
    now = datetime.now(UTC)
    db.execute("insert into agents (id, created_at) values ('agt_bench', %s) on conflict do nothing", [now])
    db.execute(
        """
        insert into endpoints (id, agent_id, url, state, secret, attempts, attempts_before, created_at, updated_at)
        values (%s, 'agt_bench', %s, 'active', %s, 0, 0, %s, %s) on conflict do nothing
        """,
        [_ENDPOINT, f"{on.receiver}/hook", webhooks.new_secret(), now, now],
    )
    db.execute(
        """
        insert into schedules
            (id, agent_id, endpoint_id, spec, payload, version, state, next_fire, runs, created_at, updated_at)
        select 'sch_' || lpad(n::text, 26, '0'), 'agt_bench', %s, spec::jsonb, %s, 1, 'active', first, 0, %s, %s
        from unnest(%s::text[], %s::timestamptz[]) with ordinality as s(spec, first, n)
        """,
        [_ENDPOINT, json.dumps({"task": "refresh"}), now, now, *_columns(schedules)],
    )


def _columns(schedules: Sequence[Registered]) -> tuple[list[str], list[datetime]]:
    return [json.dumps(spec) for _, spec in schedules], [first for first, _ in schedules]


def _wait_until(db: psycopg.Connection, question: str, count: int, seconds_max: float = 120) -> None:
    """Ask until there are that many. Asks seldom, so as not to disturb."""
    ends_at = time.monotonic() + seconds_max
    while (row := db.execute(question.encode()).fetchone()) is None or row[0] < count:
        assert time.monotonic() < ends_at, f"{row} of {count} after {seconds_max} s: {question}"
        time.sleep(1)


def _lateness(db: psycopg.Connection, count: int) -> Lateness:
    rows = db.execute(
        """
        select extract(epoch from f.fired_at - f.scheduled_at) * 1000,
            extract(epoch from a.started_at - f.scheduled_at) * 1000
        from fires f join deliveries d on d.message_id = f.message_id
        join attempts a on a.delivery_id = d.id and a.number = 1
        order by f.scheduled_at limit %s
        """,
        [count],
    ).fetchall()
    return Lateness([float(row[0]) for row in rows], [float(row[1]) for row in rows])
