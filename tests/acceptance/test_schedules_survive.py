"""Each slot fires once: one of two workers is killed, fifty times over, while two hundred schedules fire every second.

The clock of the machine is not set here: that takes rights that a test does not have. What setting it does is shown in
virtual time, by tests/simulation and tests/store.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.kit import limits
from app.local import migrations
from app.local.postgres import Postgres
from app.local.valkey import Valkey
from app.local.watchdog import Watchdog
from tests.acceptance.forks import become_worker, forks
from tests.receivers import Receiver, receiving
from tests.sealed import SECRET_KEY, sealed_secrets
from tocsin import webhooks
from tocsin.schemas.wire import rfc3339

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]

schedules = 200
kills = 50
seconds_between_min = 1.2
# Now the one that has lived longer, which has planned nearly all there is to fire, and now the other.
elder_each = 2
seconds_max = 60.0
# What is promised after each death of a holder; the slack is for machines that do much else at the same time.
late_max = timedelta(seconds=limits.fire_lease_seconds + 1)
slack = timedelta(seconds=2)


@dataclass
class Workers:
    """Workers over one Postgres and one Valkey: real processes, forked from one that has read their code already.

    Fifty times the second that it takes to read it would be most of this test, and would load the machine meanwhile.
    """

    home: Path
    postgres: Postgres
    valkey: Valkey
    running: list[BaseProcess] = field(default_factory=list)

    def start(self) -> BaseProcess:
        told = {
            "TOCSIN_DATABASE_URL": self.postgres.url,
            "TOCSIN_VALKEY_URL": self.valkey.url,
            "TOCSIN_SECRET_KEY": SECRET_KEY.text,
            "TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8",
            "TOCSIN_DELIVERY_TIMEOUT_SECONDS": "5",
            "TOCSIN_DELIVERY_LEASE_SECONDS": "10",
        }
        log = self.home / f"worker-{len(self.running)}.log"
        log.touch()
        worker = forks.Process(target=become_worker, args=(told, log))
        worker.start()
        self.running.append(worker)
        return worker

    def read(self, question: str) -> Sequence[tuple[Any, ...]]:
        with psycopg.connect(self.postgres.url) as db:
            return db.execute(question.encode()).fetchall()


@pytest.fixture
def workers(tmp_path: Path, watchdog: Watchdog) -> Iterator[Workers]:
    postgres, valkey = Postgres.start(tmp_path, watchdog=watchdog), Valkey.start(tmp_path, watchdog=watchdog)
    migrations.migrate(postgres.url)
    started = Workers(tmp_path, postgres, valkey)
    try:
        yield started
    finally:
        for worker in started.running:
            worker.kill()
            worker.join()
        valkey.stop()
        postgres.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


async def test_killing_planners_loses_no_slot_and_doubles_none(
    workers: Workers, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    elder, younger = workers.start(), workers.start()
    await until_listening(workers)
    await asyncio.to_thread(register, workers, receiver)
    await until_fired(workers, schedules)

    killed_at: list[datetime] = []
    for number in range(kills):
        await asyncio.gather(asyncio.sleep(seconds_between_min), until_listening(workers))
        if number % elder_each == 0:
            elder, younger = younger, elder
        younger.kill()
        killed_at.append(datetime.now(UTC))
        await asyncio.to_thread(younger.join)
        younger = workers.start()
    await asyncio.sleep(seconds_between_min)
    with psycopg.connect(workers.postgres.url) as db:
        db.execute("update schedules set next_fire = null")  # nothing more is planned; what is, still fires
    await until_settled(workers)

    fires = [Fired(*row) for row in workers.read(FIRED)]
    with capsys.disabled():
        print(f"\n{report(fires, killed_at, receiver)}")
    assert {fire.state for fire in fires} == {"fired"}
    assert follow_each_other([(fire.schedule_id, fire.scheduled_at) for fire in fires])
    assert [fire for fire in fires if fire.lateness > late_max + slack] == []

    fired = {fire.id for fire in fires}
    rung = {(ring.json["data"]["fire_id"], ring.id) for ring in receiver.rings}
    assert {fire_id for fire_id, _ in rung} == fired
    assert len(rung) == len(fired), "a fire is one message, however often its delivery was attempted"
    assert len({(ring.id, ring.body) for ring in receiver.rings}) == len(fired), "and says the same each time"


@dataclass(frozen=True)
class Fired:
    """A row of the journal. `holders` counts the workers that held it, the last of which handed it over."""

    schedule_id: str
    id: str
    scheduled_at: datetime
    fired_at: datetime | None
    state: str
    holders: int

    @property
    def lateness(self) -> timedelta:
        return (self.fired_at or self.scheduled_at) - self.scheduled_at


FIRED = """
    select schedule_id, id, scheduled_at, fired_at, coalesce(reason, state), attempts from fires
    order by schedule_id, scheduled_at
"""


def report(fires: Sequence[Fired], killed_at: Sequence[datetime], receiver: Receiver) -> str:
    """What was measured: for each kill, how late the latest fire was of those that came before the next."""
    late_by_kill = [
        max((fire.lateness.total_seconds() for fire in fires if start <= fire.scheduled_at < end), default=0.0)
        for start, end in pairwise([*killed_at, killed_at[-1] + late_max])
    ]
    taken_over = [sum(fire.holders > deaths for fire in fires) for deaths in (1, 2)]
    repeated = len(receiver.rings) - len({ring.id for ring in receiver.rings})
    seconds = (killed_at[-1] - killed_at[0]).total_seconds()
    return (
        f"{len(killed_at)} kills in {seconds:.0f} s: {len(fires)} slots, each once; {taken_over[0]} were taken over, "
        f"{taken_over[1]} twice; {repeated} rings repeated; seconds late after each kill: "
        + " ".join(f"{late:.1f}" for late in late_by_kill)
    )


def register(workers: Workers, receiver: Receiver) -> None:
    """Schedules that fire every second, each at its own share of it, and an endpoint as if it had been verified."""
    with psycopg.connect(workers.postgres.url) as db:
        now = datetime.fromisoformat(str(db.execute("select clock_timestamp()").fetchone()[0]))  # type: ignore[index]
        db.execute("insert into agents (id, created_at) values ('agt_1', %s)", [now])
        db.execute(
            """
            insert into endpoints (id, agent_id, url, state, secrets, attempts, attempts_before, created_at, updated_at)
            values ('ep_1', 'agt_1', %s, 'active', %s, 0, 0, %s, %s)
            """,
            [receiver.url, sealed_secrets("ep_1", webhooks.new_secret(), now), now, now],
        )
        first = now.replace(microsecond=0) + timedelta(seconds=3)
        # Spread over the second, so that each worker holds some when it dies, and some that it has just taken.
        slots = [first + timedelta(seconds=number / schedules) for number in range(schedules)]
        db.cursor().executemany(
            """
            insert into schedules
                (id, agent_id, endpoint_id, spec, payload, version, state, next_fire, runs, created_at, updated_at)
            values (%s, 'agt_1', 'ep_1', %s, 'null', 1, 'active', %s, 0, %s, %s)
            """,
            [
                (f"sch_{number}", json.dumps({"every": "PT1S", "anchor": rfc3339(slot)}), slot, now, now)
                for number, slot in enumerate(slots)
            ],
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
