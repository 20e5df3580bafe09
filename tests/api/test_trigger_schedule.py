"""Triggered, a schedule fires once more, now, and its own slots go on as they would have."""

from app.services import Services
from tests.api.schedules import HOURLY, journal, new_schedule, shown, told, work
from tests.world import OwnClock, TestAgent


async def test_a_triggered_schedule_fires_at_once(agent: TestAgent, services: Services, clock: OwnClock) -> None:
    made = await new_schedule(agent, HOURLY, payload="p", max_fires=1)
    answer = await agent.post(f"/v1/schedules/{made['id']}/trigger")
    assert answer.status_code == 202
    fire = answer.json()
    assert (fire["kind"], fire["state"], fire["scheduled_at"]) == ("manual", "planned", "2026-11-22T09:00:00.000Z")
    assert await told(agent, made["id"]) == ["schedule.created", "schedule.triggered"]
    await work(services)
    [fired] = (await agent.get(f"/v1/schedules/{made['id']}/fires")).json()["items"]
    assert (fired["id"], fired["state"], fired["run"], fired["lateness_ms"]) == (fire["id"], "fired", None, 0)
    delivery = (await agent.get(f"/v1/deliveries/{fired['delivery_id']}")).json()
    assert (delivery["body"]["data"]["kind"], delivery["body"]["data"]["payload"]) == ("manual", "p")
    assert (fired["delivery_state"], fired["attempts"]) == ("pending", 0)
    schedule = await shown(agent, made["id"])
    assert (schedule["state"], schedule["next_fire"], schedule["version"]) == ("active", "2026-11-22T10:00:00.000Z", 1)
    assert (schedule["runs"], schedule["last_fire"]) == (0, None)


async def test_it_takes_no_slot_even_at_the_same_time(agent: TestAgent, services: Services, clock: OwnClock) -> None:
    made = await new_schedule(agent, {"every": "PT2S"})
    await work(services)
    clock.advance(seconds=2)
    for _ in range(2):
        assert (await agent.post(f"/v1/schedules/{made['id']}/trigger")).status_code == 202
    await work(services)
    page = (await agent.get(f"/v1/schedules/{made['id']}/fires?state=fired")).json()["items"]
    assert sorted(fire["kind"] for fire in page) == ["auto", "manual", "manual"]
    assert {fire["scheduled_at"] for fire in page} == {"2026-11-22T09:00:02.000Z"}
    assert len({fire["id"] for fire in page}) == 3


async def test_a_completed_schedule_can_be_triggered(agent: TestAgent, services: Services, clock: OwnClock) -> None:
    made = await new_schedule(agent, {"at": "2026-11-22T09:00:01Z"})
    await work(services)
    clock.advance(seconds=1)
    await work(services)
    await agent.post(f"/v1/schedules/{made['id']}/trigger")
    await work(services)
    assert [state for _, state, _ in await journal(agent, made["id"])] == ["fired", "fired"]
    assert (await shown(agent, made["id"]))["state"] == "completed"


async def test_what_was_triggered_fires_though_the_spec_has_changed(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, HOURLY)
    await agent.post(f"/v1/schedules/{made['id']}/trigger")
    await agent.call("PATCH", f"/v1/schedules/{made['id']}", {"spec": {"every": "PT2H"}})
    await work(services)
    assert await journal(agent, made["id"]) == [("09:00:00", "fired", None)]


async def test_without_an_endpoint_there_is_nothing_to_ring(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    await agent.call("DELETE", f"/v1/endpoints/{made['endpoint_id']}")
    answer = await agent.post(f"/v1/schedules/{made['id']}/trigger")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")


async def test_a_deleted_schedule_does_not_fire_what_was_triggered(agent: TestAgent, services: Services) -> None:
    made = await new_schedule(agent, HOURLY)
    await agent.post(f"/v1/schedules/{made['id']}/trigger")
    await agent.call("DELETE", f"/v1/schedules/{made['id']}")
    await work(services)
    assert await journal(agent, made["id"]) == [("09:00:00", "skipped", "deleted")]
