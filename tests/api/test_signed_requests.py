"""The door lets in who signed, once, for this relay."""

import httpx

from tests.world import OwnClock, TestAgent


async def test_an_unsigned_request_is_told_how_to_sign(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/agents/me")
    assert answer.status_code == 401
    assert answer.json()["type"] == "/problems/missing-signature"
    assert answer.headers["www-authenticate"] == "Signature"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == answer.headers["x-request-id"]


async def test_a_replayed_write_is_refused(agent: TestAgent) -> None:
    request = agent.signed("POST", "/v1/agents/me/revoke", {"unknown": 1})
    assert (await agent.http.send(request)).status_code == 422
    again = await agent.http.send(request)
    assert again.status_code == 401
    assert again.json()["type"] == "/problems/replayed-nonce"


async def test_a_read_may_be_repeated(agent: TestAgent) -> None:
    request = agent.signed("GET", "/v1/agents/me")
    assert (await agent.http.send(request)).status_code == 200
    assert (await agent.http.send(request)).status_code == 200


async def test_a_signature_grows_old(agent: TestAgent, clock: OwnClock) -> None:
    request = agent.signed("GET", "/v1/agents/me")
    clock.advance(seconds=121)
    answer = await agent.http.send(request)
    assert answer.json()["type"] == "/problems/signature-expired"


async def test_a_changed_body_is_named(agent: TestAgent) -> None:
    request = agent.signed("POST", "/v1/agents/me/revoke", {"reason": "a"})
    changed = agent.http.build_request(
        "POST", request.url, headers=request.headers, content=request.content.replace(b"a", b"b")
    )
    answer = await agent.http.send(changed)
    assert answer.status_code == 401
    assert answer.json()["component"] == "content-digest"
    assert '"@method": POST' in answer.json()["signature_base"]


async def test_a_request_for_another_host_is_refused(agent: TestAgent) -> None:
    request = agent.signed("GET", "/v1/agents/me")
    request.headers["host"] = "elsewhere.test"
    answer = await agent.http.send(request)
    assert answer.status_code == 401
    assert answer.json()["component"] == "@authority"


async def test_an_unknown_key_is_told_to_register(http: httpx.AsyncClient, clock: OwnClock) -> None:
    answer = await TestAgent(http, clock).get("/v1/agents/me")
    assert answer.json()["type"] == "/problems/unknown-key"
