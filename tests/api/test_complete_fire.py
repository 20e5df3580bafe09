"""An agent reports that a run is done, and what waited for it goes on."""

from app.services import Services
from tests.api.schedules import HOURLY, catch_up, journal, new_schedule, told, work
from tests.conftest import NewAgent
from tests.world import OwnClock, TestAgent


async def running(agent: TestAgent, services: Services, clock: OwnClock) -> tuple[str, str]:
    """A schedule that waits for reports, and its outstanding run."""
    made = await new_schedule(agent, {"every": "PT1S"}, overlap="buffer_one", completion="report")
    await work(services)
    clock.advance(seconds=1)
    await work(services)
    [fire] = (await agent.get(f"/v1/schedules/{made['id']}/fires?state=fired")).json()["items"]
    return made["id"], fire["id"]


async def test_a_reported_run_lets_the_next_one_go(agent: TestAgent, services: Services, clock: OwnClock) -> None:
    name, fire_id = await running(agent, services, clock)
    clock.advance(seconds=1)
    await work(services)
    assert (await journal(agent, name))[:2] == [("09:00:01", "fired", None), ("09:00:02", "buffered", None)]
    answer = await agent.post(f"/v1/schedules/{name}/fires/{fire_id}/complete")
    assert answer.status_code == 200, answer.text
    assert answer.json()["completed_at"] == "2026-11-22T09:00:02.000Z"
    await work(services)
    assert (await journal(agent, name))[:2] == [("09:00:01", "fired", None), ("09:00:02", "fired", None)]
    assert "fire.completed" in await told(agent, fire_id)


async def test_reporting_it_again_changes_nothing(agent: TestAgent, services: Services, clock: OwnClock) -> None:
    name, fire_id = await running(agent, services, clock)
    first = await agent.post(f"/v1/schedules/{name}/fires/{fire_id}/complete")
    clock.advance(seconds=1)
    again = await agent.post(f"/v1/schedules/{name}/fires/{fire_id}/complete")
    assert (again.status_code, again.json()) == (200, first.json())


async def test_a_fire_that_nothing_waits_for_cannot_be_completed(agent: TestAgent, services: Services) -> None:
    made = await new_schedule(agent, HOURLY)
    fire = (await agent.post(f"/v1/schedules/{made['id']}/trigger")).json()
    path = f"/v1/schedules/{made['id']}/fires/{fire['id']}/complete"
    planned = await agent.post(path)
    assert (planned.status_code, planned.json()["type"]) == (409, "/problems/conflict")
    await work(services)
    assert (await agent.post(path)).status_code == 409


async def test_another_agents_run_is_not_found(
    agent: TestAgent, new_agent: NewAgent, services: Services, clock: OwnClock
) -> None:
    name, fire_id = await running(agent, services, clock)
    other = await new_schedule(agent, HOURLY)
    assert (await agent.post(f"/v1/schedules/{other['id']}/fires/{fire_id}/complete")).status_code == 404
    assert (await (await new_agent()).post(f"/v1/schedules/{name}/fires/{fire_id}/complete")).status_code == 404


async def test_pausing_while_a_run_is_outstanding_skips_what_waits(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    name, fire_id = await running(agent, services, clock)
    clock.advance(seconds=1)
    await work(services)
    await agent.post(f"/v1/schedules/{name}/pause", {})
    assert (await agent.post(f"/v1/schedules/{name}/fires/{fire_id}/complete")).status_code == 200
    await work(services)
    assert await journal(agent, name) == [("09:00:01", "fired", None), ("09:00:02", "skipped", "paused")]


async def test_what_waits_survives_a_change_of_the_spec(agent: TestAgent, services: Services, clock: OwnClock) -> None:
    name, fire_id = await running(agent, services, clock)
    clock.advance(seconds=1)
    await work(services)
    await agent.call("PATCH", f"/v1/schedules/{name}", {"spec": HOURLY})
    await agent.post(f"/v1/schedules/{name}/fires/{fire_id}/complete")
    # Let go, but not yet handed over: a further change does not lose it either.
    await agent.call("PATCH", f"/v1/schedules/{name}", {"spec": {"every": "PT2H"}})
    await work(services)
    assert await journal(agent, name) == [("09:00:01", "fired", None), ("09:00:02", "fired", None)]


async def test_a_slot_that_had_the_turn_and_is_paused_passes_it_on_to_a_backfill(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    name, fire_id = await running(agent, services, clock)
    asked = {"start": "2026-11-22T08:00:00Z", "end": "2026-11-22T08:00:01Z", "overlap": "buffer_all"}
    clock.advance(seconds=1)
    await work(services)
    assert (await agent.post(f"/v1/schedules/{name}/backfill", asked)).status_code == 201
    await catch_up(services)
    await agent.post(f"/v1/schedules/{name}/fires/{fire_id}/complete")
    await agent.post(f"/v1/schedules/{name}/pause", {})
    await catch_up(services)
    assert await journal(agent, name) == [
        ("08:00:00", "fired", None),
        ("09:00:01", "fired", None),
        ("09:00:02", "skipped", "paused"),
    ]
