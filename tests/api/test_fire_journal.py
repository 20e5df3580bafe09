"""The journal of a schedule, as its agent reads it."""

import pytest

from app.services import Services
from tests.api.schedules import HOURLY, catch_up, new_schedule, work
from tests.world import OwnClock, TestAgent


async def filled(agent: TestAgent, services: Services, clock: OwnClock) -> str:
    """A schedule with a fire of each kind in its journal, at 06:00, 09:00:01 and 09:00:03, and a skipped stretch."""
    made = await new_schedule(agent, {"every": "PT1H"})
    await agent.post(
        f"/v1/schedules/{made['id']}/backfill", {"start": "2026-11-22T06:00:00Z", "end": "2026-11-22T06:00:01Z"}
    )
    clock.advance(seconds=1)
    await agent.post(f"/v1/schedules/{made['id']}/trigger")
    await work(services)
    await catch_up(services)
    await agent.post(f"/v1/schedules/{made['id']}/skip-next")
    return made["id"]


FILTERS = [
    ("", ["auto", "manual", "backfill"]),
    ("kind=auto", ["auto"]),
    ("kind=manual", ["manual"]),
    ("kind=backfill", ["backfill"]),
    ("state=fired", ["manual", "backfill"]),
    ("state=fired&kind=auto", []),
    ("state=skipped", ["auto"]),
    ("since=2026-11-22T09:00:01Z", ["auto", "manual"]),
    ("until=2026-11-22T09:00:01Z", ["backfill"]),
    ("since=2026-11-22T06:00:00Z&until=2026-11-22T10:00:00Z", ["manual", "backfill"]),
    ("backfill=bkf_of_another", []),
]


@pytest.mark.parametrize(("query", "kinds"), FILTERS)
async def test_the_journal_is_filtered_and_the_latest_slot_comes_first(
    agent: TestAgent, services: Services, clock: OwnClock, query: str, kinds: list[str]
) -> None:
    name = await filled(agent, services, clock)
    page = (await agent.get(f"/v1/schedules/{name}/fires?{query}")).json()
    assert [fire["kind"] for fire in page["items"]] == kinds


async def test_fires_of_one_time_are_read_page_by_page(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    for _ in range(5):
        await agent.post(f"/v1/schedules/{made['id']}/trigger")
    seen: list[str] = []
    path: str | None = f"/v1/schedules/{made['id']}/fires?limit=2"
    while path is not None:
        page = (await agent.get(path)).json()
        seen += [fire["id"] for fire in page["items"]]
        path = page["next"] and f"/v1/schedules/{made['id']}/fires?limit=2&cursor={page['next']}"
    assert len(seen) == len(set(seen)) == 5


async def test_an_entry_that_stands_for_many_slots_is_found_by_any_of_them(agent: TestAgent, clock: OwnClock) -> None:
    made = await new_schedule(agent, {"every": "PT1S"})
    await agent.post(f"/v1/schedules/{made['id']}/pause", {})
    clock.advance(hours=5)
    await agent.post(f"/v1/schedules/{made['id']}/resume")
    page = (await agent.get(f"/v1/schedules/{made['id']}/fires?since=2026-11-22T12:00:00Z")).json()
    assert [fire["until"] is not None for fire in page["items"]] == [True]


@pytest.mark.parametrize("query", ["state=lost", "kind=own", "since=yesterday", "until=2026-11-22", "limit=0"])
async def test_a_filter_that_cannot_be_is_refused(agent: TestAgent, query: str) -> None:
    made = await new_schedule(agent, HOURLY)
    answer = await agent.get(f"/v1/schedules/{made['id']}/fires?{query}")
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-query")


async def test_a_fire_tells_how_its_delivery_goes(agent: TestAgent, services: Services, clock: OwnClock) -> None:
    made = await new_schedule(agent, {"at": "2026-11-22T09:00:01Z"})
    await work(services)
    clock.advance(seconds=1.25)
    await work(services)
    [fire] = (await agent.get(f"/v1/schedules/{made['id']}/fires")).json()["items"]
    delivery = (await agent.get(f"/v1/deliveries/{fire['delivery_id']}")).json()
    assert (fire["delivery_state"], fire["attempts"]) == (delivery["state"], delivery["attempts"]) == ("pending", 0)
    assert (fire["message_id"], fire["lateness_ms"]) == (delivery["message_id"], 250)
