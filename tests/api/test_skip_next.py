"""Exactly one slot is skipped: the next."""

import asyncio

from app.services import Services
from tests.api.schedules import HOURLY, journal, new_schedule, shown, told, work
from tests.world import OwnClock, TestAgent


async def skip_next(agent: TestAgent, name: str) -> dict[str, object]:
    answer = await agent.post(f"/v1/schedules/{name}/skip-next")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_next_slot_is_skipped_before_it_is_planned(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    fire = await skip_next(agent, made["id"])
    assert (fire["scheduled_at"], fire["state"], fire["reason"]) == ("2026-11-22T10:00:00.000Z", "skipped", "owner")
    schedule = await shown(agent, made["id"])
    assert (schedule["next_fire"], schedule["version"]) == ("2026-11-22T11:00:00.000Z", 1)
    assert schedule["skipped"] == {"owner": 1}
    assert await told(agent, str(fire["id"])) == ["fire.skipped"]


async def test_the_next_slot_is_skipped_after_it_has_been_planned(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, {"every": "PT1S"})
    await work(services)
    assert (await skip_next(agent, made["id"]))["scheduled_at"] == "2026-11-22T09:00:01.000Z"
    assert (await skip_next(agent, made["id"]))["scheduled_at"] == "2026-11-22T09:00:02.000Z"
    clock.advance(seconds=3)
    await work(services)
    slots = (await journal(agent, made["id"]))[:3]
    assert slots == [("09:00:01", "skipped", "owner"), ("09:00:02", "skipped", "owner"), ("09:00:03", "fired", None)]


async def test_a_skipped_slot_stays_skipped_whatever_changes(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, HOURLY)
    await skip_next(agent, made["id"])
    path = f"/v1/schedules/{made['id']}"
    paused = await agent.post(f"{path}/pause", {})
    resumed = await agent.post(f"{path}/resume")
    changed = await agent.call("PATCH", path, {"spec": {"every": "PT30M"}})
    assert paused.status_code == resumed.status_code == 200
    assert resumed.json()["next_fire"] == "2026-11-22T11:00:00.000Z"
    assert changed.json()["next_fire"] == "2026-11-22T09:30:00.000Z"
    for _ in range(7):
        await work(services)
        clock.advance(minutes=15)
    await work(services)
    fired = [("09:30:00", "fired", None), ("10:00:00", "skipped", "owner"), ("10:30:00", "fired", None)]
    assert await journal(agent, made["id"]) == fired


async def test_skipping_the_only_slot_completes_the_schedule(agent: TestAgent) -> None:
    made = await new_schedule(agent, {"at": "2026-11-22T10:00:00Z"})
    await skip_next(agent, made["id"])
    assert (await shown(agent, made["id"]))["state"] == "completed"
    assert await told(agent, made["id"]) == ["schedule.created", "schedule.completed"]


async def test_of_a_paused_schedule_the_next_slot_to_come_is_skipped(agent: TestAgent, clock: OwnClock) -> None:
    made = await new_schedule(agent, HOURLY)
    await agent.post(f"/v1/schedules/{made['id']}/pause", {})
    clock.advance(hours=1, minutes=30)
    assert (await skip_next(agent, made["id"]))["scheduled_at"] == "2026-11-22T11:00:00.000Z"
    resumed = (await agent.post(f"/v1/schedules/{made['id']}/resume")).json()
    assert resumed["next_fire"] == "2026-11-22T12:00:00.000Z"
    assert await journal(agent, made["id"]) == [("10:00:00", "skipped", "paused"), ("11:00:00", "skipped", "owner")]


async def test_many_at_once_skip_as_many_slots(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    answers = await asyncio.gather(*(skip_next(agent, made["id"]) for _ in range(4)))
    assert sorted(str(fire["scheduled_at"])[11:13] for fire in answers) == ["10", "11", "12", "13"]


async def test_a_repeat_with_its_key_skips_no_other(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    answers = [
        (await agent.post(f"/v1/schedules/{made['id']}/skip-next", idempotency_key='"k"')).json() for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert len(await journal(agent, made["id"])) == 1


async def test_no_more_than_a_hundred_slots_are_skipped_in_advance(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    for _ in range(100):
        await skip_next(agent, made["id"])
    answer = await agent.post(f"/v1/schedules/{made['id']}/skip-next")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
