"""A paused schedule does not fire; resumed, it goes on with its next slot, and says what it let pass."""

from app.services import Services
from tests.api.schedules import HOURLY, catch_up, journal, new_schedule, shown, told, work
from tests.world import OwnClock, TestAgent


async def pause(agent: TestAgent, name: str, reason: str | None = None) -> dict[str, object]:
    answer = await agent.post(f"/v1/schedules/{name}/pause", {"reason": reason} if reason else {})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def resume(agent: TestAgent, name: str) -> dict[str, object]:
    answer = await agent.post(f"/v1/schedules/{name}/resume")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_paused_schedule_does_not_fire(agent: TestAgent, services: Services, clock: OwnClock) -> None:
    made = await new_schedule(agent, {"every": "PT1S"})
    await work(services)
    paused = await pause(agent, made["id"], "holidays")
    assert (paused["state"], paused["pause_reason"], paused["next_fire"]) == ("paused", "holidays", None)
    assert (paused["paused_at"], paused["version"], paused["runs"]) == ("2026-11-22T09:00:00.000Z", 2, 0)
    clock.advance(seconds=10)
    await work(services)
    assert (await agent.get("/v1/deliveries")).json()["items"] == []
    assert await journal(agent, made["id"]) == []


async def test_a_resumed_schedule_goes_on_with_the_next_slot_and_says_what_passed(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, {"every": "PT10S"})
    await pause(agent, made["id"])
    clock.advance(seconds=31)
    resumed = await resume(agent, made["id"])
    assert (resumed["state"], resumed["next_fire"], resumed["version"]) == ("active", "2026-11-22T09:00:40.000Z", 3)
    assert (resumed["pause_reason"], resumed["paused_at"]) == (None, None)
    assert resumed["skipped"] == {"paused": 3}
    clock.advance(seconds=8)
    await work(services)
    clock.advance(seconds=1)
    await work(services)
    passed = [(f"09:00:{second}", "skipped", "paused") for second in (10, 20, 30)]
    assert await journal(agent, made["id"]) == [*passed, ("09:00:40", "fired", None)]
    [fire] = (await agent.get(f"/v1/schedules/{made['id']}/fires?state=fired")).json()["items"]
    assert fire["run"] == 1
    assert await told(agent, made["id"]) == ["schedule.created", "schedule.paused", "schedule.resumed"]


async def test_a_year_of_seconds_that_passed_is_a_hundred_entries(agent: TestAgent, clock: OwnClock) -> None:
    made = await new_schedule(agent, {"every": "PT1S"})
    await pause(agent, made["id"])
    clock.advance(days=365)
    await resume(agent, made["id"])
    page = (await agent.get(f"/v1/schedules/{made['id']}/fires?limit=100")).json()
    assert (len(page["items"]), page["next"]) == (100, None)
    assert page["items"][0]["until"] == "2027-11-22T09:00:00.000Z"


async def test_pausing_before_a_slot_and_resuming_before_it_loses_nothing(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, {"every": "PT2S"})
    await work(services)
    await pause(agent, made["id"])
    await resume(agent, made["id"])
    await work(services)
    clock.advance(seconds=2)
    await work(services)
    assert await journal(agent, made["id"]) == [("09:00:02", "fired", None), ("09:00:04", "planned", None)]


async def test_a_slot_that_waits_for_its_jitter_is_skipped_by_a_pause(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, {"at": "2026-11-22T09:00:01Z"}, jitter="P1D")
    await work(services)
    clock.advance(seconds=1)
    await pause(agent, made["id"])
    assert await journal(agent, made["id"]) == [("09:00:01", "skipped", "paused")]
    assert (await resume(agent, made["id"]))["state"] == "completed"


async def test_pausing_again_only_gives_another_reason(agent: TestAgent, clock: OwnClock) -> None:
    made = await new_schedule(agent, HOURLY)
    first = await pause(agent, made["id"], "one")
    clock.advance(seconds=1)
    assert await pause(agent, made["id"], "one") == first
    assert await pause(agent, made["id"]) == first
    other = await pause(agent, made["id"], "two")
    assert (other["pause_reason"], other["version"], other["paused_at"]) == ("two", 3, first["paused_at"])


async def test_resuming_what_is_active_changes_nothing(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    assert await resume(agent, made["id"]) == made


async def test_a_completed_schedule_can_be_neither_paused_nor_resumed(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, {"at": "2026-11-22T09:00:01Z"})
    await work(services)
    clock.advance(seconds=1)
    await work(services)
    for verb, body in (("pause", {}), ("resume", None), ("skip-next", None)):
        answer = await agent.post(f"/v1/schedules/{made['id']}/{verb}", body)
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
        assert "completed" in answer.json()["detail"]


async def test_an_instant_that_passed_while_paused_is_skipped_and_completes_it(
    agent: TestAgent, clock: OwnClock
) -> None:
    made = await new_schedule(agent, {"at": "2026-11-22T09:00:10Z"})
    await pause(agent, made["id"])
    clock.advance(seconds=10)
    assert (await resume(agent, made["id"]))["state"] == "completed"
    assert await journal(agent, made["id"]) == [("09:00:10", "skipped", "paused")]


async def test_another_spec_while_paused_writes_down_what_passed_under_the_old_one(
    agent: TestAgent, clock: OwnClock
) -> None:
    made = await new_schedule(agent, HOURLY)
    await pause(agent, made["id"])
    clock.advance(hours=2)
    answer = await agent.call("PATCH", f"/v1/schedules/{made['id']}", {"spec": {"every": "PT30M"}})
    assert answer.json()["state"] == "paused"
    clock.advance(minutes=45)
    await resume(agent, made["id"])
    slots = [slot for slot, *_ in await journal(agent, made["id"])]
    assert slots == ["10:00:00", "11:00:00", "11:30:00"]
    assert (await shown(agent, made["id"]))["next_fire"] == "2026-11-22T12:00:00.000Z"


async def test_what_was_triggered_or_backfilled_fires_while_paused(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, HOURLY)
    asked = {"start": "2026-11-22T07:00:00Z", "end": "2026-11-22T09:00:00Z"}
    assert (await agent.post(f"/v1/schedules/{made['id']}/backfill", asked)).status_code == 201
    await pause(agent, made["id"])
    assert (await agent.post(f"/v1/schedules/{made['id']}/trigger")).status_code == 202
    await work(services)
    await catch_up(services)
    assert [state for _, state, _ in await journal(agent, made["id"])] == ["fired"] * 3
