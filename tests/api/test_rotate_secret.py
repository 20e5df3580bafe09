"""Rotating an endpoint's secret: for how long both sign, who sees what, and what is stored."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from tests.conftest import NewAgent
from tests.receivers import Post, Receiver, receiving
from tests.world import EPOCH, OwnClock, TestAgent
from tocsin import webhooks

SECRET = webhooks.new_secret()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


@pytest.fixture
async def endpoint(services, agent: TestAgent, receiver: Receiver) -> dict:
    """An active endpoint with a secret of its owner's, and a header."""
    body = {"url": receiver.url, "secret": SECRET, "headers": {"Authorization": "Bearer do-not-show-me"}}
    created = (await agent.post("/v1/endpoints", body)).json()
    while await services.deliveries.verify_next():
        pass
    return created


async def ring(services, agent: TestAgent, receiver: Receiver, endpoint: dict) -> Post:
    """What arrives when this endpoint is rung."""
    (await agent.post(f"/v1/endpoints/{endpoint['id']}/test")).raise_for_status()
    while await services.deliveries.deliver_next():
        pass
    return receiver.rings[-1]


def versions(post: Post) -> list[str]:
    return [token.partition(",")[0] for token in post.headers["webhook-signature"].split(" ")]


def signed_by(post: Post, clock: OwnClock) -> list[str]:
    """Which of the secrets verify this, by name."""

    def verifies(secret: str) -> bool:
        try:
            webhooks.verify(post.body, post.headers, secret=secret, now=clock.wall())
        except webhooks.SignatureMismatch:
            return False
        return True

    return [secret for secret in (*rotated_to, SECRET) if verifies(secret)]


rotated_to: list[str] = []


@pytest.fixture(autouse=True)
def forget_rotations():
    rotated_to.clear()


async def rotate(agent: TestAgent, endpoint: dict, **body) -> dict:
    answer = await agent.post(f"/v1/endpoints/{endpoint['id']}/rotate-secret", body)
    assert answer.status_code == 200, answer.text
    rotated_to.insert(0, answer.json()["secret"])
    return answer.json()


async def test_both_sign_during_the_overlap_and_the_new_one_after_it(
    services, agent, receiver, clock, endpoint
) -> None:
    rotated = await rotate(agent, endpoint, overlap_seconds=3600)
    during = await ring(services, agent, receiver, endpoint)
    by_both = signed_by(during, clock)
    clock.advance(seconds=3600)
    after = await ring(services, agent, receiver, endpoint)

    assert versions(during) == ["v1", "v1", "v1a"]
    assert by_both == [rotated["secret"], SECRET]
    assert during.headers["webhook-signature"].startswith(
        webhooks.sign(during.id, EPOCH, during.body, secrets=[rotated["secret"]])["webhook-signature"]
    ), "the current one signs first"
    assert versions(after) == ["v1", "v1a"]
    assert signed_by(after, clock) == [rotated["secret"]]


async def test_without_an_overlap_the_secret_before_ends_at_once(services, agent, receiver, clock, endpoint) -> None:
    rotated = await rotate(agent, endpoint, overlap_seconds=0)
    assert rotated["previous_expires_at"] is None
    assert len(rotated["secrets"]) == 1
    assert signed_by(await ring(services, agent, receiver, endpoint), clock) == [rotated["secret"]]


async def test_one_may_bring_the_new_secret_and_go_back_to_the_old_one(
    services, agent, receiver, clock, endpoint
) -> None:
    own = webhooks.new_secret()
    assert (await rotate(agent, endpoint, secret=own))["secret"] == own
    back = await rotate(agent, endpoint, secret=SECRET)
    assert len(back["secrets"]) == 2
    same = await agent.post(f"/v1/endpoints/{endpoint['id']}/rotate-secret", {"secret": SECRET})
    assert same.status_code == 422
    assert same.json()["errors"][0]["pointer"] == "/secret"


async def test_at_most_five_sign_and_the_refusal_says_what_to_do(agent, endpoint) -> None:
    for _ in range(4):
        await rotate(agent, endpoint)
    refused = await agent.post(f"/v1/endpoints/{endpoint['id']}/rotate-secret")
    assert refused.status_code == 409
    assert "overlap_seconds" in refused.json()["detail"]
    assert len((await rotate(agent, endpoint, overlap_seconds=0))["secrets"]) == 1


async def test_a_later_rotation_prolongs_no_earlier_end(agent, clock, endpoint) -> None:
    await rotate(agent, endpoint, overlap_seconds=60)
    rotated = await rotate(agent, endpoint, overlap_seconds=3600)
    ends = [each["expires_at"] for each in rotated["secrets"]]
    assert ends == [None, "2026-11-22T10:00:00.000Z", "2026-11-22T09:01:00.000Z"]
    assert rotated["previous_expires_at"] == "2026-11-22T10:00:00.000Z"


@pytest.mark.parametrize("overlap", [-1, 604_801, "1d", None])
async def test_an_overlap_out_of_bounds_is_refused(agent, endpoint, overlap) -> None:
    refused = await agent.post(f"/v1/endpoints/{endpoint['id']}/rotate-secret", {"overlap_seconds": overlap})
    assert refused.status_code == 422


async def test_anothers_secret_cannot_be_rotated(new_agent: NewAgent, endpoint) -> None:
    stranger = await new_agent()
    assert (await stranger.post(f"/v1/endpoints/{endpoint['id']}/rotate-secret")).status_code == 404


async def test_a_rotation_is_an_event_without_the_secret(agent, endpoint) -> None:
    rotated = await rotate(agent, endpoint)
    told = await agent.get("/v1/events?kind=endpoint.secret-rotated")
    assert [event["subject"] for event in told.json()["items"]] == [endpoint["id"]]
    assert rotated["secret"] not in told.text


async def test_a_challenge_in_the_middle_of_a_rotation_is_signed_by_both(services, agent, receiver, clock) -> None:
    created = (await agent.post("/v1/endpoints", {"url": receiver.url, "secret": SECRET})).json()
    await rotate(agent, created)
    while await services.deliveries.verify_next():
        pass
    assert signed_by(receiver.challenges[-1], clock) == [*rotated_to, SECRET]
    assert (await agent.get(f"/v1/endpoints/{created['id']}")).json()["state"] == "active"


async def test_ended_secrets_are_forgotten(services, agent, clock, endpoint) -> None:
    await rotate(agent, endpoint, overlap_seconds=60)
    clock.advance(seconds=60)
    async with services.database.transaction() as db:
        assert await services.deliveries.forget(db, clock.wall()) == 1
        assert await services.deliveries.forget(db, clock.wall()) == 0
    assert len((await agent.get(f"/v1/endpoints/{endpoint['id']}")).json()["secrets"]) == 1


async def test_the_same_request_shows_the_same_secret_again_and_it_is_kept_sealed(services, agent, endpoint) -> None:
    path = f"/v1/endpoints/{endpoint['id']}/rotate-secret"
    first = await agent.post(path, {}, idempotency_key='"once"')
    again = await agent.post(path, {}, idempotency_key='"once"')
    assert first.json() == again.json()

    stored = await everything(services)
    assert first.json()["secret"].removeprefix("whsec_") not in stored
    assert SECRET.removeprefix("whsec_") not in stored
    assert "do-not-show-me" not in stored


async def test_headers_are_sent_along_and_not_shown_again(services, agent, receiver, endpoint) -> None:
    sent = await ring(services, agent, receiver, endpoint)
    shown = (await agent.get(f"/v1/endpoints/{endpoint['id']}")).json()

    assert sent.headers["authorization"] == "Bearer do-not-show-me"
    assert receiver.challenges[-1].headers["authorization"] == "Bearer do-not-show-me"
    assert endpoint["headers"] == shown["headers"] == {"Authorization": "***"}


async def test_a_patch_replaces_headers_or_removes_them(services, agent, receiver, endpoint) -> None:
    path = f"/v1/endpoints/{endpoint['id']}"
    changed = await agent.call("PATCH", path, {"headers": {"X-Key": "1"}})
    sent = await ring(services, agent, receiver, endpoint)
    removed = await agent.call("PATCH", path, {"headers": None})

    assert changed.json()["headers"] == {"X-Key": "***"}
    assert (sent.headers["x-key"], "authorization" in sent.headers) == ("1", False)
    assert removed.json()["headers"] == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("webhook-id", "x"), ("Host", "x"), ("X-A", "a\r\nB: c"), ("X-A", "***"), ("Content-Length", "0"), ("a b", "c")],
)
async def test_a_header_that_is_not_its_owners_to_set_is_refused_with_a_pointer(agent, endpoint, name, value) -> None:
    path = f"/v1/endpoints/{endpoint['id']}"
    refused = await agent.call("PATCH", path, {"headers": {name: value}})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == f"/headers/{name}"


async def test_a_secret_that_an_older_release_left_as_it_is_signs_and_can_be_rotated(
    services, agent, receiver, clock, endpoint
) -> None:
    async with services.database.transaction() as db:
        await db.execute(text("update endpoints set secret = :secret, secrets = '[]'"), {"secret": SECRET})
    before = signed_by(await ring(services, agent, receiver, endpoint), clock)
    assert before == [SECRET]
    rotated = await rotate(agent, endpoint)
    assert signed_by(await ring(services, agent, receiver, endpoint), clock) == [rotated["secret"], SECRET]
    assert SECRET.removeprefix("whsec_") not in await everything(services)


async def everything(services) -> str:
    """All that is stored of endpoints, answers and events, as text."""
    async with services.database.transaction() as db:
        rows = [
            row
            for table in ("endpoints", "events", "signing_keys")
            for row in await db.execute(text(f"select cast(t as text) from {table} t"))
        ]
        kept = await db.execute(text("select encode(body, 'escape') from kept_answers"))
    return " ".join(str(row[0]) for row in (*rows, *kept))
