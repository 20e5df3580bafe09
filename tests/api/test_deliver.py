"""Getting it there: challenge, ring, retry, give up - with real receivers and a clock that the test moves."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from aiohttp import web
from sqlalchemy import text
from standardwebhooks import Webhook

from app.deliveries.attempts import LADDER
from app.deliveries.service import Outgoing
from app.kit import limits
from app.kit.due import drain
from app.services import Services
from tests.conftest import NewAgent
from tests.receivers import Post, Receiver, receiving, thank
from tests.world import TestAgent
from tocsin import webhooks


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


async def register(agent: TestAgent, url: str) -> dict:
    created = await agent.post("/v1/endpoints", {"url": url})
    assert created.status_code == 201
    return created.json()


async def work(services: Services) -> None:
    """Everything that is due now."""
    await drain(services.deliveries.verify_next)
    await drain(services.deliveries.deliver_next)


async def active(services: Services, agent: TestAgent, receiver: Receiver) -> dict:
    endpoint = await register(agent, receiver.url)
    await work(services)
    return endpoint


async def send(services: Services, *endpoint_ids: str, body: bytes = b'{"type":"test.said","data":{}}') -> str:
    async with services.database.transaction() as db:
        now = await services.clock.now(db)
        [sent] = await services.deliveries.send(db, [Outgoing("test.said", body, endpoint_ids)], now)
    return sent.message_id


async def delivery_of(agent: TestAgent, message_id: str) -> dict:
    listed = (await agent.get("/v1/deliveries")).json()["items"]
    [found] = [item for item in listed if item["message_id"] == message_id]
    return (await agent.get(f"/v1/deliveries/{found['id']}")).json()


async def test_an_endpoint_that_echoes_its_challenge_becomes_active(services, agent, receiver) -> None:
    endpoint = await register(agent, receiver.url)

    await work(services)

    shown = (await agent.get(f"/v1/endpoints/{endpoint['id']}")).json()
    [challenge] = receiver.challenges
    assert (shown["state"], shown["state_reason"], shown["next_verification_at"]) == ("active", None, None)
    assert challenge.json["data"]["endpoint_id"] == endpoint["id"]
    assert challenge.id.startswith(f"{endpoint['id']}_msg_")
    assert Webhook(endpoint["secret"]).verify(challenge.body, _at_present(challenge, endpoint["secret"]))


def _at_present(post: Post, secret: str) -> dict[str, str]:
    """The post's headers as if sent now, for verifiers that read the machine's clock."""
    import datetime as dt

    at = dt.datetime.now(dt.UTC)
    again = webhooks.sign(post.id, at, post.body, secrets=[secret])
    original = webhooks.sign(
        post.id, dt.datetime.fromtimestamp(int(post.headers["webhook-timestamp"]), dt.UTC), post.body, secrets=[secret]
    )
    assert original["webhook-signature"] in post.headers["webhook-signature"]
    return again


@pytest.mark.parametrize(
    "verifies",
    [
        lambda post: web.Response(status=204),
        lambda post: web.json_response({"challenge": "another"}),
        lambda post: web.json_response({"challenge": post.json["data"]["challenge"]}, status=400),
        lambda post: web.json_response([post.json["data"]["challenge"]]),
        lambda post: web.json_response({"challenge": [post.json["data"]["challenge"]]}),
        lambda post: web.Response(text="[" * 15_000),
        lambda post: web.Response(text=post.json["data"]["challenge"]),
    ],
)
async def test_without_the_echo_an_endpoint_stays_pending_and_is_asked_again(
    services, agent, receiver, clock, verifies
) -> None:
    receiver.verifies = verifies
    endpoint = await register(agent, receiver.url)

    await work(services)
    first = (await agent.get(f"/v1/endpoints/{endpoint['id']}")).json()
    clock.advance(seconds=3)
    await work(services)

    assert first["state"] == "pending"
    assert first["state_reason"].startswith("the challenge was answered")
    assert len(receiver.challenges) == 2
    first_nonce, second_nonce = (post.json["data"]["challenge"] for post in receiver.challenges)
    assert first_nonce != second_nonce


async def test_an_unanswered_endpoint_is_asked_again_when_its_owner_says_so(services, agent, receiver, clock) -> None:
    receiver.verifies = lambda post: web.Response(status=500)
    endpoint = await register(agent, receiver.url)
    for _ in range(10):
        await work(services)
        clock.advance(hours=2)
    asked = len(receiver.challenges)
    receiver.verifies = Receiver().verifies

    await agent.post(f"/v1/endpoints/{endpoint['id']}/verify")
    await work(services)

    assert asked == 6
    assert (await agent.get(f"/v1/endpoints/{endpoint['id']}")).json()["state"] == "active"


async def test_a_ring_arrives_signed_by_secret_and_by_the_relay(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    jwks = (await agent.http.get("/.well-known/jwks.json")).json()

    message_id = await send(services, endpoint["id"])
    await work(services)

    [ring] = receiver.rings
    verified = webhooks.verify(
        ring.body,
        ring.headers,
        now=clock.wall(),
        secret=endpoint["secret"],
        public_key=jwks,
        endpoint_id=endpoint["id"],
    )
    assert (verified.type, verified.verified, verified.id) == (
        "test.said",
        ("v1", "v1a"),
        f"{endpoint['id']}_{message_id}",
    )
    assert ring.headers["content-type"] == "application/json"
    shown = await delivery_of(agent, message_id)
    assert (shown["state"], shown["attempts"], shown["last_status"]) == ("delivered", 1, 204)
    assert [attempt["status"] for attempt in shown["history"]] == [204]
    assert shown["body"] == {"type": "test.said", "data": {}}


async def test_a_delivery_to_a_pending_endpoint_waits_until_it_is_verified(services, agent, receiver, clock) -> None:
    receiver.verifies = lambda post: web.Response(status=500)
    endpoint = await active(services, agent, receiver)
    message_id = await send(services, endpoint["id"])
    await work(services)
    waiting = await delivery_of(agent, message_id)
    receiver.verifies = Receiver().verifies

    clock.advance(seconds=3)
    await work(services)

    assert (waiting["state"], waiting["next_attempt_at"]) == ("pending", None)
    shown = await delivery_of(agent, message_id)
    assert shown["state"] == "delivered"
    assert len(receiver.rings) == 1


async def test_a_failing_delivery_climbs_the_ladder_with_one_id_and_new_timestamps(
    services, agent, receiver, clock
) -> None:
    receiver.answers = lambda post: web.Response(status=500, text="no\0t now")
    endpoint = await active(services, agent, receiver)
    message_id = await send(services, endpoint["id"])
    for step in LADDER:
        clock.advance(seconds=step.total_seconds() * 1.1 + 1)
        await work(services)
    clock.advance(days=30)
    await work(services)

    shown = await delivery_of(agent, message_id)
    assert (shown["state"], shown["last_status"], shown["attempts"]) == ("failed", 500, len(LADDER))
    assert len(receiver.rings) == len(LADDER)
    assert len({ring.id for ring in receiver.rings}) == 1
    assert len({ring.headers["webhook-timestamp"] for ring in receiver.rings}) == len(LADDER)
    assert [attempt["number"] for attempt in shown["history"]] == list(range(1, len(LADDER) + 1))
    assert shown["history"][0]["response_excerpt"] == "no\N{REPLACEMENT CHARACTER}t now"


async def test_no_attempt_is_made_before_its_time(services, agent, receiver, clock) -> None:
    receiver.answers = lambda post: web.Response(status=503, headers={"Retry-After": "60"})
    endpoint = await active(services, agent, receiver)
    await send(services, endpoint["id"])
    await work(services)

    clock.advance(seconds=59)
    await work(services)
    early = len(receiver.rings)
    clock.advance(seconds=1)
    await work(services)

    assert early == 1
    assert len(receiver.rings) == 2


async def test_nobody_listening_is_a_failed_attempt_with_its_category(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    async with services.database.transaction() as db:
        await db.execute(text("update endpoints set url = 'http://127.0.0.1:1025/'"))
    message_id = await send(services, endpoint["id"])

    await work(services)

    shown = await delivery_of(agent, message_id)
    assert (shown["state"], shown["last_status"], shown["last_error"]) == ("pending", None, "connection_failed")


async def test_an_address_that_became_forbidden_is_not_called(services, agent, receiver) -> None:
    endpoint = await active(services, agent, receiver)
    async with services.database.transaction() as db:
        await db.execute(text("update endpoints set url = 'https://10.0.0.1/'"))
    message_id = await send(services, endpoint["id"])

    await work(services)

    assert (await delivery_of(agent, message_id))["last_error"] == "no_public_address"


async def test_410_fails_the_delivery_and_disables_the_endpoint(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    receiver.answers = lambda post: web.Response(status=410)
    gone = await send(services, endpoint["id"])
    await work(services)
    later = await send(services, endpoint["id"])
    await work(services)
    receiver.answers = Receiver().answers

    shown = (await agent.get(f"/v1/endpoints/{endpoint['id']}")).json()
    kept = await delivery_of(agent, later)
    refused = await agent.post(f"/v1/endpoints/{endpoint['id']}/verify")
    await agent.post(f"/v1/endpoints/{endpoint['id']}/enable")
    await work(services)

    assert (shown["state"], shown["state_reason"]) == ("disabled", "the endpoint answered 410 Gone")
    assert (await delivery_of(agent, gone))["state"] == "failed"
    assert (kept["state"], kept["next_attempt_at"]) == ("pending", None)
    assert refused.json()["type"] == "/problems/endpoint-not-active"
    assert (await delivery_of(agent, later))["state"] == "delivered"


async def test_only_some_of_many_endpoints_are_told_that_another_is_gone(services, agent, receiver) -> None:
    def answers(post: Post) -> web.Response:
        return web.Response(status=410) if post.id.startswith(gone) else thank(post)

    ids = [(await active(services, agent, receiver))["id"] for _ in range(limits.endpoints_told_max + 3)]
    gone, receiver.answers = ids[0], answers
    await send(services, gone)
    await work(services)

    told = sorted(post.id.partition("_msg_")[0] for post in receiver.rings if post.type == "endpoint.disabled")
    assert told == sorted(ids[1:])[: limits.endpoints_told_max]


async def test_410_from_where_an_endpoint_was_leaves_it_where_it_is(services, agent, receiver) -> None:
    endpoint = await active(services, agent, receiver)
    moved = {"url": "http://127.0.0.1:9001/moved"}

    async def answer(post: object) -> web.Response:
        # The owner moves the endpoint while the ring is on its way to where it was.
        (await agent.call("PATCH", f"/v1/endpoints/{endpoint['id']}", moved)).raise_for_status()
        return web.Response(status=410)

    receiver.answers = answer
    await send(services, endpoint["id"])
    await drain(services.deliveries.deliver_next)

    assert (await agent.get(f"/v1/endpoints/{endpoint['id']}")).json()["state"] == "pending"


async def test_one_message_goes_to_each_endpoint_with_its_own_id(
    services, agent, new_agent: NewAgent, receiver
) -> None:
    other = await new_agent()
    endpoints = [await register(agent, receiver.url), await register(other, receiver.url)]
    await work(services)

    message_id = await send(services, *(endpoint["id"] for endpoint in endpoints))
    await work(services)

    assert {ring.id for ring in receiver.rings} == {f"{endpoint['id']}_{message_id}" for endpoint in endpoints}
    assert len({ring.body for ring in receiver.rings}) == 1
    assert len((await other.get("/v1/deliveries")).json()["items"]) == 1


async def test_a_slow_receiver_holds_up_nobody_else(services, agent, new_agent, receiver) -> None:
    released, all_rung = asyncio.Event(), asyncio.Event()

    async def slowly(post: Post) -> web.Response:
        await released.wait()
        return web.Response(status=204)

    def at_once(post: Post) -> web.Response:
        if len(receiver.rings) == 20:
            all_rung.set()
        return web.Response(status=204)

    receiver.answers = at_once
    async with receiving(Receiver(answers=slowly)) as slow:
        endpoints = [await register(agent, slow.url), await register(agent, receiver.url)]
        await work(services)
        await send(services, endpoints[0]["id"])
        waiting = asyncio.create_task(drain(services.deliveries.deliver_next, rounds_max=10_000))
        for _ in range(20):
            await send(services, endpoints[1]["id"])
        await asyncio.wait_for(all_rung.wait(), 10)
        listed = (await agent.get("/v1/deliveries?state=pending")).json()["items"]
        released.set()
        await waiting

    assert {item["endpoint_id"] for item in listed} >= {endpoints[0]["id"]}
    assert len(slow.rings) == 1
    assert (await agent.get("/v1/deliveries?state=pending")).json()["items"] == []


async def test_a_test_ring_is_delivered(services, agent, receiver) -> None:
    endpoint = await active(services, agent, receiver)

    accepted = await agent.post(f"/v1/endpoints/{endpoint['id']}/test")
    await work(services)

    assert accepted.status_code == 202
    assert accepted.json()["type"] == "endpoint.test"
    assert receiver.rings[0].json["data"]["endpoint_id"] == endpoint["id"]


async def test_a_redelivery_keeps_the_id_and_climbs_the_ladder_anew(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    message_id = await send(services, endpoint["id"])
    await work(services)
    delivery = await delivery_of(agent, message_id)
    receiver.answers = lambda post: web.Response(status=500)

    accepted = await agent.post(f"/v1/deliveries/{delivery['id']}/redeliver")
    again = await agent.post(f"/v1/deliveries/{delivery['id']}/redeliver")
    await work(services)

    shown = await delivery_of(agent, message_id)
    assert (accepted.status_code, accepted.json()["state"]) == (202, "pending")
    assert (again.status_code, again.json()["type"]) == (409, "/problems/delivery-pending")
    assert len({ring.id for ring in receiver.rings}) == 1
    assert [attempt["number"] for attempt in shown["history"]] == [1, 2]
    assert timedelta(seconds=5) <= _until_next(shown, clock) <= timedelta(seconds=6)


def _until_next(delivery: dict, clock) -> timedelta:
    from datetime import datetime

    return datetime.fromisoformat(delivery["next_attempt_at"]) - clock.wall()


async def test_deleting_an_endpoint_cancels_what_is_on_its_way(services, agent, receiver, clock) -> None:
    receiver.answers = lambda post: web.Response(status=500)
    endpoint = await active(services, agent, receiver)
    message_id = await send(services, endpoint["id"])
    await work(services)

    await agent.call("DELETE", f"/v1/endpoints/{endpoint['id']}")
    clock.advance(days=2)
    await work(services)

    assert (await delivery_of(agent, message_id))["state"] == "cancelled"
    assert len(receiver.rings) == 1


async def test_what_is_too_much_for_one_request_is_cancelled_by_workers(
    services, agent, receiver, clock, monkeypatch
) -> None:
    """More than a deletion cancels by itself; some of it is held, as the endpoint is paused, and has nobody to wait
    for."""
    monkeypatch.setattr(limits, "cancelled_at_once_max", 2)
    endpoint = await active(services, agent, receiver)
    await agent.post(f"/v1/endpoints/{endpoint['id']}/pause")
    messages = [await send(services, endpoint["id"]) for _ in range(4)]
    await work(services)
    messages += [await send(services, endpoint["id"]) for _ in range(4)]

    await agent.call("DELETE", f"/v1/endpoints/{endpoint['id']}")
    await work(services)

    shown = [await delivery_of(agent, message_id) for message_id in messages]
    assert {(each["state"], each["reason"]) for each in shown} == {("cancelled", "the endpoint was deleted")}
    events = (await agent.get("/v1/events?limit=100")).json()["items"]
    concluded = [each["data"]["message_id"] for each in events if each["kind"] == "delivery.concluded"]
    assert sorted(concluded) == sorted(messages)
    assert receiver.rings == []


async def test_a_moved_endpoint_is_challenged_at_its_new_url_before_it_is_rung(services, agent, receiver) -> None:
    endpoint = await active(services, agent, receiver)
    async with receiving() as elsewhere:
        moved = await agent.call("PATCH", f"/v1/endpoints/{endpoint['id']}", {"url": elsewhere.url})
        await send(services, endpoint["id"])
        await drain(services.deliveries.deliver_next)
        before = len(elsewhere.rings) + len(receiver.rings)
        await work(services)

    assert (moved.json()["state"], before) == ("pending", 0)
    assert [len(elsewhere.challenges), len(elsewhere.rings), len(receiver.rings)] == [1, 1, 0]


async def test_a_late_answer_of_the_old_url_does_not_verify_the_new_one(services, agent, receiver) -> None:
    released = asyncio.Event()

    async def slowly(post: Post) -> web.StreamResponse:
        await released.wait()
        return web.json_response({"challenge": post.json["data"]["challenge"]})

    receiver.verifies = slowly
    endpoint = await register(agent, receiver.url)
    await services.deliveries.verify_next()
    async with receiving(Receiver(verifies=lambda post: web.Response(status=500))) as elsewhere:
        await agent.call("PATCH", f"/v1/endpoints/{endpoint['id']}", {"url": elsewhere.url})
        released.set()
        await drain(services.deliveries.verify_next)

    assert (await agent.get(f"/v1/endpoints/{endpoint['id']}")).json()["state"] == "pending"


async def test_concluded_deliveries_are_in_the_owners_journal(services, agent, receiver) -> None:
    endpoint = await active(services, agent, receiver)
    message_id = await send(services, endpoint["id"])
    await work(services)

    journal = (await agent.get("/v1/events?kind=delivery.concluded")).json()["items"]

    [event] = journal
    assert event["data"]["message_id"] == message_id
    assert event["data"]["state"] == "delivered"


async def test_deliveries_of_another_agent_are_not_found(services, agent, new_agent, receiver) -> None:
    endpoint = await active(services, agent, receiver)
    message_id = await send(services, endpoint["id"])
    await work(services)
    delivery = await delivery_of(agent, message_id)
    other = await new_agent()

    assert (await other.get(f"/v1/deliveries/{delivery['id']}")).status_code == 404
    assert (await other.post(f"/v1/deliveries/{delivery['id']}/redeliver")).status_code == 404
    assert (await other.get("/v1/deliveries")).json()["items"] == []


async def test_deliveries_are_listed_newest_first_in_pages(services, agent, receiver) -> None:
    endpoint = await active(services, agent, receiver)
    for _ in range(3):
        await send(services, endpoint["id"])
    await work(services)

    first = (await agent.get(f"/v1/deliveries?limit=2&endpoint={endpoint['id']}")).json()
    second = (await agent.get(f"/v1/deliveries?limit=2&cursor={first['next']}")).json()
    ids = [item["id"] for item in first["items"] + second["items"]]

    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 3
    assert second["next"] is None


def test_the_official_vector_is_what_we_sign() -> None:
    from datetime import UTC, datetime

    headers = webhooks.sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
        secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert base64.b64decode(headers["webhook-signature"][3:])
