"""A patch changes what it names; what is planned goes on, unless the change moves it."""

from typing import Any

import pytest

from app.services import Services
from tests.api.schedules import HOURLY, endpoint_of, journal, new_schedule, shown, told, work
from tests.world import OwnClock, TestAgent


async def patch(agent: TestAgent, schedule: dict[str, Any], **members: Any) -> dict[str, Any]:
    answer = await agent.call("PATCH", f"/v1/schedules/{schedule['id']}", members)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_what_is_left_out_stays_and_null_takes_away(agent: TestAgent, clock: OwnClock) -> None:
    made = await new_schedule(agent, HOURLY, name="x", payload={"a": 1.50}, ends_at="2026-12-01T00:00:00Z")
    clock.advance(seconds=5)
    changed = await patch(agent, made, name=None, overlap="skip")
    assert (changed["name"], changed["overlap"], changed["version"]) == (None, "skip", 2)
    kept = set(made) - {"name", "overlap", "version", "updated_at"}
    assert {name: changed[name] for name in kept} == {name: made[name] for name in kept}
    [_, event] = (await agent.get(f"/v1/events?subject={made['id']}")).json()["items"]
    assert (event["kind"], event["data"]["changed"]) == ("schedule.changed", ["name", "overlap"])


async def test_a_patch_of_nothing_changes_nothing(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY, name="x", jitter="PT1M")
    assert await patch(agent, made) == made
    assert await patch(agent, made, name="x", jitter="PT60S", spec=HOURLY) == made


CONTRADICTIONS = [
    ({}, {"buffer_max": 5}, "/buffer_max", "buffer_all"),
    ({"overlap": "buffer_all", "buffer_max": 5}, {"overlap": "skip"}, "/buffer_max", "buffer_all"),
    ({"misfire": "all", "catch_up_max": 5}, {"misfire": "latest"}, "/catch_up_max", "'all'"),
    ({}, {"completion_timeout": "PT1H"}, "/completion_timeout", "'report'"),
    ({"starts_at": "2026-12-01T00:00:00Z"}, {"ends_at": "2026-11-30T00:00:00Z"}, "/ends_at", "starts_at"),
    ({"ends_at": "2026-12-01T00:00:00Z"}, {"starts_at": "2026-12-02T00:00:00Z"}, "/ends_at", "2026-12-02"),
    ({}, {"endpoint_id": None}, "/endpoint_id", "null"),
    ({}, {"spec": {"every": "PT0S"}}, "/spec/every", "one second"),
]


@pytest.mark.parametrize(("before", "change", "pointer", "said"), CONTRADICTIONS)
async def test_a_contradiction_in_the_whole_is_refused_at_its_place(
    agent: TestAgent, before: dict[str, Any], change: dict[str, Any], pointer: str, said: str
) -> None:
    made = await new_schedule(agent, HOURLY, **before)
    answer = await agent.call("PATCH", f"/v1/schedules/{made['id']}", change)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert said in error["detail"]
    assert await shown(agent, made["id"]) == made


async def test_another_payload_reaches_the_fire_that_is_planned_already(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, {"every": "PT2S"}, payload="old")
    await work(services)
    before = (await agent.get(f"/v1/schedules/{made['id']}/fires")).json()["items"]
    await patch(agent, made, payload="new")
    clock.advance(seconds=2)
    await work(services)
    fires = (await agent.get(f"/v1/schedules/{made['id']}/fires?state=fired")).json()["items"]
    assert [fire["id"] for fire in fires] == [fire["id"] for fire in before]
    delivery = (await agent.get(f"/v1/deliveries/{fires[0]['delivery_id']}")).json()
    assert delivery["body"]["data"]["payload"] == "new"


async def test_another_spec_takes_back_what_is_to_come(agent: TestAgent, services: Services, clock: OwnClock) -> None:
    made = await new_schedule(agent, {"every": "PT1S"})
    await work(services)
    assert [slot for slot, *_ in await journal(agent, made["id"])] == ["09:00:01", "09:00:02", "09:00:03"]
    changed = await patch(agent, made, spec={"every": "PT2S", "anchor": "2026-11-22T09:00:00.500Z"})
    assert (changed["next_fire"], changed["runs"]) == ("2026-11-22T09:00:00.500Z", 0)
    assert await journal(agent, made["id"]) == []
    await work(services)
    clock.advance(seconds=2)
    await work(services)
    page = (await agent.get(f"/v1/schedules/{made['id']}/fires?state=fired")).json()["items"]
    assert [(fire["scheduled_at"], fire["run"]) for fire in page] == [("2026-11-22T09:00:00.500Z", 1)]


async def test_a_changed_and_restored_spec_fires_each_slot_once(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, {"every": "PT1S"})
    await work(services)
    clock.advance(seconds=1)
    await work(services)
    await patch(agent, made, spec={"every": "PT1H"})
    await patch(agent, made, spec={"every": "PT1S"})
    clock.advance(seconds=2)
    await work(services)
    slots = await journal(agent, made["id"])
    assert [slot for slot, *_ in slots] == sorted({slot for slot, *_ in slots})
    assert slots[:3] == [(f"09:00:0{second}", "fired", None) for second in (1, 2, 3)]
    runs = [f["run"] for f in (await agent.get(f"/v1/schedules/{made['id']}/fires?state=fired")).json()["items"]]
    assert runs == [3, 2, 1]


async def test_a_slot_that_waits_for_its_jitter_is_skipped_by_a_change_of_the_spec(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, {"at": "2026-11-22T09:00:01Z"}, jitter="P1D")
    await work(services)
    clock.advance(seconds=1)
    await patch(agent, made, spec=HOURLY)
    assert await journal(agent, made["id"]) == [("09:00:01", "skipped", "changed")]
    schedule = await shown(agent, made["id"])
    assert (schedule["skipped"], schedule["next_fire"]) == ({"changed": 1}, "2026-11-22T10:00:00.000Z")


async def test_a_slot_that_waits_for_its_jitter_survives_a_change_of_the_name(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, {"at": "2026-11-22T09:00:01Z"}, jitter="P1D")
    await work(services)
    clock.advance(seconds=1)
    await patch(agent, made, name="renamed")
    clock.advance(days=1)
    await work(services)
    assert await journal(agent, made["id"]) == [("09:00:01", "fired", None)]


async def test_slots_that_nobody_planned_are_written_down_before_the_spec_is_gone(
    agent: TestAgent, clock: OwnClock
) -> None:
    made = await new_schedule(agent, {"every": "PT1H"})
    clock.advance(hours=3)
    await patch(agent, made, spec={"every": "PT2H"})
    assert await journal(agent, made["id"]) == [(f"{hour}:00:00", "skipped", "changed") for hour in (10, 11, 12)]


async def test_an_end_in_the_past_completes_it(agent: TestAgent, clock: OwnClock) -> None:
    made = await new_schedule(agent, HOURLY)
    changed = await patch(agent, made, ends_at="2026-11-22T09:00:00Z")
    assert (changed["state"], changed["next_fire"]) == ("completed", None)
    assert await told(agent, made["id"]) == ["schedule.created", "schedule.changed", "schedule.completed"]
    revived = await patch(agent, made, ends_at=None)
    assert (revived["state"], revived["next_fire"]) == ("active", "2026-11-22T10:00:00.000Z")


async def test_a_bound_on_fires_counts_those_that_have_been(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, {"every": "PT1S"})
    for _ in range(3):
        await work(services)
        clock.advance(seconds=1)
        await work(services)
    assert (await patch(agent, made, max_fires=3))["state"] == "completed"
    assert (await patch(agent, made, max_fires=4))["state"] == "active"
    for _ in range(3):
        await work(services)
        clock.advance(seconds=1)
    await work(services)
    fired = [slot for slot in await journal(agent, made["id"]) if slot[1] == "fired"]
    assert len(fired) == 4
    assert (await shown(agent, made["id"]))["state"] == "completed"


async def test_a_schedule_whose_endpoint_was_deleted_needs_another(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    await agent.call("DELETE", f"/v1/endpoints/{made['endpoint_id']}")
    refused = await agent.call("PATCH", f"/v1/schedules/{made['id']}", {"name": "x"})
    assert refused.json()["errors"][0]["pointer"] == "/endpoint_id"
    assert (await patch(agent, made, endpoint_id=await endpoint_of(agent)))["version"] == 2


async def test_slots_that_nobody_came_to_before_the_bound_are_told_of(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, HOURLY)
    clock.advance(hours=1)
    await work(services)
    clock.advance(hours=2)  # no worker runs
    assert (await patch(agent, made, max_fires=1))["state"] == "completed"
    assert await journal(agent, made["id"]) == [
        ("10:00:00", "fired", None),
        ("11:00:00", "skipped", "max_fires"),
        ("12:00:00", "skipped", "max_fires"),
    ]
