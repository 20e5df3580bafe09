"""What is to come of a schedule, before it comes."""

from app.services import Services
from tests.api.schedules import HOURLY, new_schedule, work
from tests.world import OwnClock, TestAgent
from tocsin.schemas.schedules import SchedulePreview


async def upcoming(agent: TestAgent, name: str, count: int = 3) -> SchedulePreview:
    answer = await agent.get(f"/v1/schedules/{name}/upcoming?count={count}")
    assert answer.status_code == 200, answer.text
    return SchedulePreview.model_validate_json(answer.content)


def hours(preview: SchedulePreview) -> list[int]:
    return [fire.scheduled_at.hour for fire in preview.fires]


async def test_the_next_slots_are_shown_with_their_jitter_as_they_will_fire(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    made = await new_schedule(agent, {"every": "PT1S"}, jitter="PT30S")
    foreseen = (await upcoming(agent, made["id"])).fires
    await work(services)
    assert (await upcoming(agent, made["id"])).fires == foreseen
    clock.advance(seconds=5)
    await work(services)
    page = (await agent.get(f"/v1/schedules/{made['id']}/fires")).json()["items"]
    assert [(fire["scheduled_at"], fire["fire_at"]) for fire in reversed(page)][:3] == [
        (fire.model_dump(mode="json")["scheduled_at"], fire.model_dump(mode="json")["fire_at"]) for fire in foreseen
    ]
    assert all(fire["lateness_ms"] >= 0 for fire in page if fire["state"] == "fired")


async def test_what_has_jitter_is_not_told_to_add_it(agent: TestAgent) -> None:
    crowded, spread = await new_schedule(agent, HOURLY), await new_schedule(agent, HOURLY, jitter="PT5M")
    warned = [[one.code for one in (await upcoming(agent, made["id"])).warnings] for made in (crowded, spread)]
    assert warned == [["top_of_the_hour"], []]


async def test_bounds_count(agent: TestAgent) -> None:
    made = await new_schedule(
        agent, HOURLY, starts_at="2026-11-22T11:00:00Z", ends_at="2026-11-22T14:00:00Z", max_fires=2
    )
    assert hours(await upcoming(agent, made["id"], 9)) == [11, 12]
    await agent.call("PATCH", f"/v1/schedules/{made['id']}", {"max_fires": None})
    assert hours(await upcoming(agent, made["id"], 9)) == [11, 12, 13, 14]


async def test_slots_that_the_owner_skipped_are_left_out(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    await agent.post(f"/v1/schedules/{made['id']}/skip-next")
    assert hours(await upcoming(agent, made["id"])) == [11, 12, 13]


async def test_of_a_paused_schedule_it_is_what_would_come(agent: TestAgent, clock: OwnClock) -> None:
    made = await new_schedule(agent, HOURLY)
    await agent.post(f"/v1/schedules/{made['id']}/pause", {})
    clock.advance(hours=2, minutes=1)
    assert hours(await upcoming(agent, made["id"])) == [12, 13, 14]


async def test_nothing_comes_of_a_completed_schedule(agent: TestAgent) -> None:
    made = await new_schedule(agent, {"at": "2026-11-22T10:00:00Z"})
    await agent.post(f"/v1/schedules/{made['id']}/skip-next")
    assert hours(await upcoming(agent, made["id"])) == []


async def test_a_preview_warns_of_what_may_not_be_meant_and_keeps_to_its_bounds(agent: TestAgent) -> None:
    asked = {
        "spec": [{"cron": "0 9 29 2 *"}, {"cron": "0 10 29 2 *"}],
        "starts_at": "2028-01-01T00:00:00Z",
        "ends_at": "2032-02-29T09:30:00Z",
    }
    preview = (await agent.post("/v1/schedules/preview", asked)).json()
    assert [fire["scheduled_at"][:13] for fire in preview["fires"]] == [
        "2028-02-29T09",
        "2028-02-29T10",
        "2032-02-29T09",
    ]
    assert "leap_day_only" in {warning["code"] for warning in preview["warnings"]}
    assert all(warning["detail"] for warning in preview["warnings"])
