"""Slots of the past are fired after all: each once, under an id of its own."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.services import Services
from tests.api.schedules import HOURLY, catch_up, journal, new_schedule, shown, told, work
from tests.conftest import NewAgent
from tests.world import EPOCH, OwnClock, TestAgent

MORNING = {"start": "2026-11-22T06:00:00Z", "end": "2026-11-22T09:00:00Z"}


async def backfill(agent: TestAgent, name: str, **asked: str) -> dict[str, Any]:
    answer = await agent.post(f"/v1/schedules/{name}/backfill", {**MORNING, **asked})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_every_slot_of_the_range_fires_from_its_start_and_before_its_end(
    agent: TestAgent, services: Services
) -> None:
    made = await new_schedule(agent, HOURLY)
    asked = await backfill(agent, made["id"])
    assert (asked["state"], asked["slots"], asked["open"], asked["overlap"]) == ("running", 3, 3, "allow")
    await catch_up(services)
    assert await journal(agent, made["id"]) == [(f"0{hour}:00:00", "fired", None) for hour in (6, 7, 8)]
    done = (await agent.get(f"/v1/schedules/{made['id']}/backfills/{asked['id']}")).json()
    assert (done["state"], done["open"], done["fired"]) == ("finished", 0, 3)
    assert (await agent.get(f"/v1/schedules/{made['id']}/backfills")).json()["items"] == [done]
    schedule = await shown(agent, made["id"])
    assert (schedule["runs"], schedule["last_fire"], schedule["version"]) == (0, None, 1)
    assert await told(agent, made["id"]) == ["schedule.created", "schedule.backfilled"]


async def test_slots_that_fired_at_their_time_fire_again_under_another_id(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, {"every": "PT1S"})
    await work(services)
    clock.advance(seconds=2)
    await work(services)
    asked = await backfill(agent, made["id"], start="2026-11-22T09:00:00.500Z", end="2026-11-22T09:00:02Z")
    await backfill(agent, made["id"], start="2026-11-22T09:00:00.500Z", end="2026-11-22T09:00:02Z")
    await catch_up(services)
    page = (await agent.get(f"/v1/schedules/{made['id']}/fires?until=2026-11-22T09:00:02Z")).json()["items"]
    assert sorted(fire["kind"] for fire in page) == ["auto", "backfill", "backfill"]
    assert len({fire["id"] for fire in page}) == 3
    of_one = (await agent.get(f"/v1/schedules/{made['id']}/fires?backfill={asked['id']}")).json()["items"]
    assert [fire["backfill_id"] for fire in of_one] == [asked["id"]]


async def test_the_bounds_of_the_schedule_apply(agent: TestAgent, clock: OwnClock) -> None:
    made = await new_schedule(agent, HOURLY, starts_at="2026-11-22T10:00:00Z", ends_at="2026-11-22T11:00:00Z")
    clock.advance(hours=4)
    asked = await backfill(agent, made["id"], end="2026-11-22T13:00:00Z")
    assert asked["slots"] == 2


async def test_an_empty_range_is_finished_at_once(agent: TestAgent) -> None:
    made = await new_schedule(agent, {"cron": "0 0 1 1 *"})
    assert (await backfill(agent, made["id"]))["state"] == "finished"


async def test_a_cancelled_backfill_fires_no_more(agent: TestAgent, services: Services) -> None:
    made = await new_schedule(agent, HOURLY)
    path = f"/v1/schedules/{made['id']}/backfills/{(await backfill(agent, made['id']))['id']}"
    cancelled = await agent.call("DELETE", path)
    assert cancelled.status_code == 200
    assert (cancelled.json()["state"], cancelled.json()["skipped"]) == ("cancelled", 3)
    await catch_up(services)
    assert await journal(agent, made["id"]) == [(f"0{hour}:00:00", "skipped", "cancelled") for hour in (6, 7, 8)]
    assert (await agent.call("DELETE", path)).json() == cancelled.json()
    assert (await shown(agent, made["id"]))["skipped"] == {"cancelled": 3}


async def test_a_finished_backfill_stays_finished(agent: TestAgent, services: Services) -> None:
    made = await new_schedule(agent, HOURLY)
    path = f"/v1/schedules/{made['id']}/backfills/{(await backfill(agent, made['id']))['id']}"
    await catch_up(services)
    assert (await agent.call("DELETE", path)).json()["state"] == "finished"


BAD_RANGES = [
    ({"end": "2026-11-22T06:00:00Z"}, "/end", "after start"),
    ({"end": "2026-11-22T09:00:00.001Z"}, "/end", "2026-11-22T09:00:00.000Z"),
    ({"start": "2016-01-01T00:00:00Z"}, "/start", "3660 days"),
    ({"start": "2026-11-22T06:00:00"}, "/start", "with its offset"),
    ({"overlap": "buffer_one"}, "/overlap", "buffer_all"),
]


@pytest.mark.parametrize(("change", "pointer", "said"), BAD_RANGES)
async def test_a_range_that_cannot_be_is_refused(
    agent: TestAgent, change: dict[str, str], pointer: str, said: str
) -> None:
    made = await new_schedule(agent, HOURLY)
    answer = await agent.post(f"/v1/schedules/{made['id']}/backfill", {**MORNING, **change})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert said in error["detail"]


async def test_ten_thousand_slots_are_the_most(agent: TestAgent, services: Services, clock: OwnClock) -> None:
    made = await new_schedule(agent, {"every": "PT1S"})
    start = (EPOCH - timedelta(seconds=10_000)).isoformat()
    one_more = (EPOCH - timedelta(seconds=10_001)).isoformat()
    answer = await agent.post(f"/v1/schedules/{made['id']}/backfill", {"start": one_more, "end": EPOCH.isoformat()})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/end")
    assert "10000 slots" in answer.json()["errors"][0]["detail"]
    assert (await backfill(agent, made["id"], start=start, end=EPOCH.isoformat()))["slots"] == 10_000
    beside = await agent.post(f"/v1/schedules/{made['id']}/backfill", {**MORNING, "end": "2026-11-22T06:00:01Z"})
    assert (beside.status_code, beside.json()["type"]) == (409, "/problems/conflict")
    assert (await agent.call("DELETE", f"/v1/schedules/{made['id']}")).status_code == 204


async def test_another_agents_backfill_is_not_found(agent: TestAgent, new_agent: NewAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    asked = await backfill(agent, made["id"])
    stranger = await new_agent()
    for method in ("GET", "DELETE"):
        answer = await stranger.call(method, f"/v1/schedules/{made['id']}/backfills/{asked['id']}")
        assert answer.status_code == 404
    other = await new_schedule(agent, HOURLY)
    assert (await agent.get(f"/v1/schedules/{other['id']}/backfills/{asked['id']}")).status_code == 404


async def test_backfills_are_listed_page_by_page_newest_first(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    ids = [(await backfill(agent, made["id"]))["id"] for _ in range(3)]
    first = (await agent.get(f"/v1/schedules/{made['id']}/backfills?limit=2")).json()
    second = (await agent.get(f"/v1/schedules/{made['id']}/backfills?limit=2&cursor={first['next']}")).json()
    listed = [one["id"] for one in first["items"] + second["items"]]
    assert sorted(listed) == sorted(ids)
    assert second["next"] is None


async def test_a_range_in_another_zone_is_the_same_range(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    start = datetime(2026, 11, 22, 6, tzinfo=UTC).astimezone(tz=None).isoformat()
    assert (await backfill(agent, made["id"], start="2026-11-22T07:00:00+01:00"))["slots"] == 3
    assert (await backfill(agent, made["id"], start=start))["slots"] == 3
