"""What no chain commits to has no proof, and whoever asks for one is told what can be done instead."""

from __future__ import annotations

import httpx

from app.kit.due import drain
from app.services import Services
from tests.conftest import NewAgent
from tests.world import TestAgent


async def test_a_webhook_of_an_inbox_has_no_proof(
    agent: TestAgent, new_agent: NewAgent, http: httpx.AsyncClient, services: Services
) -> None:
    opened = await agent.post("/v1/subscriptions", {"source": {"kind": "inbox", "verify": {"scheme": "none"}}})
    assert opened.status_code == 201, opened.text
    taken = await http.post(httpx.URL(opened.json()["source"]["url"]).path, content=b"hello")
    assert taken.status_code == 200, taken.text
    path = f"/v1/events/{taken.json()['event_id']}/proof"
    assert (await agent.get(path)).status_code == 404  # it was not told yet
    await drain(services.subscriptions.feed_next)
    refused = await agent.get(path)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/not-provable")
    assert "ask its sender" in refused.json()["detail"]
    assert (await (await new_agent()).get(path)).status_code == 404
    assert (await http.get(path)).status_code == 401
