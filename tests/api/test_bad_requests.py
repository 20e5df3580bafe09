"""What cannot be read is refused with a document that says where and why, and changes nothing."""

import httpx
import pytest

from tests.world import TestAgent


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"{", ""),
        (b"[]", ""),
        (b'{"public_key": 7}', "/public_key"),
        (b'{"public_key": "x", "owner": "me"}', "/owner"),
        (b'{"public_key": "\\u0000"}', "/public_key"),
        (b"[" * 100_000, ""),
    ],
)
async def test_a_malformed_body_is_pointed_at(http: httpx.AsyncClient, body: bytes, pointer: str) -> None:
    answer = await http.post("/v1/agents", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert any(error["pointer"].startswith(pointer) for error in answer.json()["errors"])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"type": "a", "data": 1, "type": "b"}', "/type"),
        (b'{"type": "a", "data": [0, {"a/b": 1, "a/b": 2}]}', "/data/1/a~1b"),
        (b'{"type": "a", "data": 1, "d\\u0061ta": 2}', "/data"),
    ],
)
async def test_a_body_that_may_be_read_in_two_ways_is_refused(agent: TestAgent, body: bytes, pointer: str) -> None:
    answer = await agent.http.send(agent.signed("POST", "/v1/messages", body))
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-body")
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert "more than one member" in error["detail"]


async def test_a_body_of_another_type_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/agents", content=b"a=b", headers={"content-type": "text/plain"})
    assert answer.status_code == 415


async def test_a_large_body_is_refused_before_it_is_read(http: httpx.AsyncClient) -> None:
    async def endless() -> object:
        raise AssertionError("the body was read")
        yield b""

    declared = {"content-type": "application/json", "content-length": str(10**9)}
    answer = await http.post("/v1/agents", content=endless(), headers=declared)  # pyright: ignore
    assert answer.status_code == 413
    assert answer.json()["bytes_max"] == 256 * 1024


async def test_a_body_that_grows_too_large_is_refused(http: httpx.AsyncClient) -> None:
    async def chunks() -> object:
        for _ in range(10):
            yield b" " * 60_000

    answer = await http.post("/v1/agents", content=chunks(), headers={"content-type": "application/json"})  # pyright: ignore
    assert answer.status_code == 413


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "unknown=1", "limit=1&limit=2"])
async def test_a_malformed_query_names_its_parameter(agent: TestAgent, query: str) -> None:
    answer = await agent.get(f"/v1/events?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]


@pytest.mark.parametrize("cursor", ["!", "e", "eHg", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"])
async def test_a_cursor_of_nobody_is_refused(agent: TestAgent, cursor: str) -> None:
    answer = await agent.get(f"/v1/events?cursor={cursor}")
    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/invalid-cursor"


async def test_an_unknown_path_points_at_the_list(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_unknown_method_names_the_known_ones(http: httpx.AsyncClient) -> None:
    answer = await http.delete("/v1/agents")
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/llms.txt", "/openapi.json", "/", "/problems/not-found"]
)
async def test_public_pages_answer_anyone(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 200
