"""Publishing: who is rung with what, and who is not."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import text

from app.kit import limits
from app.kit.due import drain
from app.services import Services
from tests.conftest import NewAgent
from tests.receivers import Post, Receiver, receiving
from tests.world import EPOCH, TestAgent
from tocsin import webhooks

URL = "http://127.0.0.1:9000/hook"
PAID = {"type": "order.paid", "data": {"order": "o-1", "amount": 250}}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


async def endpoint(agent: TestAgent, url: str = URL, **members: Any) -> str:
    created = await agent.post("/v1/endpoints", {"url": url, **members})
    assert created.status_code == 201, created.text
    return created.json()["id"]


async def work(services: Services) -> None:
    """Everything that is due now."""
    await drain(services.deliveries.verify_next)
    await drain(services.deliveries.deliver_next)


def rung(published: Any) -> list[str]:
    return [delivery["endpoint_id"] for delivery in published.json()["deliveries"]]


async def test_a_message_rings_its_senders_own_endpoints(
    services: Services, agent: TestAgent, receiver: Receiver
) -> None:
    created = (await agent.post("/v1/endpoints", {"url": receiver.url})).json()
    await work(services)

    published = await agent.post("/v1/messages", PAID)
    await work(services)

    [ring] = receiver.rings
    told = published.json()
    assert published.status_code == 202
    assert (told["type"], rung(published)) == ("order.paid", [created["id"]])
    assert ring.id == f"{created['id']}_{told['id']}"
    assert (
        ring.body
        == (
            '{"type":"order.paid","timestamp":"2026-11-22T09:00:00.000Z",'
            f'"sender":"{agent.id}","data":{{"order":"o-1","amount":250}}}}'
        ).encode()
    )
    assert webhooks.verify(ring.body, ring.headers, secret=created["secret"], now=EPOCH).data == PAID["data"]
    shown = (await agent.get(f"/v1/messages/{told['id']}")).json()
    assert shown["data"] == PAID["data"]
    assert shown["deliveries"] == {"pending": 0, "delivered": 1, "failed": 0, "cancelled": 0}
    delivery = (await agent.get(f"/v1/deliveries/{told['deliveries'][0]['id']}")).json()
    assert (delivery["state"], delivery["message_id"]) == ("delivered", told["id"])


async def test_all_who_are_rung_get_the_same_bytes(services: Services, agent: TestAgent, receiver: Receiver) -> None:
    for _ in range(3):
        await endpoint(agent, receiver.url)
    await work(services)

    await agent.post("/v1/messages", {"type": "t", "data": ["é", 1.5, None, {"b": 1, "a": [True]}]})
    await work(services)

    bodies = {post.body for post in receiver.rings}
    assert len(receiver.rings) == 3
    assert len(bodies) == 1
    assert bodies.pop().endswith('"data":["é",1.5,null,{"b":1,"a":[true]}]}'.encode())


async def test_the_type_and_the_filter_say_what_an_endpoint_takes(agent: TestAgent) -> None:
    every = await endpoint(agent)
    exact = await endpoint(agent, types=["order.paid"])
    family = await endpoint(agent, types=["user.*", "order.*"])
    large = await endpoint(agent, filter={"amount": {"$gte": 100}})
    both = await endpoint(agent, types=["order.*"], filter={"order": "o-2"})
    nothing = await endpoint(agent, types=[])

    paid = await agent.post("/v1/messages", PAID)
    small = await agent.post("/v1/messages", {"type": "order.sent", "data": {"order": "o-2", "amount": 1}})
    other = await agent.post("/v1/messages", {"type": "orders", "data": None})
    to_one = await agent.post("/v1/messages", {**PAID, "to": [both, nothing]})

    assert rung(paid) == [every, exact, family, large]
    assert rung(small) == [every, family, both]
    assert rung(other) == [every]
    assert (to_one.status_code, rung(to_one)) == (202, [])


async def test_what_an_endpoint_takes_can_be_changed_and_is_shown(agent: TestAgent) -> None:
    id = await endpoint(agent, types=["a"], filter={"n": 1}, senders=[f"agt_{'0' * 26}"])

    changed = await agent.call("PATCH", f"/v1/endpoints/{id}", {"types": ["b.*"], "filter": None, "senders": None})

    shown = (await agent.get(f"/v1/endpoints/{id}")).json()
    assert (shown["types"], shown["filter"], shown["senders"]) == (["b.*"], None, [])
    assert changed.json() == shown
    assert rung(await agent.post("/v1/messages", {"type": "b.c", "data": {"n": 2}})) == [id]


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"types": ["order."]}, "/types/0"),
        ({"types": ["*", "*.paid"]}, "/types/1"),
        ({"types": ["a"] * 51}, "/types"),
        ({"filter": {}}, "/filter"),
        ({"filter": []}, "/filter"),
        ({"filter": {"amount": {"$gte": None}}}, "/filter/amount/$gte"),
        ({"senders": ["ep_1"]}, "/senders/0"),
        ({"senders": [f"agt_{'0' * 26}"] * 101}, "/senders"),
    ],
)
async def test_settings_that_mean_nothing_are_refused_by_their_place(
    agent: TestAgent, members: dict[str, Any], pointer: str
) -> None:
    id = await endpoint(agent)

    created = await agent.post("/v1/endpoints", {"url": URL, **members})
    changed = await agent.call("PATCH", f"/v1/endpoints/{id}", members)

    for refused in (created, changed):
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["pointer"] == pointer


async def test_another_agent_is_rung_where_it_lists_the_sender(
    services: Services, new_agent: NewAgent, receiver: Receiver
) -> None:
    sender, listener = await new_agent(), await new_agent()
    open_one = await endpoint(listener, receiver.url, senders=[sender.id])
    typed = await endpoint(listener, receiver.url, senders=[sender.id], types=["user.*"])
    closed = await endpoint(listener, receiver.url)
    mine = await endpoint(sender, receiver.url)
    await work(services)

    by_agent = await sender.post("/v1/messages", {**PAID, "to": [listener.id]})
    by_both = await sender.post("/v1/messages", {**PAID, "to": [open_one, listener.id, mine, mine]})
    own = await sender.post("/v1/messages", PAID)
    await work(services)

    assert rung(by_agent) == [open_one]
    assert rung(by_both) == [open_one, mine]
    assert rung(own) == [mine]
    assert {post.json["sender"] for post in receiver.rings} == {sender.id}
    assert typed not in {post.id[:29] for post in receiver.rings}
    assert closed not in {post.id[:29] for post in receiver.rings}
    [delivery, _] = (await listener.get("/v1/deliveries")).json()["items"]
    assert delivery["type"] == "order.paid"
    assert (await sender.get(f"/v1/deliveries/{delivery['id']}")).status_code == 404
    assert (await listener.get(f"/v1/messages/{delivery['message_id']}")).status_code == 404


async def test_who_does_not_listen_looks_like_who_does_not_exist(services: Services, new_agent: NewAgent) -> None:
    sender, other = await new_agent(), await new_agent()
    mine, closed = await endpoint(sender), await endpoint(other)
    revoked = await new_agent()
    await endpoint(revoked, senders=[sender.id])
    await revoked.post("/v1/agents/me/revoke")

    answers = [
        await sender.post("/v1/messages", {**PAID, "to": [mine, name]})
        for name in (closed, other.id, revoked.id, f"ep_{'0' * 26}", f"agt_{'0' * 26}")
    ]

    documents = [{**answer.json(), "instance": None} for answer in answers]
    assert {answer.status_code for answer in answers} == {422}
    assert documents[0]["errors"][0]["pointer"] == "/to/1"
    assert all(document == documents[0] for document in documents)
    assert (await sender.get("/v1/messages")).json()["items"] == []
    assert (await sender.get("/v1/deliveries")).json()["items"] == []


async def test_an_agent_may_name_itself_without_an_endpoint(agent: TestAgent) -> None:
    published = await agent.post("/v1/messages", {**PAID, "to": [agent.id]})

    assert (published.status_code, rung(published)) == (202, [])


async def test_what_is_sent_before_the_challenge_waits(
    services: Services, agent: TestAgent, receiver: Receiver
) -> None:
    receiver.verifies = lambda post: web.Response(status=500)
    id = await endpoint(agent, receiver.url)
    await work(services)

    published = await agent.post("/v1/messages", PAID)
    await work(services)
    waiting = (await agent.get(f"/v1/messages/{published.json()['id']}")).json()["deliveries"]
    receiver.verifies = _echo
    await agent.post(f"/v1/endpoints/{id}/verify")
    await work(services)

    assert waiting["pending"] == 1
    assert [ring.type for ring in receiver.rings] == ["order.paid"]


def _echo(post: Post) -> web.Response:
    return web.json_response({"challenge": post.json["data"]["challenge"]})


@pytest.mark.parametrize(
    ("type_", "told"),
    [
        ("schedule.fired", "app.schedule.fired"),
        ("event.mine", "app.event.mine"),
        ("endpoint.verification", "app.endpoint.verification"),
        ("subscription", "app.subscription"),
        ("verification", "app.verification"),
        ("terminated", "app.terminated"),
    ],
)
async def test_the_relays_own_types_are_refused_with_one_to_use(agent: TestAgent, type_: str, told: str) -> None:
    refused = await agent.post("/v1/messages", {"type": type_, "data": 1})

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/type"
    assert told in refused.json()["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"type": ".a", "data": 1}, "/type"),
        ({"type": "a..b", "data": 1}, "/type"),
        ({"type": "a.", "data": 1}, "/type"),
        ({"type": "a b", "data": 1}, "/type"),
        ({"type": "ä", "data": 1}, "/type"),
        ({"type": "a" * 129, "data": 1}, "/type"),
        ({"type": "a"}, "/data"),
        ({"type": "a", "data": {"b": [1, {"c/d": "\0"}]}}, "/data/b/1/c~1d"),
        ({"type": "a", "data": {"\0": 1}}, "/data/\0"),
        ({"type": "a", "data": json.loads("[" * 65 + "]" * 65)}, "/data"),
        ({"type": "a", "data": 1, "to": []}, "/to"),
        ({"type": "a", "data": 1, "to": ["sch_1"]}, "/to/0"),
        ({"type": "a", "data": 1, "to": [f"ep_{'0' * 26}"] * 101}, "/to"),
        ({"type": "a", "data": 1, "order_key": ""}, "/order_key"),
        ({"type": "a", "data": 1, "order_key": "k" * 129}, "/order_key"),
        ({"type": "a", "data": "x" * (limits.body_bytes_max - 40)}, "/data"),
    ],
)
async def test_what_cannot_be_sent_is_refused_by_its_place(agent: TestAgent, body: Any, pointer: str) -> None:
    refused = await agent.call("POST", "/v1/messages", body)

    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["pointer"] == pointer


async def test_an_integer_keeps_its_digits_wherever_it_is_shown(
    services: Services, agent: TestAgent, receiver: Receiver
) -> None:
    wei, large = 2**255 + 1, 10**400
    await endpoint(agent, receiver.url, filter={"wei": wei, "large": {"$gte": large}})
    await work(services)

    published = await agent.post("/v1/messages", {"type": "t", "data": {"wei": wei, "large": large}})
    await work(services)

    [ring], told = receiver.rings, published.json()
    shown = await agent.get(f"/v1/messages/{told['id']}")
    delivery = await agent.get(f"/v1/deliveries/{told['deliveries'][0]['id']}")
    said = {"wei": wei, "large": large}
    assert json.loads(ring.body)["data"] == said
    assert shown.json()["data"] == said
    assert delivery.json()["body"]["data"] == said


@pytest.mark.parametrize("number", [1e400, float("nan")])
async def test_a_number_that_json_has_not_is_refused(agent: TestAgent, number: float) -> None:
    published = await agent.post("/v1/messages", {"type": "t", "data": [number]})
    registered = await agent.post("/v1/endpoints", {"url": URL, "filter": {"a": number}})

    for refused in (published, registered):
        assert refused.status_code == 422
        assert "write it as a string" in refused.json()["detail"]


async def test_a_body_beyond_the_bound_is_refused(agent: TestAgent) -> None:
    refused = await agent.post("/v1/messages", {"type": "a", "data": "x" * limits.body_bytes_max})

    assert refused.status_code == 413


async def test_the_same_request_again_publishes_once(agent: TestAgent) -> None:
    await endpoint(agent)
    first = await agent.post("/v1/messages", PAID, Idempotency_Key='"order-1"')
    again = await agent.post("/v1/messages", PAID, Idempotency_Key='"order-1"')
    changed = await agent.post("/v1/messages", {**PAID, "data": 2}, Idempotency_Key='"order-1"')

    assert again.json() == first.json()
    assert changed.status_code == 422
    assert len((await agent.get("/v1/messages")).json()["items"]) == 1


async def test_a_batch_is_answered_in_its_order(agent: TestAgent) -> None:
    orders = await endpoint(agent, types=["order.*"])
    users = await endpoint(agent, types=["user.*"])
    batch = [{"type": t, "data": n} for n, t in enumerate(["user.new", "order.paid", "other", "order.sent"])]

    published = await agent.post("/v1/messages/batch", {"messages": batch})

    told = published.json()["messages"]
    assert published.status_code == 202
    assert [one["type"] for one in told] == [one["type"] for one in batch]
    assert [[d["endpoint_id"] for d in one["deliveries"]] for one in told] == [[users], [orders], [], [orders]]
    listed = (await agent.get("/v1/messages")).json()["items"]
    assert [one["id"] for one in reversed(listed)] == [one["id"] for one in told]
    happened = (await agent.get("/v1/events?kind=message.published")).json()["items"]
    assert [(each["subject"], each["data"]) for each in happened] == [
        (one["id"], {"type": one["type"], "deliveries": len(one["deliveries"])}) for one in told
    ]


async def test_a_batch_is_published_whole_or_not_at_all(agent: TestAgent) -> None:
    await endpoint(agent)
    astray = {**PAID, "to": [f"ep_{'0' * 26}"]}

    refused = await agent.post("/v1/messages/batch", {"messages": [PAID, PAID, astray]})
    malformed = await agent.post("/v1/messages/batch", {"messages": [PAID, {**PAID, "type": "event.x"}]})
    empty = await agent.post("/v1/messages/batch", {"messages": []})
    many = await agent.post("/v1/messages/batch", {"messages": [PAID] * 101})

    pointers = [answer.json()["errors"][0]["pointer"] for answer in (refused, malformed, empty, many)]
    assert pointers == ["/messages/2/to/0", "/messages/1/type", "/messages", "/messages"]
    assert (await agent.get("/v1/messages")).json()["items"] == []
    assert (await agent.get("/v1/deliveries")).json()["items"] == []


async def test_one_request_makes_so_many_deliveries_and_no_more(
    agent: TestAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "publish_deliveries_max", 4)
    await endpoint(agent)
    await endpoint(agent)

    most = await agent.post("/v1/messages/batch", {"messages": [PAID, PAID]})
    more = await agent.post("/v1/messages/batch", {"messages": [PAID, PAID, PAID]})

    assert (most.status_code, more.status_code) == (202, 422)
    assert "in parts" in more.json()["errors"][0]["detail"]


async def test_filters_look_only_so_far_for_one_request(agent: TestAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "publish_filter_steps_max", 40)
    ids = [await endpoint(agent, filter={"a": {"$gt": 9}}) for _ in range(2)]
    long, short = ({"type": "t", "data": {"a": [1] * elements}} for elements in (18, 8))

    one = await agent.post("/v1/messages", long)
    several = await agent.post("/v1/messages/batch", {"messages": [short, short, long]})
    to_one = await agent.post("/v1/messages", {"type": "t", "data": {"a": [1] * 36}, "to": ids[:1]})

    assert (one.status_code, to_one.status_code) == (202, 202)
    assert several.status_code == 422
    [error] = several.json()["errors"]
    assert error["pointer"] == "/messages/2"
    assert "publish it in parts" in error["detail"]


async def test_what_was_published_is_listed_by_type_and_page(agent: TestAgent) -> None:
    for number in range(5):
        await agent.post("/v1/messages", {"type": "even" if number % 2 == 0 else "odd", "data": number})

    first = (await agent.get("/v1/messages?limit=3")).json()
    rest = (await agent.get(f"/v1/messages?limit=3&cursor={first['next']}")).json()
    odd = (await agent.get("/v1/messages?type=odd")).json()

    assert [one["type"] for one in first["items"] + rest["items"]] == ["even", "odd", "even", "odd", "even"]
    assert rest["next"] is None
    assert [one["type"] for one in odd["items"]] == ["odd", "odd"]


async def test_nobody_reads_what_another_published(new_agent: NewAgent) -> None:
    sender, other = await new_agent(), await new_agent()
    id = (await sender.post("/v1/messages", PAID)).json()["id"]

    assert (await other.get(f"/v1/messages/{id}")).status_code == 404
    assert (await other.get("/v1/messages")).json()["items"] == []
    assert (await sender.get("/v1/messages/batch")).status_code == 404


async def test_an_order_key_goes_with_the_message(services: Services, agent: TestAgent) -> None:
    id = (await agent.post("/v1/messages", {**PAID, "order_key": "o-1"})).json()["id"]

    async with services.database.transaction() as db:
        kept = (await db.execute(text("select sender_id, order_key from messages"))).one()
    assert (await agent.get(f"/v1/messages/{id}")).json()["order_key"] == "o-1"
    assert tuple(kept) == (agent.id, "o-1")
