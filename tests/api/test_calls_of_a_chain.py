"""How many calls of contracts are made at every block of a chain is bounded for all agents together."""

from __future__ import annotations

import pytest

from app.settings import ChainSettings, Settings
from tests.api.test_subscriptions import CALL, LOGS, ON, TOKEN, subscribe
from tests.conftest import NewAgent

CALLS = [{**ON, "kind": "evm.call", "address": TOKEN, "data": data} for data in ("0x01", "0x02", "0x03")]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    chain = ChainSettings.model_validate({"rpc_url": "http://127.0.0.1:1", "calls_max": 2})
    return settings.model_copy(update={"chains": {ON["chain"]: chain}})


async def test_one_call_too_many_is_refused_whoever_made_the_others(new_agent: NewAgent) -> None:
    one, other = await new_agent(), await new_agent()
    await subscribe(one, CALLS[0])
    second = await subscribe(other, CALLS[1])
    for source in (CALLS[2], CALL):
        refused = await other.post("/v1/subscriptions", {"source": source})
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/too-many-calls")
        assert f"2 different calls at every block of {ON['chain']}" in refused.json()["detail"]
    # What is made already costs nothing more, nor does what is no call.
    await subscribe(one, CALLS[1])
    await subscribe(one, {**CALLS[1], "where": "!current.reverted"})
    await subscribe(one, LOGS)
    # Nothing is left of what was refused, and what ends makes room.
    for subscription in (await one.get("/v1/subscriptions")).json()["items"]:
        assert (await one.call("DELETE", f"/v1/subscriptions/{subscription['id']}")).status_code == 204
    await subscribe(one, CALLS[2])
    assert second["state"] == "starting"
