"""A revoked agent is left alone: nobody could stop its rings any more."""

from app.services import Services
from tests.conftest import NewAgent
from tocsin.schemas.events import EventQuery
from workers.housekeeping import tidy


async def test_the_endpoints_of_a_revoked_agent_are_disabled(new_agent: NewAgent, services: Services) -> None:
    leaving, staying = await new_agent(), await new_agent()
    for agent in (leaving, staying):
        (await agent.post("/v1/endpoints", {"url": "http://127.0.0.1:9001/rings"})).raise_for_status()
    (await leaving.post("/v1/agents/me/revoke", {})).raise_for_status()

    await tidy(services)

    async with services.database.transaction() as db:
        assert await services.deliveries.endpoints.leave_revoked(db, services.clock.wall()) == 0
    [endpoint] = (await staying.get("/v1/endpoints")).json()["items"]
    assert endpoint["state"] == "pending"
    async with services.database.transaction() as db:
        told = await services.events.list(db, leaving.id, EventQuery(kind="endpoint.disabled"))
    assert [event.data for event in told.items] == [{"reason": "the agent was revoked"}]
