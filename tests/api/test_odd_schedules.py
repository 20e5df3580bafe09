"""What nobody sends by accident is answered with a document that says what is wrong, and changes nothing."""

from typing import Any

import pytest

from tests.api.schedules import HOURLY, endpoint_of, new_schedule, put, shown
from tests.world import TestAgent

FIRST_DAY = {"starts_at": "0001-01-01T00:00:00Z", "ends_at": "0001-01-02T00:00:00Z"}


@pytest.mark.parametrize(
    ("odd", "pointer"),
    [
        (FIRST_DAY, "/ends_at"),
        ({"starts_at": "9999-12-31T23:59:59Z"}, "/spec"),
        ({"ends_at": "0001-01-01T00:00:00Z"}, "/ends_at"),
        ({"max_fires": 10**40}, "/max_fires"),
        ({"max_fires": True}, "/max_fires"),
        ({"max_fires": 1.5}, "/max_fires"),
        ({"catch_up_window": "P999999999W"}, "/catch_up_window"),
        ({"jitter": ""}, "/jitter"),
        ({"jitter": 5}, "/jitter"),
        ({"spec": {}}, "/spec"),
        ({"spec": []}, "/spec"),
        ({"spec": [[HOURLY]]}, "/spec"),
        ({"spec": [HOURLY] * 17}, "/spec"),
        ({"spec": {"union": [HOURLY], "exclude": [HOURLY] * 17}}, "/spec/exclude"),
        ({"spec": {"union": {"union": [HOURLY]}}}, "/spec/union"),
        ({"spec": {"every": "PT1H", "anchor": "0001-01-01T00:00:00Z"}}, "/spec/anchor"),
        ({"spec": {"cron": "0 9 * * *", "timezone": None}}, "/spec/timezone"),
        ({"spec": {"cron": "\N{ARABIC-INDIC DIGIT THREE} 9 * * *"}}, "/spec/cron"),
    ],
)
async def test_an_odd_member_of_a_new_schedule_is_pointed_at(
    agent: TestAgent, odd: dict[str, Any], pointer: str
) -> None:
    body = {"endpoint_id": await endpoint_of(agent), "spec": HOURLY, **odd}
    for answer in (await agent.post("/v1/schedules", body), await put(agent, "odd", body)):
        assert answer.status_code == 422, answer.text
        assert any(error["pointer"].startswith(pointer) for error in answer.json()["errors"]), answer.text
    assert (await agent.get("/v1/schedules")).json()["items"] == []


@pytest.mark.parametrize("name", ["ep_\N{SNOWMAN}", "\N{SNOWMAN}" * 100, ""])
async def test_an_odd_endpoint_is_none_of_ours(agent: TestAgent, name: str) -> None:
    made = await new_schedule(agent, HOURLY)
    answer = await agent.call("PATCH", f"/v1/schedules/{made['id']}", {"endpoint_id": name})
    assert answer.status_code == 404, answer.text
    assert await shown(agent, made["id"]) == made


async def test_a_backfill_of_the_first_year_has_no_slots(agent: TestAgent) -> None:
    made = await new_schedule(agent, HOURLY)
    asked = {"start": "0001-01-01T00:00:00Z", "end": "0001-01-02T00:00:00Z"}
    answer = await agent.post(f"/v1/schedules/{made['id']}/backfill", asked)
    assert (answer.status_code, answer.json()["slots"]) == (201, 0)


@pytest.mark.parametrize("after", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
async def test_a_preview_reaches_to_both_ends_of_the_calendar(agent: TestAgent, after: str) -> None:
    spec = {"cron": "0 9 * * *", "timezone": "Europe/Berlin"}
    answer = await agent.post("/v1/schedules/preview", {"spec": spec, "after": after})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "query",
    [
        "fires?since=0001-01-01T00:00:00%2B23:59",
        "fires?backfill=%00",
        "fires?cursor=MDAwMS0wMS0wMVQwMDowMDowMCsyMzo1OSBhdXRv",
        "fires?state=",
        "upcoming?count=101",
        "upcoming?count=1e1",
        "backfills?cursor=%20",
    ],
)
async def test_an_odd_query_names_its_parameter(agent: TestAgent, query: str) -> None:
    made = await new_schedule(agent, HOURLY)
    answer = await agent.get(f"/v1/schedules/{made['id']}/{query}")
    assert answer.status_code == 400, answer.text
