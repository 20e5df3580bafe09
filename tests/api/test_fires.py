"""What became of each slot is there to read."""

from typing import Any

from app.kit.due import drain
from app.services import Services
from tests.world import OwnClock, TestAgent


async def schedule_of(agent: TestAgent, spec: dict[str, str]) -> str:
    endpoint = (await agent.post("/v1/endpoints", {"url": "http://127.0.0.1:20009/hook"})).json()
    answer = await agent.post("/v1/schedules", {"endpoint_id": endpoint["id"], "spec": spec})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def work(services: Services) -> None:
    await drain(services.schedules.plan_next)
    await drain(services.schedules.fire_next)


def slots(page: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(fire["scheduled_at"][14:19], fire["state"], fire["reason"]) for fire in page["items"]]


async def test_the_journal_shows_what_fired_and_what_is_planned(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    schedule_id = await schedule_of(agent, {"every": "PT2S"})
    await work(services)
    clock.advance(seconds=2.005)
    await work(services)
    page = (await agent.get(f"/v1/schedules/{schedule_id}/fires")).json()
    assert slots(page) == [("00:04", "planned", None), ("00:02", "fired", None)]
    fired = page["items"][1]
    assert (fired["kind"], fired["run"], fired["lateness_ms"]) == ("auto", 1, 5)
    assert fired["message_id"].startswith("msg_")
    only_fired = (await agent.get(f"/v1/schedules/{schedule_id}/fires?state=fired")).json()
    assert only_fired["items"] == [fired]


async def test_a_planned_slot_is_still_the_next_one(agent: TestAgent, services: Services, clock: OwnClock) -> None:
    schedule_id = await schedule_of(agent, {"every": "PT2S"})
    await work(services)
    shown = (await agent.get(f"/v1/schedules/{schedule_id}")).json()
    assert (shown["next_fire"], shown["runs"], shown["last_fire"]) == ("2026-11-22T09:00:02.000Z", 0, None)
    clock.advance(seconds=2)
    await work(services)
    shown = (await agent.get(f"/v1/schedules/{schedule_id}")).json()
    assert (shown["next_fire"], shown["runs"]) == ("2026-11-22T09:00:04.000Z", 1)
    assert shown["last_fire"] == "2026-11-22T09:00:02.000Z"


async def test_a_completed_schedule_says_so(agent: TestAgent, services: Services, clock: OwnClock) -> None:
    schedule_id = await schedule_of(agent, {"at": "2026-11-22T09:00:01Z"})
    await work(services)
    clock.advance(seconds=1)
    await work(services)
    shown = (await agent.get(f"/v1/schedules/{schedule_id}")).json()
    assert (shown["state"], shown["next_fire"], shown["runs"]) == ("completed", None, 1)
    assert (await agent.get("/v1/schedules?state=completed")).json()["items"] == [shown]
    assert (await agent.get("/v1/schedules?state=active")).json()["items"] == []


async def test_the_journal_is_read_page_by_page(agent: TestAgent, services: Services, clock: OwnClock) -> None:
    schedule_id = await schedule_of(agent, {"every": "PT1S"})
    await work(services)
    seen: list[str] = []
    path: str | None = f"/v1/schedules/{schedule_id}/fires?limit=2"
    while path is not None:
        page = (await agent.get(path)).json()
        seen += [fire["scheduled_at"][17:19] for fire in page["items"]]
        path = page["next"] and f"/v1/schedules/{schedule_id}/fires?limit=2&cursor={page['next']}"
    assert seen == ["03", "02", "01"]


async def test_deleting_a_schedule_stops_what_was_planned_of_it(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    schedule_id = await schedule_of(agent, {"every": "PT1S"})
    await work(services)
    await agent.call("DELETE", f"/v1/schedules/{schedule_id}")
    clock.advance(seconds=10)
    await work(services)
    assert (await agent.get("/v1/deliveries")).json()["items"] == []
    told = (await agent.get("/v1/events?kind=fire.skipped")).json()["items"]
    assert [event["data"]["reason"] for event in told] == ["deleted"] * 3


async def test_an_instant_that_has_just_passed_fires_at_once(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    schedule_id = await schedule_of(agent, {"at": "2026-11-22T08:59:30Z"})
    await work(services)
    [fire] = (await agent.get(f"/v1/schedules/{schedule_id}/fires")).json()["items"]
    assert (fire["state"], fire["lateness_ms"]) == ("fired", 30_000)


async def test_a_fire_is_an_event(agent: TestAgent, services: Services, clock: OwnClock) -> None:
    await schedule_of(agent, {"at": "2026-11-22T09:00:01Z"})
    await work(services)
    clock.advance(seconds=1)
    await work(services)
    [event] = (await agent.get("/v1/events?kind=fire.fired")).json()["items"]
    assert event["data"]["scheduled_at"] == "2026-11-22T09:00:01.000Z"
    assert event["data"]["run"] == 1
