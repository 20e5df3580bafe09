"""The same key and the same request get the same answer."""

import asyncio

from tests.world import TestAgent
from tocsin.keys import PrivateKey, base64url, rotation_statement


def _rotation(agent: TestAgent) -> dict[str, object]:
    new = PrivateKey.generate()
    proof = new.sign(rotation_statement(agent.id, agent.key.public.keyid, new.public.keyid))
    return {"public_key": new.public.jwk, "proof": base64url(proof)}


async def test_a_repeated_write_is_answered_from_memory(agent: TestAgent) -> None:
    first = await agent.post("/v1/agents/me/revoke", {"reason": "a"}, idempotency_key='"k1"')
    assert first.status_code == 200
    # The key is revoked now, so only the signature can be refused: the same request under it is not reached again.
    assert (await agent.post("/v1/agents/me/revoke", {"reason": "a"}, idempotency_key='"k1"')).status_code == 401


async def test_the_same_key_for_another_request_is_refused(agent: TestAgent) -> None:
    refused = await agent.post("/v1/agents/me/rotate", {}, idempotency_key='"k"')
    assert refused.status_code == 422
    assert refused.json()["type"] == "/problems/invalid-body"


async def test_a_key_that_is_no_key_is_refused(agent: TestAgent) -> None:
    answer = await agent.post("/v1/agents/me/revoke", {}, idempotency_key="a b")
    assert answer.json()["type"] == "/problems/invalid-idempotency-key"


async def test_two_at_once_do_it_once(agent: TestAgent) -> None:
    body = _rotation(agent)
    requests = [agent.signed("POST", "/v1/agents/me/rotate", body, {"idempotency_key": '"r"'}) for _ in range(5)]
    answers = await asyncio.gather(*(agent.http.send(request) for request in requests))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 401, 409}
