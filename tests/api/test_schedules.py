"""Schedules are registered, shown, previewed and deleted."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.kit.database import Database
from tests.conftest import NewAgent
from tests.world import OwnClock, TestAgent


@pytest.fixture
async def endpoint_id(agent: TestAgent) -> str:
    """An endpoint of the agent's."""
    answer = await agent.post("/v1/endpoints", {"url": "http://127.0.0.1:20009/hook"})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def test_a_schedule_is_registered_and_shown(agent: TestAgent, endpoint_id: str) -> None:
    answer = await agent.post(
        "/v1/schedules",
        {
            "name": "weekly report",
            "endpoint_id": endpoint_id,
            "spec": {"cron": "0 9 * * 1", "timezone": "Europe/Berlin"},
            "payload": {"report": 1.50, "großes": [12345678901234567890]},
        },
    )
    assert answer.status_code == 201, answer.text
    schedule = answer.json()
    assert schedule["id"].startswith("sch_")
    assert schedule["next_fire"] == "2026-11-23T08:00:00.000Z"
    assert schedule["payload"] == {"report": 1.5, "großes": [12345678901234567890]}
    assert (schedule["state"], schedule["runs"], schedule["last_fire"], schedule["version"]) == ("active", 0, None, 1)
    assert (await agent.get(f"/v1/schedules/{schedule['id']}")).json() == schedule
    assert (await agent.get("/v1/schedules")).json() == {"items": [schedule], "next": None}


async def test_schedules_are_listed_page_by_page(agent: TestAgent, endpoint_id: str) -> None:
    new = {"endpoint_id": endpoint_id, "spec": {"every": "PT1H"}}
    ids = [(await agent.post("/v1/schedules", new)).json()["id"] for _ in range(3)]
    first = (await agent.get("/v1/schedules?limit=2")).json()
    second = (await agent.get(f"/v1/schedules?limit=2&cursor={first['next']}")).json()
    assert {s["id"] for s in first["items"] + second["items"]} == set(ids)
    assert second["next"] is None


async def test_a_deleted_schedule_is_gone(agent: TestAgent, endpoint_id: str) -> None:
    new = {"endpoint_id": endpoint_id, "spec": {"every": "PT1H"}}
    schedule_id = (await agent.post("/v1/schedules", new)).json()["id"]
    assert (await agent.call("DELETE", f"/v1/schedules/{schedule_id}")).status_code == 204
    assert (await agent.get(f"/v1/schedules/{schedule_id}")).status_code == 404
    assert (await agent.call("DELETE", f"/v1/schedules/{schedule_id}")).status_code == 404
    assert (await agent.get(f"/v1/schedules/{schedule_id}/fires")).status_code == 404


async def test_another_agents_schedule_is_not_found(agent: TestAgent, endpoint_id: str, new_agent: NewAgent) -> None:
    new = {"endpoint_id": endpoint_id, "spec": {"every": "PT1H"}}
    schedule_id = (await agent.post("/v1/schedules", new)).json()["id"]
    stranger = await new_agent()
    for method, path in (("GET", ""), ("GET", "/fires"), ("DELETE", "")):
        answer = await stranger.call(method, f"/v1/schedules/{schedule_id}{path}")
        assert answer.status_code == 404
        assert answer.json()["type"] == "/problems/not-found"
    assert (await stranger.get("/v1/schedules")).json()["items"] == []
    assert (await agent.get(f"/v1/schedules/{schedule_id}")).status_code == 200


async def test_another_agents_endpoint_cannot_be_rung(endpoint_id: str, new_agent: NewAgent) -> None:
    stranger = await new_agent()
    answer = await stranger.post("/v1/schedules", {"endpoint_id": endpoint_id, "spec": {"every": "PT1H"}})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("spec", "pointer", "said"),
    [
        ({"cron": "61 * * * *"}, "/spec/cron", "minute takes 0-59"),
        ({"cron": 5}, "/spec/cron", "string"),
        ({"cron": "0 0 30 2 *"}, "/spec/cron", "no month that it names has such a day"),
        ({"cron": "0 0 0 9 * * *"}, "/spec/cron", "expected 5 or 6 fields"),
        ({"cron": "0 9 * * *", "timezone": "../../etc/passwd"}, "/spec/timezone", "not an IANA time zone"),
        ({"cron": "0 9 * * *", "timezone": "A" * 5000}, "/spec/timezone", "at most 64 characters"),
        ({"cron": "0 9 * * *", "timezone": "localtime"}, "/spec/timezone", "not an IANA time zone"),
        ({"cron": "0 9 * * *", "dst": "never"}, "/spec/dst", "skip_gap"),
        ({"cron": "0 9 * * *", "every": "PT1S"}, "/spec", "exclude each other"),
        ({"cron": "30 2 * 3 SUN#2", "timezone": "America/New_York", "dst": "skip_gap"}, "/spec", "no slot"),
        ({"every": "PT0.5S"}, "/spec/every", "ISO 8601"),
        ({"at": "2026-11-22T08:58:59Z"}, "/spec", "no slot after 2026-11-22T08:59:00.000Z"),
        ({"at": "tomorrow"}, "/spec/at", "RFC 3339"),
        ({}, "/spec", "cron"),
    ],
)
async def test_a_bad_spec_is_refused_at_its_field(
    agent: TestAgent, endpoint_id: str, spec: dict[str, str], pointer: str, said: str
) -> None:
    answer = await agent.post("/v1/schedules", {"endpoint_id": endpoint_id, "spec": spec})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/bad-recurrence"
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert said in error["detail"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"colour": "red"}, "/colour"),
        ({"spec": "0 9 * * *"}, "/spec"),
        ({"spec": None}, "/spec"),
        ({"name": "two\nlines"}, "/name"),
        ({"name": ""}, "/name"),
        ({"endpoint_id": 7}, "/endpoint_id"),
        ({"payload": "x" * 65_536}, "/payload"),
        ({"payload": "\u0000"}, "/payload"),
    ],
)
async def test_a_bad_member_is_refused_at_its_place(
    agent: TestAgent, endpoint_id: str, database: Database, change: dict[str, Any], pointer: str
) -> None:
    new = {"endpoint_id": endpoint_id, "spec": {"every": "PT1H"}, **change}
    answer = await agent.post("/v1/schedules", new)
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"] == "/problems/invalid-body"
    assert answer.json()["errors"][0]["pointer"] == pointer
    async with database.transaction() as db:
        assert (await db.execute(text("select count(*) from schedules"))).scalar_one() == 0


async def test_an_instant_that_has_just_passed_is_accepted(agent: TestAgent, endpoint_id: str) -> None:
    answer = await agent.post("/v1/schedules", {"endpoint_id": endpoint_id, "spec": {"at": "2026-11-22T08:59:30Z"}})
    assert answer.status_code == 201
    assert answer.json()["next_fire"] == "2026-11-22T08:59:30.000Z"


async def test_an_unsigned_request_is_refused(http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/schedules")).status_code == 401


async def test_what_happens_to_a_schedule_is_an_event(agent: TestAgent, endpoint_id: str) -> None:
    new = {"endpoint_id": endpoint_id, "spec": {"every": "PT1H"}}
    schedule_id = (await agent.post("/v1/schedules", new)).json()["id"]
    await agent.call("DELETE", f"/v1/schedules/{schedule_id}")
    events = (await agent.get(f"/v1/events?subject={schedule_id}")).json()["items"]
    assert [event["kind"] for event in events] == ["schedule.created", "schedule.deleted"]
    assert events[0]["data"]["next_fire"] == "2026-11-22T10:00:00.000Z"


async def test_a_preview_shows_what_a_clock_change_does(agent: TestAgent, clock: OwnClock) -> None:
    asked = {"spec": {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}, "after": "2026-03-28T00:00:00Z", "count": 3}
    answer = await agent.post("/v1/schedules/preview", asked)
    assert answer.status_code == 200, answer.text
    preview = answer.json()
    assert preview["explanation"] == "At 02:30 every day, Europe/Berlin time"
    assert preview["fires"] == [
        {
            "scheduled_at": "2026-03-28T01:30:00.000Z",
            "fire_at": None,
            "local": "2026-03-28T02:30:00.000+01:00",
            "shift": None,
        },
        {
            "scheduled_at": "2026-03-29T01:00:00.000Z",
            "fire_at": None,
            "local": "2026-03-29T03:00:00.000+02:00",
            "shift": "moved",
        },
        {
            "scheduled_at": "2026-03-30T00:30:00.000Z",
            "fire_at": None,
            "local": "2026-03-30T02:30:00.000+02:00",
            "shift": None,
        },
    ]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"spec": {"cron": "@reboot"}}, "bad-recurrence"),
        ({"spec": {"every": "PT1S"}, "count": 0}, "invalid-body"),
        ({"spec": {"every": "PT1S"}, "count": 101}, "invalid-body"),
        ({"spec": {"every": "PT1S"}, "after": "2026-03-28"}, "invalid-body"),
        ({}, "invalid-body"),
    ],
)
async def test_a_preview_of_nonsense_is_refused(agent: TestAgent, asked: dict[str, Any], problem: str) -> None:
    answer = await agent.post("/v1/schedules/preview", asked)
    assert answer.status_code == 422
    assert answer.json()["type"] == f"/problems/{problem}"


async def test_a_cursor_that_was_never_given_is_refused(agent: TestAgent, endpoint_id: str) -> None:
    new = {"endpoint_id": endpoint_id, "spec": {"every": "PT1H"}}
    schedule_id = (await agent.post("/v1/schedules", new)).json()["id"]
    answer = await agent.get(f"/v1/schedules/{schedule_id}/fires?cursor=bm9uc2Vuc2U")
    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/invalid-cursor"
