"""Deliveries are found, cancelled, sent again and expunged by their owners, whatever has become of them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from aiohttp import web
from sqlalchemy import text

from app.kit import limits
from app.kit.due import drain
from tests.api.test_deliver import active, delivery_of, register, send, work
from tests.past import sent
from tests.receivers import Receiver, receiving
from tests.store.test_deliveries_races import blocked
from tests.world import EPOCH

HOUR = timedelta(hours=1)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


async def found(agent, query: str) -> list[str]:
    answer = await agent.get(f"/v1/deliveries?{query}")
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def test_what_was_never_delivered_is_one_question(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    made = {
        state: (await sent(services.database, endpoint["id"], EPOCH - HOUR * n, state)).id
        for n, state in enumerate(("pending", "failed", "cancelled", "delivered"), start=1)
    }

    assert await found(agent, "undelivered=true") == [made["pending"], made["failed"], made["cancelled"]]
    assert await found(agent, "undelivered=true&since=2026-11-22T07:00:00Z") == [made["pending"], made["failed"]]
    assert await found(agent, "undelivered=true&state=failed,delivered") == [made["failed"]]
    assert await found(agent, "state=delivered,failed") == [made["failed"], made["delivered"]]


async def test_deliveries_are_found_by_what_is_known_of_them(services, agent, receiver, clock) -> None:
    first, second = await active(services, agent, receiver), await active(services, agent, receiver)
    one = await sent(services.database, first["id"], EPOCH - HOUR, subject="fir_1")
    other = await sent(services.database, second["id"], EPOCH - 2 * HOUR, type="test.other")
    async with services.database.transaction() as db:
        await db.execute(text("update deliveries set order_key = 'k' where id = :id"), {"id": other.id})

    assert await found(agent, f"endpoint={first['id']}") == [one.id]
    assert await found(agent, "type=test.other") == [other.id]
    assert await found(agent, "subject=fir_1") == [one.id]
    assert await found(agent, f"message={other.message_id}") == [other.id]
    assert await found(agent, "order_key=k") == [other.id]
    assert await found(agent, "until=2026-11-22T07:30:00Z") == [other.id]
    assert await found(agent, "message=msg_no") == []


async def test_a_search_for_few_among_many_goes_on_page_by_page(services, agent, receiver, clock, monkeypatch) -> None:
    monkeypatch.setattr(limits, "listed_rows_max", 3)
    first, second = await active(services, agent, receiver), await active(services, agent, receiver)
    wanted = [(await sent(services.database, first["id"], EPOCH - 9 * HOUR)).id]
    for n in range(7):
        await sent(services.database, second["id"], EPOCH - HOUR * n)
    pages, cursor = [], ""
    while cursor is not None:
        page = (await agent.get(f"/v1/deliveries?endpoint={first['id']}{cursor and '&cursor=' + cursor}")).json()
        pages.append([item["id"] for item in page["items"]])
        cursor = page["next"]

    assert pages == [[], [], wanted]


@pytest.mark.parametrize("query", ["state=lost", "state=failed,", "undelivered=perhaps", "since=yesterday", "since=1"])
async def test_a_question_that_cannot_be_read_is_refused(agent, query) -> None:
    refused = await agent.get(f"/v1/deliveries?{query}")

    assert refused.status_code == 400
    assert refused.json()["errors"][0]["parameter"] == query.partition("=")[0]


async def test_a_cancelled_delivery_ends_where_it_is(services, agent, receiver, clock) -> None:
    receiver.answers = lambda post: web.Response(status=500)
    endpoint = await active(services, agent, receiver)
    message_id = await send(services, endpoint["id"])
    await work(services)
    delivery = await delivery_of(agent, message_id)

    cancelled = await agent.post(f"/v1/deliveries/{delivery['id']}/cancel")
    again = await agent.post(f"/v1/deliveries/{delivery['id']}/cancel")
    clock.advance(days=2)
    await work(services)

    shown = cancelled.json()
    assert (cancelled.status_code, shown["state"], shown["reason"]) == (200, "cancelled", "cancelled by its owner")
    assert (shown["next_attempt_at"], shown["concluded_at"]) == (None, "2026-11-22T09:00:00.000Z")
    assert (again.status_code, again.json()["type"]) == (409, "/problems/delivery-concluded")
    assert len(receiver.rings) == 1
    [told] = (await agent.get(f"/v1/events?subject={delivery['id']}")).json()["items"]
    assert (told["kind"], told["data"]["reason"]) == ("delivery.concluded", "cancelled by its owner")


async def test_an_attempt_in_flight_does_not_undo_a_cancellation(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)

    async def answer(post: object) -> web.Response:
        [pending] = await found(agent, "state=pending")
        (await agent.post(f"/v1/deliveries/{pending}/cancel")).raise_for_status()
        return web.Response(status=204)

    receiver.answers = answer
    message_id = await send(services, endpoint["id"])
    await drain(services.deliveries.deliver_next)

    shown = await delivery_of(agent, message_id)
    assert (shown["state"], [attempt["status"] for attempt in shown["history"]]) == ("cancelled", [204])


async def test_what_waits_behind_a_cancelled_delivery_follows(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    first, second = [await sent(services.database, endpoint["id"], EPOCH, "pending") for _ in range(2)]
    async with services.database.transaction() as db:
        await db.execute(text("update deliveries set order_key = 'k'"))
        await db.execute(text("update deliveries set hold = 'order', due_at = null where id = :id"), {"id": second.id})

    (await agent.post(f"/v1/deliveries/{first.id}/cancel")).raise_for_status()
    await work(services)

    assert (await agent.get(f"/v1/deliveries/{second.id}")).json()["state"] == "delivered"


async def test_who_waits_for_a_cancelled_delivery_is_told(services, agent, receiver, clock) -> None:
    heard = []

    class Ear:
        async def concluded(self, db, conclusions, now) -> bool:
            heard.extend((each.subject, each.state) for each in conclusions)
            return False

    services.deliveries.listen(Ear())
    endpoint = await active(services, agent, receiver)
    waiting = await sent(services.database, endpoint["id"], EPOCH, "pending", subject="fir_1")
    await agent.post(f"/v1/deliveries/{waiting.id}/cancel")

    assert heard == [("fir_1", "cancelled")]


async def test_an_expunged_payload_is_gone_and_its_record_stays(services, agent, receiver, clock) -> None:
    me = (await agent.get("/v1/agents/me")).json()["id"]
    endpoint = await active(services, agent, receiver)
    past = await sent(services.database, endpoint["id"], EPOCH, "pending", agent_id=me, body='{"type":"secret"}')
    receiver.answers = lambda post: web.Response(status=500, text="I heard: secret")
    await work(services)

    expunged = await agent.post(f"/v1/deliveries/{past.id}/expunge")
    again = await agent.post(f"/v1/deliveries/{past.id}/expunge")
    refused = await agent.post(f"/v1/deliveries/{past.id}/redeliver")
    clock.advance(days=2)
    await work(services)

    shown = expunged.json()
    assert (shown["state"], shown["reason"]) == ("cancelled", "the payload was expunged")
    assert (shown["body"], shown["expunged_at"]) == (None, "2026-11-22T09:00:00.000Z")
    assert [(attempt["status"], attempt["response_excerpt"]) for attempt in shown["history"]] == [(500, None)]
    assert again.json() == shown
    assert (refused.status_code, refused.json()["type"]) == (410, "/problems/payload-gone")
    assert len(receiver.rings) == 1
    async with services.database.transaction() as db:
        assert await db.scalar(text("select body from messages where id = :id"), {"id": past.message_id}) == ""


async def test_two_that_expunge_at_once_expunge_once(services, agent, receiver, clock) -> None:
    me = (await agent.get("/v1/agents/me")).json()["id"]
    endpoint = await active(services, agent, receiver)
    past = await sent(services.database, endpoint["id"], EPOCH, "delivered", agent_id=me)
    async with services.database.transaction() as holding:
        await holding.execute(text("select from deliveries where id = :id for update"), {"id": past.id})
        asking = [asyncio.create_task(agent.post(f"/v1/deliveries/{past.id}/expunge")) for _ in range(2)]
        await blocked(services.database, 2)
    answers = [(await each).json() for each in asking]

    kinds = [event["kind"] for event in (await agent.get("/v1/events?limit=100")).json()["items"]]
    assert kinds.count("message.expunged") == 1
    assert answers[0] == answers[1]


async def test_a_payload_that_others_share_is_not_expunged(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    shared = await sent(services.database, endpoint["id"], EPOCH, "delivered")

    refused = await agent.post(f"/v1/deliveries/{shared.id}/expunge")

    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/conflict")
    assert (await agent.get(f"/v1/deliveries/{shared.id}")).json()["body"] is not None


async def test_what_cannot_be_sent_again_says_why(services, agent, receiver, clock) -> None:
    endpoint, deleted = await active(services, agent, receiver), await active(services, agent, receiver)
    old = await sent(services.database, endpoint["id"], EPOCH - 31 * 24 * HOUR)
    orphan = await sent(services.database, deleted["id"], EPOCH - HOUR)
    unheard = await sent(services.database, endpoint["id"], EPOCH - HOUR)
    await agent.call("DELETE", f"/v1/endpoints/{deleted['id']}")
    async with services.database.transaction() as db:
        await db.execute(text("update endpoints set state = 'disabled', state_reason = 'tired'"))

    answers = [await agent.post(f"/v1/deliveries/{one.id}/redeliver") for one in (old, orphan, unheard)]

    assert [answer.status_code for answer in answers] == [410, 404, 409]
    assert "older than the 30 days" in answers[0].json()["detail"]
    assert answers[1].json()["detail"] == "there is no such endpoint"
    assert answers[2].json()["detail"] == "the endpoint is disabled: tired"


async def test_a_redelivery_to_a_paused_endpoint_waits(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    past = await sent(services.database, endpoint["id"], EPOCH - HOUR)
    async with services.database.transaction() as db:
        await db.execute(text("update endpoints set state = 'paused'"))

    accepted = await agent.post(f"/v1/deliveries/{past.id}/redeliver")
    await drain(services.deliveries.deliver_next)

    shown = (await agent.get(f"/v1/deliveries/{past.id}")).json()
    assert (accepted.status_code, shown["state"], shown["waits_for"]) == (202, "pending", "endpoint")
    assert receiver.rings == []


async def test_the_latest_attempts_of_many_are_shown(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    past = await sent(services.database, endpoint["id"], EPOCH - HOUR)
    statement = """
        insert into attempts (delivery_id, number, started_at, duration_ms, connect_ms)
        select :id, n, :at, 1, 3 from generate_series(1, 105) n
    """
    async with services.database.transaction() as db:
        await db.execute(text(statement), {"id": past.id, "at": EPOCH})

    history = (await agent.get(f"/v1/deliveries/{past.id}")).json()["history"]

    assert [attempt["number"] for attempt in history] == list(range(6, 106))
    assert history[0]["connect_ms"] == 3


async def test_an_endpoint_says_how_it_does(services, agent, new_agent, receiver, clock) -> None:
    endpoint, other = await active(services, agent, receiver), await active(services, agent, receiver)
    for days, state in ((0, "failed"), (0, "delivered"), (2, "delivered"), (3, "cancelled"), (9, "failed")):
        await sent(services.database, endpoint["id"], EPOCH - days * 24 * HOUR - HOUR, state)
    await sent(services.database, other["id"], EPOCH - HOUR, "failed")
    waiting = await sent(services.database, endpoint["id"], EPOCH - HOUR, "pending")
    async with services.database.transaction() as db:
        await db.execute(text("update deliveries set due_at = null, hold = 'lane' where id = :id"), {"id": waiting.id})
        await db.execute(
            text("insert into lanes (endpoint_id, breaker, failures, failing_since) values (:id, 'open', 7, :at)"),
            {"id": endpoint["id"], "at": EPOCH - HOUR},
        )

    shown = (await agent.get(f"/v1/endpoints/{endpoint['id']}/stats")).json()
    quiet = (await agent.get(f"/v1/endpoints/{other['id']}/stats")).json()

    day = {"since": "2026-11-21T09:00:00.000Z", "pending": 1, "delivered": 1, "failed": 1, "cancelled": 0}
    week = {"since": "2026-11-15T09:00:00.000Z", "pending": 1, "delivered": 2, "failed": 1, "cancelled": 1}
    assert (shown["last_day"], shown["last_week"], shown["held"]) == (day, week, 1)
    assert (shown["breaker"], shown["failures"], shown["failing_since"]) == ("open", 7, "2026-11-22T08:00:00.000Z")
    assert (quiet["state"], quiet["breaker"], quiet["failing_since"], quiet["held"]) == ("active", "closed", None, 0)
    assert (await (await new_agent()).get(f"/v1/endpoints/{other['id']}/stats")).status_code == 404


async def test_counting_says_how_far_it_went(services, agent, receiver, clock, monkeypatch) -> None:
    monkeypatch.setattr(limits, "counted_rows_max", 2)
    endpoint = await active(services, agent, receiver)
    for hours in (1, 2, 3):
        await sent(services.database, endpoint["id"], EPOCH - hours * HOUR, "delivered")

    week = (await agent.get(f"/v1/endpoints/{endpoint['id']}/stats")).json()["last_week"]

    assert (week["delivered"], week["since"]) == (2, "2026-11-22T07:00:00.000Z")


async def test_what_others_own_is_out_of_reach(services, agent, new_agent, receiver) -> None:
    endpoint = await register(agent, receiver.url)
    past = await sent(services.database, endpoint["id"], EPOCH - HOUR, "pending")
    other = await new_agent()

    for verb in ("cancel", "expunge", "redeliver"):
        assert (await other.post(f"/v1/deliveries/{past.id}/{verb}")).status_code == 404
