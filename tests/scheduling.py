"""Schedules and their journal as tests of the engine see them: rows."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from app.kit.database import Database
from app.kit.due import drain
from app.kit.ids import Ids
from app.schedules.entries import fire_id
from app.schedules.timekeeper import Timekeeper
from tests.world import EPOCH

AGENT, ENDPOINT = "agt_00000000000000000000000001", "ep_00000000000000000000000001"
_ids = Ids()


def at(seconds: float) -> datetime:
    """So many seconds after the tests' epoch."""
    return EPOCH + timedelta(seconds=seconds)


async def add(
    database: Database,
    spec: dict[str, Any] | list[dict[str, Any]],
    next_fire: datetime | None,
    payload: str = "null",
    **columns: Any,
) -> str:
    """Register a schedule, past the API; returns its id."""
    row = {
        "id": _ids.new("sch"),
        "agent_id": AGENT,
        "endpoint_id": ENDPOINT,
        "spec": json.dumps(spec),
        "payload": payload,
        "version": 1,
        "state": "active",
        "next_fire": next_fire,
        "runs": 0,
        "created_at": EPOCH,
        "updated_at": EPOCH,
        **columns,
    }
    values = ", ".join("cast(:spec as jsonb)" if name == "spec" else f":{name}" for name in row)
    async with database.transaction() as db:
        await db.execute(text(f"insert into schedules ({', '.join(row)}) values ({values})"), row)
    return row["id"]


async def add_fire(database: Database, schedule_id: str, slot: datetime, kind: str, **columns: Any) -> str:
    """Write a fire into the journal, due now, as a request of its agent does; returns its id."""
    row = {
        "schedule_id": schedule_id,
        "scheduled_at": slot,
        "kind": kind,
        "id": fire_id(schedule_id, kind, slot),
        "agent_id": AGENT,
        "version": 1,
        "state": "planned",
        "fire_at": slot,
        "due_at": slot,
        "attempts": 0,
        "planned_at": slot,
        **columns,
    }
    statement = f"insert into fires ({', '.join(row)}) values ({', '.join(f':{name}' for name in row)})"
    await execute(database, statement, **row)
    return row["id"]


async def execute(database: Database, statement: str, **values: Any) -> None:
    """Change something, past the API."""
    async with database.transaction() as db:
        await db.execute(text(statement), values)


async def rows(database: Database, question: str) -> Sequence[Any]:
    async with database.transaction() as db:
        return (await db.execute(text(question))).all()


async def journal(database: Database) -> list[tuple[datetime, str, str | None]]:
    """Each slot's nominal time, state and reason."""
    found = await rows(database, "select scheduled_at, state, reason from fires order by scheduled_at")
    return [(row.scheduled_at, row.state, row.reason) for row in found]


async def states(database: Database) -> list[str]:
    """What has become of each slot, in order: its state, or its reason where it has one."""
    return [reason or state for _, state, reason in await journal(database)]


async def rung(database: Database) -> list[dict[str, Any]]:
    """The bodies of all messages, oldest slot first."""
    bodies = [json.loads(row.body) for row in await rows(database, "select body from messages")]
    return sorted(bodies, key=lambda body: body["data"]["scheduled_at"])


async def work(keeper: Timekeeper) -> None:
    """What a worker does when its bells ring."""
    for step in (keeper.plan_next, keeper.take_over_next, keeper.fire_next, keeper.catch_up_next):
        await drain(step)
