"""Registering endpoints: what is accepted, what is refused, who sees them."""

import base64

import pytest

from app.kit import limits
from tests.conftest import NewAgent
from tests.world import TestAgent

URL = "http://127.0.0.1:9000/hook"


async def test_an_endpoint_is_pending_and_shows_its_secret_once(agent: TestAgent) -> None:
    created = await agent.post("/v1/endpoints", {"url": URL, "description": "main"})
    shown = await agent.get(f"/v1/endpoints/{created.json()['id']}")

    assert created.status_code == 201
    assert created.json()["state"] == "pending"
    assert created.json()["secret"].startswith("whsec_")
    assert shown.json() == {key: value for key, value in created.json().items() if key != "secret"}
    assert created.json()["id"].startswith("ep_")


async def test_an_agent_may_bring_its_own_secret(agent: TestAgent) -> None:
    secret = "whsec_" + base64.b64encode(bytes(range(24))).decode()

    created = await agent.post("/v1/endpoints", {"url": URL, "secret": secret})

    assert created.json()["secret"] == secret


@pytest.mark.parametrize(
    "secret",
    [
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        base64.b64encode(bytes(32)).decode(),
        "whsec_" + "?" * 32,
        "whsec_" + base64.b64encode(bytes(32)).decode().rstrip("="),
        "",
        42,
    ],
)
async def test_a_secret_of_another_kind_is_refused(agent: TestAgent, secret: object) -> None:
    refused = await agent.post("/v1/endpoints", {"url": URL, "secret": secret})

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/secret"
    assert (await agent.get("/v1/endpoints")).json()["items"] == []


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://10.0.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://[::ffff:10.0.0.1]/",
            "https://[fd00::1]/",
        ),
        *(
            "http://2130706433/",
            "http://0x7f.1/",
            "http://127.1/",
            "http://0/",
            "http://localhost./",
            "http://[::]:80/",
        ),
        *("https://user:pass@example.com/", "https://example.com/\r\nX: y", "http://example.com\\@127.0.0.1/"),
        *("http://[::1]%2f.example.com/", "https://example.com/#x", "ftp://127.0.0.1/", "not a url", "", "https://"),
        *("http://127.0.0.1:22/", "http://127.0.0.1:6379/", "http://1.1.1.1/", "https://nothing.invalid/"),
        *("https://" + "a" * 3000 + ".example/", None, 7, {"a": 1}),
    ],
)
async def test_a_url_that_we_would_not_call_is_refused_with_a_pointer(agent: TestAgent, url: object) -> None:
    refused = await agent.post("/v1/endpoints", {"url": url})

    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["errors"][0]["pointer"] == "/url"
    assert (await agent.get("/v1/endpoints")).json()["items"] == []


async def test_a_private_address_in_a_url_is_told_from_a_name_that_leads_nowhere(agent: TestAgent) -> None:
    unknown = await agent.post("/v1/endpoints", {"url": "https://nothing.invalid/"})
    private = await agent.post("/v1/endpoints", {"url": "https://10.0.0.1/"})

    assert unknown.json()["type"] == private.json()["type"] == "/problems/forbidden-address"
    assert unknown.json()["errors"][0]["detail"].startswith("the host does not resolve, or not only to public")
    assert private.json()["errors"][0]["detail"].startswith("10.0.0.1 is not a public address")


async def test_a_url_is_stored_as_it_was_understood(agent: TestAgent) -> None:
    created = await agent.post("/v1/endpoints", {"url": "HTTP://127.0.0.1:80/a b".replace(" ", "%20")})

    assert created.json()["url"] == "http://127.0.0.1/a%20b"


async def test_a_patch_changes_what_it_names_and_is_vetted_too(agent: TestAgent) -> None:
    id = (await agent.post("/v1/endpoints", {"url": URL, "description": "one"})).json()["id"]

    refused = await agent.call("PATCH", f"/v1/endpoints/{id}", {"url": "https://10.0.0.1/"})
    nothing = await agent.call("PATCH", f"/v1/endpoints/{id}", {"url": None})
    renamed = await agent.call("PATCH", f"/v1/endpoints/{id}", {"description": None})
    moved = await agent.call("PATCH", f"/v1/endpoints/{id}", {"url": "http://127.0.0.1:9001/"})

    assert (refused.status_code, nothing.status_code) == (422, 422)
    assert refused.json()["errors"][0]["pointer"] == nothing.json()["errors"][0]["pointer"] == "/url"
    assert (renamed.json()["description"], renamed.json()["url"]) == (None, URL)
    assert moved.json()["url"] == "http://127.0.0.1:9001/"


async def test_endpoints_are_listed_in_pages_oldest_first(agent: TestAgent) -> None:
    ids = [(await agent.post("/v1/endpoints", {"url": f"{URL}/{n}"})).json()["id"] for n in range(3)]

    first = (await agent.get("/v1/endpoints?limit=2")).json()
    second = (await agent.get(f"/v1/endpoints?limit=2&cursor={first['next']}")).json()
    active = (await agent.get("/v1/endpoints?state=active")).json()

    assert sorted(item["id"] for item in first["items"] + second["items"]) == sorted(ids)
    assert second["next"] is None
    assert active["items"] == []


async def test_an_endpoint_of_another_agent_is_not_found(agent: TestAgent, new_agent: NewAgent) -> None:
    id = (await agent.post("/v1/endpoints", {"url": URL})).json()["id"]
    other = await new_agent()

    answers = [
        await other.get(f"/v1/endpoints/{id}"),
        await other.call("PATCH", f"/v1/endpoints/{id}", {"description": "mine"}),
        await other.call("DELETE", f"/v1/endpoints/{id}"),
        await other.post(f"/v1/endpoints/{id}/verify"),
        await other.post(f"/v1/endpoints/{id}/enable"),
        await other.post(f"/v1/endpoints/{id}/test"),
    ]

    assert [answer.status_code for answer in answers] == [404] * 6
    assert (await other.get("/v1/endpoints")).json()["items"] == []


async def test_a_deleted_endpoint_is_gone(agent: TestAgent) -> None:
    id = (await agent.post("/v1/endpoints", {"url": URL})).json()["id"]

    deleted = await agent.call("DELETE", f"/v1/endpoints/{id}")

    assert deleted.status_code == 204
    assert (await agent.get(f"/v1/endpoints/{id}")).status_code == 404


async def test_an_endpoint_that_is_not_active_takes_no_test_ring_and_says_what_to_do(agent: TestAgent) -> None:
    id = (await agent.post("/v1/endpoints", {"url": URL})).json()["id"]

    pending = await agent.post(f"/v1/endpoints/{id}/test")
    await agent.post(f"/v1/endpoints/{id}/pause")
    paused = await agent.post(f"/v1/endpoints/{id}/test")

    assert (pending.status_code, paused.status_code) == (409, 409)
    assert pending.json()["type"] == "/problems/endpoint-not-active"
    assert "answer its verification challenge first" in pending.json()["detail"]
    assert paused.json()["detail"] == "the endpoint is paused; POST …/resume first"


async def test_what_happens_to_endpoints_is_in_the_journal(agent: TestAgent) -> None:
    id = (await agent.post("/v1/endpoints", {"url": URL})).json()["id"]
    await agent.call("PATCH", f"/v1/endpoints/{id}", {"description": "another"})
    await agent.call("DELETE", f"/v1/endpoints/{id}")

    journal = (await agent.get(f"/v1/events?subject={id}")).json()["items"]

    assert [event["kind"] for event in journal] == ["endpoint.created", "endpoint.changed", "endpoint.deleted"]
    assert journal[1]["data"] == {"changed": ["description"]}


async def test_the_relay_publishes_one_key_that_stays_the_same(agent: TestAgent) -> None:
    first = await agent.http.get("/.well-known/jwks.json")
    second = await agent.http.get("/.well-known/jwks.json")

    [key] = first.json()["keys"]
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")
    assert "d" not in key
    assert second.json() == first.json()


async def test_an_agent_has_so_many_endpoints_and_no_more(agent: TestAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "endpoints_per_agent_max", 2)
    answers = [await agent.post("/v1/endpoints", {"url": f"http://127.0.0.1:8999/{n}"}) for n in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 409]
    assert answers[2].json()["type"] == "/problems/conflict"
