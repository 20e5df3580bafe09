"""A schedule under an id of the agent's choice: put there once, however often it is sent."""

import asyncio
from typing import Any

import pytest

from app.services import Services
from tests.api.schedules import HOURLY, endpoint_of, journal, new_schedule, put, shown, told, work
from tests.conftest import NewAgent
from tests.world import OwnClock, TestAgent


async def test_the_first_put_creates_and_the_next_replaces(agent: TestAgent) -> None:
    body = {"endpoint_id": await endpoint_of(agent), "spec": HOURLY, "name": "one"}
    first = await put(agent, "report", body)
    second = await put(agent, "report", {**body, "name": "two"})
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["chosen_id"] == "report"
    assert first.json()["id"].startswith("sch_")
    assert second.json()["id"] == first.json()["id"]
    assert (second.json()["name"], second.json()["version"]) == ("two", 2)
    assert (first.headers["etag"], second.headers["etag"]) == ('"1"', '"2"')
    assert await told(agent, first.json()["id"]) == ["schedule.created", "schedule.changed"]


async def test_a_put_of_what_is_there_changes_nothing(agent: TestAgent, clock: OwnClock, services: Services) -> None:
    body = {"endpoint_id": await endpoint_of(agent), "spec": {"every": "PT2S"}, "jitter": "PT1M", "payload": {"a": 1}}
    first = (await put(agent, "report", body)).json()
    await work(services)
    planned = (await agent.get("/v1/schedules/report/fires")).json()
    clock.advance(seconds=1)
    again = await put(agent, "report", {**body, "jitter": "PT60S"})
    assert again.status_code == 200
    assert again.json() == first
    assert (await agent.get("/v1/schedules/report/fires")).json() == planned
    assert await told(agent, first["id"]) == ["schedule.created"]


async def test_every_path_takes_either_id(agent: TestAgent) -> None:
    made = (await put(agent, "a.b:c-d_e", {"endpoint_id": await endpoint_of(agent), "spec": HOURLY})).json()
    for path in ("", "/fires", "/upcoming", "/backfills"):
        by_ours = await agent.get(f"/v1/schedules/{made['id']}{path}")
        by_theirs = await agent.get(f"/v1/schedules/a.b:c-d_e{path}")
        assert by_ours.status_code == 200
        assert by_ours.json() == by_theirs.json()
    renamed = await put(agent, made["id"], {"endpoint_id": made["endpoint_id"], "spec": HOURLY, "name": "x"})
    assert (renamed.status_code, renamed.json()["chosen_id"]) == (200, "a.b:c-d_e")


async def test_a_chosen_id_belongs_to_its_agent(new_agent: NewAgent) -> None:
    one, other = await new_agent(), await new_agent()
    for agent in (one, other):
        answer = await put(agent, "report", {"endpoint_id": await endpoint_of(agent), "spec": HOURLY})
        assert answer.status_code == 201
    assert (await one.get("/v1/schedules/report")).json()["id"] != (await other.get("/v1/schedules/report")).json()[
        "id"
    ]


@pytest.mark.parametrize("name", ["_x", ".x", "-x", "a b", "a" * 101, "ä", "a%2Fb", "%20"])
async def test_an_id_that_cannot_be_chosen_is_refused(agent: TestAgent, name: str) -> None:
    answer = await put(agent, name.replace("ä", "%C3%A4").replace(" ", "%20"), {"endpoint_id": "ep_1", "spec": HOURLY})
    assert answer.status_code in {400, 404}
    assert answer.json()["type"] == "/problems/invalid-id" or "%2F" in name


async def test_an_id_of_the_relays_own_cannot_be_chosen(agent: TestAgent) -> None:
    body = {"endpoint_id": await endpoint_of(agent), "spec": HOURLY}
    assert (await put(agent, "sch_mine", body)).status_code == 404


async def test_deleted_and_put_again_it_is_a_new_schedule(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    body = {"endpoint_id": await endpoint_of(agent), "spec": {"every": "PT2S"}}
    first = (await put(agent, "report", body)).json()
    await work(services)
    before = {fire["id"] for fire in (await agent.get("/v1/schedules/report/fires")).json()["items"]}
    assert (await agent.call("DELETE", "/v1/schedules/report")).status_code == 204
    second = await put(agent, "report", body)
    await work(services)
    after = {fire["id"] for fire in (await agent.get("/v1/schedules/report/fires")).json()["items"]}
    assert (second.status_code, second.json()["version"]) == (201, 1)
    assert second.json()["id"] != first["id"]
    assert len(before) == len(after) == 1
    assert not before & after


async def test_the_journal_of_a_deleted_schedule_stays_readable(
    agent: TestAgent, new_agent: NewAgent, services: Services
) -> None:
    made = (await put(agent, "report", {"endpoint_id": await endpoint_of(agent), "spec": {"every": "PT2S"}})).json()
    await work(services)
    await agent.call("DELETE", "/v1/schedules/report")
    assert await journal(agent, made["id"]) == [("09:00:02", "skipped", "deleted")]
    assert (await agent.get("/v1/schedules/report/fires")).status_code == 404
    assert (await (await new_agent()).get(f"/v1/schedules/{made['id']}/fires")).status_code == 404


async def test_many_puts_of_a_new_id_at_once_make_one_schedule(agent: TestAgent) -> None:
    endpoint_id = await endpoint_of(agent)
    bodies = [{"endpoint_id": endpoint_id, "spec": HOURLY, "name": f"writer {n}"} for n in range(6)]
    answers = await asyncio.gather(*(put(agent, "report", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 200, 201]
    assert sorted(answer.json()["version"] for answer in answers) == [1, 2, 3, 4, 5, 6]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len((await agent.get("/v1/schedules")).json()["items"]) == 1


async def test_a_put_replaces_the_whole(agent: TestAgent) -> None:
    body: dict[str, Any] = {"endpoint_id": await endpoint_of(agent), "spec": HOURLY}
    more = {
        "name": "x",
        "payload": [1],
        "starts_at": "2026-11-23T00:00:00.000Z",
        "ends_at": "2026-12-23T00:00:00.000Z",
        "max_fires": 3,
        "jitter": "PT1M30S",
        "overlap": "buffer_all",
        "buffer_max": 7,
        "misfire": "all",
        "catch_up_max": 5,
        "catch_up_window": "PT6H",
        "completion": "report",
        "completion_timeout": "P1DT1H",
        "pause_after_give_ups": 4,
        "notify_endpoint_id": body["endpoint_id"],
    }
    first = (await put(agent, "report", {**body, **more})).json()
    assert {name: first[name] for name in more} == more
    assert first["next_fire"] == "2026-11-23T00:00:00.000Z"
    second = (await put(agent, "report", body)).json()
    assert {name for name in more if second[name] is not None} == {"overlap", "misfire", "completion"}
    assert second["next_fire"] == "2026-11-22T10:00:00.000Z"


async def test_a_put_with_a_bad_spec_changes_nothing(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    answer = await put(agent, made["id"], {"endpoint_id": made["endpoint_id"], "spec": {"cron": "61 * * * *"}})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/bad-recurrence")
    assert await shown(agent, made["id"]) == made


async def test_a_put_of_an_instant_long_past_is_refused(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    answer = await put(agent, made["id"], {"endpoint_id": made["endpoint_id"], "spec": {"at": "2026-11-22T08:00:00Z"}})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/spec")


async def test_a_completed_schedule_is_taken_up_again_when_it_has_a_slot_to_come(
    agent: TestAgent, services: Services, clock: OwnClock
) -> None:
    body = {"endpoint_id": await endpoint_of(agent), "spec": {"at": "2026-11-22T09:00:01Z"}}
    await put(agent, "once", body)
    await work(services)
    clock.advance(seconds=1)
    await work(services)
    assert (await put(agent, "once", body)).json()["state"] == "completed"
    assert (await put(agent, "once", {**body, "name": "named"})).json()["state"] == "completed"
    revived = (await put(agent, "once", {**body, "spec": {"at": "2026-11-22T09:00:05Z"}})).json()
    assert (revived["state"], revived["next_fire"]) == ("active", "2026-11-22T09:00:05.000Z")
    await work(services)
    clock.advance(seconds=4)
    await work(services)
    assert await journal(agent, "once") == [("09:00:01", "fired", None), ("09:00:05", "fired", None)]
