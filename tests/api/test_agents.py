"""Agents register themselves, rotate their key, and revoke it."""

import httpx

from tests.conftest import NewAgent
from tests.world import OwnClock, TestAgent
from tocsin.keys import PrivateKey, base64url, rotation_statement


async def test_an_agent_registers_with_the_key_that_signs(http: httpx.AsyncClient, clock: OwnClock) -> None:
    agent = TestAgent(http, clock)
    answer = await agent.register(name="sleeper")
    assert answer.status_code == 201
    assert answer.json()["keyid"] == agent.key.public.keyid
    assert answer.json()["name"] == "sleeper"
    assert (await agent.get("/v1/agents/me")).json() == answer.json()


async def test_a_key_is_registered_once(agent: TestAgent) -> None:
    answer = await agent.register()
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/already-registered"


async def test_nobody_registers_a_key_that_is_not_theirs(http: httpx.AsyncClient, clock: OwnClock) -> None:
    thief = TestAgent(http, clock)
    answer = await thief.post("/v1/agents", {"public_key": PrivateKey.generate().public.jwk})
    assert answer.status_code == 401
    assert answer.json()["type"] == "/problems/invalid-signature"


async def test_a_key_of_small_order_is_refused(http: httpx.AsyncClient, clock: OwnClock) -> None:
    agent = TestAgent(http, clock)
    answer = await agent.post("/v1/agents", {"public_key": base64url(bytes(32))})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/public_key"


async def test_a_rotated_key_speaks_and_the_old_one_is_silent(agent: TestAgent) -> None:
    old, new = agent.key, PrivateKey.generate()
    proof = new.sign(rotation_statement(agent.id, old.public.keyid, new.public.keyid))
    answer = await agent.post("/v1/agents/me/rotate", {"public_key": new.public.jwk, "proof": base64url(proof)})
    assert answer.status_code == 200
    assert (await agent.get("/v1/agents/me")).json()["type"] == "/problems/revoked-key"
    agent.key = new
    me = (await agent.get("/v1/agents/me")).json()
    assert (me["id"], me["keyid"]) == (agent.id, new.public.keyid)


async def test_a_rotation_needs_the_new_keys_consent(agent: TestAgent) -> None:
    new = PrivateKey.generate()
    proof = agent.key.sign(rotation_statement(agent.id, agent.key.public.keyid, new.public.keyid))
    answer = await agent.post("/v1/agents/me/rotate", {"public_key": new.public.jwk, "proof": base64url(proof)})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/proof"


async def test_a_revoked_agent_is_silent_for_good(agent: TestAgent) -> None:
    assert (await agent.post("/v1/agents/me/revoke", {"reason": "lost"})).json()["revoked_at"] is not None
    assert (await agent.get("/v1/agents/me")).status_code == 401
    assert (await agent.register()).status_code == 409


async def test_the_journal_tells_an_agent_its_own_story_only(new_agent: NewAgent) -> None:
    mine, other = await new_agent(), await new_agent()
    events = (await mine.get("/v1/events")).json()["items"]
    assert [(e["kind"], e["subject"]) for e in events] == [("agent.registered", mine.id)]
    assert other.id not in str(events)
    # Who has read so far goes on from there.
    assert (await mine.get(f"/v1/events?after_seq={events[0]['seq']}")).json()["items"] == []
    assert (await mine.get(f"/v1/events?after_seq={events[0]['seq'] - 1}")).json()["items"] == events
