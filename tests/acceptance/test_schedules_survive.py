"""Each slot fires once: one of two workers is killed, again and again, while fifty schedules fire every second."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from app.kit import limits
from app.local import migrations
from app.local.postgres import Postgres
from app.local.valkey import Valkey
from tests.packages import ROOT
from tests.receivers import Receiver, receiving
from tocsin import webhooks

pytestmark = pytest.mark.acceptance

schedules = 50
kills = 3
seconds_between = 2.5
seconds_max = 60.0
# A loaded machine starts a worker late; what is promised is the lease and a sweep.
slack = timedelta(seconds=4)


@dataclass
class Workers:
    """Workers over one Postgres and one Valkey."""

    home: Path
    postgres: Postgres
    valkey: Valkey
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[bytes]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
        told = {
            "TOCSIN_DATABASE_URL": self.postgres.url,
            "TOCSIN_VALKEY_URL": self.valkey.url,
            "TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8",
            "TOCSIN_DELIVERY_TIMEOUT_SECONDS": "5",
            "TOCSIN_DELIVERY_LEASE_SECONDS": "10",
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "sdk" / "src"), clean.get("PYTHONPATH", ""))),
        }
        with (self.home / f"worker-{len(self.running)}.log").open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "workers.main"], env=clean | told, cwd=ROOT, stdout=log, stderr=log
            )
        self.running.append(worker)
        return worker

    def read(self, question: str) -> Sequence[tuple[object, ...]]:
        with psycopg.connect(self.postgres.url) as db:
            return db.execute(question.encode()).fetchall()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    postgres, valkey = Postgres.start(tmp_path), Valkey.start(tmp_path)
    migrations.migrate(postgres.url)
    started = Workers(tmp_path, postgres, valkey)
    try:
        yield started
    finally:
        for worker in started.running:
            worker.kill()
            worker.wait()
        valkey.stop()
        postgres.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


async def test_killing_planners_loses_no_slot_and_doubles_none(workers: Workers, receiver: Receiver) -> None:
    workers.start()
    alive = workers.start()
    await until_listening(workers)
    await asyncio.to_thread(register, workers, receiver)
    await until_fired(workers, schedules)

    for _ in range(kills):
        await asyncio.sleep(seconds_between)
        alive.kill()
        await asyncio.to_thread(alive.wait)
        alive = workers.start()
    await asyncio.sleep(seconds_between)
    with psycopg.connect(workers.postgres.url) as db:
        db.execute("update schedules set next_fire = null")  # nothing more is planned; what is, still fires
    await until_settled(workers)

    fires = workers.read("select schedule_id, id, scheduled_at, fired_at, state from fires order by 1, 3")
    assert Counter(state for *_, state in fires) == {"fired": len(fires)}
    assert follow_each_other([(str(row[0]), row[2]) for row in fires])  # type: ignore[misc]
    lateness = max(fired - due for _, _, due, fired, _ in fires)  # type: ignore[operator]
    assert lateness <= timedelta(seconds=limits.fire_lease_seconds + 1) + slack

    rung = {(ring.json["data"]["fire_id"], ring.id) for ring in receiver.rings}
    assert {fire_id for fire_id, _ in rung} == {row[1] for row in fires}
    assert len(rung) == len(fires), "a fire is one message, however often its delivery was attempted"


def register(workers: Workers, receiver: Receiver) -> None:
    """Fifty schedules that fire every second, and an endpoint as if it had been verified."""
    with psycopg.connect(workers.postgres.url) as db:
        now = datetime.fromisoformat(str(db.execute("select clock_timestamp()").fetchone()[0]))  # type: ignore[index]
        db.execute("insert into agents (id, created_at) values ('agt_1', %s)", [now])
        db.execute(
            """
            insert into endpoints (id, agent_id, url, state, secret, attempts, attempts_before, created_at, updated_at)
            values ('ep_1', 'agt_1', %s, 'active', %s, 0, 0, %s, %s)
            """,
            [receiver.url, webhooks.new_secret(), now, now],
        )
        first = now.replace(microsecond=0) + timedelta(seconds=3)
        db.execute(
            """
            insert into schedules
                (id, agent_id, endpoint_id, spec, payload, version, state, next_fire, runs, created_at, updated_at)
            select 'sch_' || n, 'agt_1', 'ep_1', %s, 'null', 1, 'active', %s, 0, %s, %s from generate_series(1, %s) as n
            """,
            [json.dumps({"every": "PT1S"}), first, now, now, schedules],
        )


def follow_each_other(slots: Sequence[tuple[str, datetime]]) -> bool:
    """Whether every schedule has every second from its first slot to its last."""
    pairs = pairwise(slots)
    return all(later - slot == timedelta(seconds=1) for (a, slot), (b, later) in pairs if a == b)


async def until_listening(workers: Workers) -> None:
    async with asyncio.timeout(seconds_max):
        while not all(b"the worker listens" in log.read_bytes() for log in workers.home.glob("worker-*.log")):
            await asyncio.sleep(0.2)


async def until_fired(workers: Workers, count: int) -> None:
    await until(workers, f"select count(*) >= {count} from fires where state = 'fired'")


async def until_settled(workers: Workers) -> None:
    """Every planned slot has fired, and every ring has been answered."""
    await until(workers, "select not exists (select from fires where state = 'planned')")
    await until(workers, "select not exists (select from deliveries where state = 'pending')")


async def until(workers: Workers, question: str) -> None:
    async with asyncio.timeout(seconds_max):
        while not (await asyncio.to_thread(workers.read, question))[0][0]:
            await asyncio.sleep(0.2)
