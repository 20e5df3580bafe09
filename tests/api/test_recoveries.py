"""What did not arrive is sent again, in bulk and at a rate, and each of them once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.deliveries.recoveries import Recoveries
from app.kit import limits
from app.kit.due import drain
from app.kit.ids import Ids
from app.kit.wake import Silence
from tests.api.test_deliver import active, work
from tests.past import sent
from tests.receivers import Receiver, receiving
from tests.world import EPOCH

HOUR = timedelta(hours=1)
SINCE = (EPOCH - 24 * HOUR).isoformat()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


async def recover(services) -> None:
    await drain(services.deliveries.recoveries.recover_next)


async def states(services) -> dict[str, str]:
    async with services.database.transaction() as db:
        return {row.id: row.state for row in await db.execute(text("select id, state from deliveries"))}


async def test_what_failed_since_then_is_sent_again_with_its_id(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    old = await sent(services.database, endpoint["id"], EPOCH - 3 * HOUR)
    lost = await sent(services.database, endpoint["id"], EPOCH - HOUR)
    called_off = await sent(services.database, endpoint["id"], EPOCH - HOUR, "cancelled")
    arrived = await sent(services.database, endpoint["id"], EPOCH - HOUR, "delivered")

    asked = await agent.post(f"/v1/endpoints/{endpoint['id']}/recover", {"since": (EPOCH - 2 * HOUR).isoformat()})
    await recover(services)
    await work(services)

    assert asked.status_code == 202
    begun = asked.json()
    assert (begun["state"], begun["total"], begun["sent"], begun["states"]) == (
        "running",
        2,
        0,
        ["cancelled", "failed"],
    )
    assert begun["eta"] == "2026-11-22T09:00:00.040Z"
    assert {ring.id for ring in receiver.rings} == {f"{endpoint['id']}_{one.message_id}" for one in (lost, called_off)}
    done = (await agent.get(f"/v1/recoveries/{begun['id']}")).json()
    assert (done["state"], done["sent"], done["skipped"], done["eta"]) == ("done", 2, 0, None)
    assert (await agent.get("/v1/recoveries?state=done")).json()["items"] == [done]
    assert (await states(services))[old.id] == "failed"
    assert (await states(services))[arrived.id] == "delivered"
    shown = (await agent.get(f"/v1/deliveries/{lost.id}")).json()
    assert (shown["state"], shown["attempts"], shown["reason"]) == ("delivered", 11, None)


async def test_a_replay_sends_what_has_arrived_too(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    for state in ("delivered", "failed"):
        await sent(services.database, endpoint["id"], EPOCH - HOUR, state)

    asked = {"since": SINCE, "states": ["delivered"]}
    begun = (await agent.post(f"/v1/endpoints/{endpoint['id']}/recover", asked)).json()
    await recover(services)
    await work(services)

    assert (begun["total"], len(receiver.rings)) == (1, 1)


async def test_dead_letters_of_all_endpoints_are_driven_again(services, agent, new_agent, receiver, clock) -> None:
    first, second = await active(services, agent, receiver), await active(services, agent, receiver)
    other = await active(services, await new_agent(), receiver)
    for endpoint in (first, second, other):
        await sent(services.database, endpoint["id"], EPOCH - HOUR)
    await sent(services.database, first["id"], EPOCH - HOUR, type="test.other")
    await sent(services.database, first["id"], EPOCH - HOUR, "cancelled")

    begun = (await agent.post("/v1/deliveries/redrive", {"type": "test.said"})).json()
    await recover(services)
    await work(services)

    assert (begun["total"], begun["endpoint_id"], begun["type"]) == (2, None, "test.said")
    assert sorted(ring.id.split("_msg")[0] for ring in receiver.rings) == sorted([first["id"], second["id"]])


async def test_a_recovery_keeps_its_rate(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    for n in range(5):
        await sent(services.database, endpoint["id"], EPOCH - HOUR + timedelta(seconds=n))

    asked = {"since": SINCE, "rate_per_second": 2}
    begun = (await agent.post(f"/v1/endpoints/{endpoint['id']}/recover", asked)).json()
    seen = []
    for _ in range(4):
        await recover(services)
        now = (await agent.get(f"/v1/recoveries/{begun['id']}")).json()
        seen.append((now["state"], now["sent"]))
        clock.advance(seconds=1)

    assert seen == [("running", 2), ("running", 4), ("done", 5), ("done", 5)]


async def test_a_cancelled_recovery_sends_nothing_more(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    for n in range(3):
        await sent(services.database, endpoint["id"], EPOCH - HOUR + timedelta(seconds=n))
    asked = {"since": SINCE, "rate_per_second": 1}
    begun = (await agent.post(f"/v1/endpoints/{endpoint['id']}/recover", asked)).json()
    await recover(services)

    ended = (await agent.call("DELETE", f"/v1/recoveries/{begun['id']}")).json()
    clock.advance(seconds=60)
    await recover(services)
    again = (await agent.call("DELETE", f"/v1/recoveries/{begun['id']}")).json()

    assert (ended["state"], ended["sent"], ended["total"]) == ("cancelled", 1, 3)
    assert again == ended
    assert sorted((await states(services)).values()) == ["failed", "failed", "pending"]


async def test_what_is_gone_or_sent_by_another_is_skipped(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    me = (await agent.get("/v1/agents/me")).json()["id"]
    gone = await sent(services.database, endpoint["id"], EPOCH - HOUR, agent_id=me)
    by_hand = await sent(services.database, endpoint["id"], EPOCH - HOUR)
    await sent(services.database, endpoint["id"], EPOCH - HOUR)

    begun = (await agent.post(f"/v1/endpoints/{endpoint['id']}/recover", {"since": SINCE})).json()
    assert (await agent.post(f"/v1/deliveries/{gone.id}/expunge")).status_code == 200
    assert (await agent.post(f"/v1/deliveries/{by_hand.id}/redeliver")).status_code == 202
    await recover(services)
    await work(services)

    done = (await agent.get(f"/v1/recoveries/{begun['id']}")).json()
    assert (done["total"], done["sent"], done["skipped"]) == (3, 1, 2)
    assert len(receiver.rings) == 2


async def test_what_fails_after_a_recovery_began_is_no_part_of_it(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    later = await sent(services.database, endpoint["id"], EPOCH - HOUR, "pending")
    begun = (await agent.post(f"/v1/endpoints/{endpoint['id']}/recover", {"since": SINCE})).json()
    async with services.database.transaction() as db:
        await db.execute(
            text("update deliveries set state = 'failed', due_at = null, concluded_at = :at where id = :id"),
            {"at": EPOCH + HOUR, "id": later.id},
        )
    clock.advance(hours=2)
    await recover(services)

    assert begun["total"] == 0
    assert (await states(services))[later.id] == "failed"


async def test_an_endpoint_that_is_deleted_meanwhile_gets_nothing(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    await sent(services.database, endpoint["id"], EPOCH - HOUR)
    begun = (await agent.post(f"/v1/endpoints/{endpoint['id']}/recover", {"since": SINCE})).json()
    await agent.call("DELETE", f"/v1/endpoints/{endpoint['id']}")
    await recover(services)

    done = (await agent.get(f"/v1/recoveries/{begun['id']}")).json()
    assert (done["state"], done["sent"], done["skipped"]) == ("done", 0, 1)


@pytest.mark.parametrize(
    ("asked", "pointer", "told"),
    [
        ({"since": "2026-10-01T00:00:00Z"}, "/since", "may be 2026-10-23T09:00:00.000Z at the earliest"),
        ({"since": SINCE, "until": "2026-11-22T09:00:01Z"}, "/until", "may not lie in the future"),
        ({"since": SINCE, "until": SINCE}, "/until", "has to lie after since"),
        ({"since": SINCE, "rate_per_second": 501}, "/rate_per_second", "less than or equal to 500"),
        ({"since": SINCE, "states": ["pending"]}, "/states/0", "'failed', 'cancelled' or 'delivered'"),
        ({"since": SINCE, "states": []}, "/states", "at least 1 item"),
        ({}, "/since", "required"),
    ],
)
async def test_a_span_that_cannot_be_recovered_is_refused(
    services, agent, receiver, clock, asked, pointer, told
) -> None:
    endpoint = await active(services, agent, receiver)

    refused = await agent.post(f"/v1/endpoints/{endpoint['id']}/recover", asked)

    assert refused.status_code == 422
    [error] = refused.json()["errors"]
    assert error["pointer"] == pointer
    assert told in error["detail"]


async def test_five_recoveries_run_at_a_time(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    await sent(services.database, endpoint["id"], EPOCH - HOUR)
    path = f"/v1/endpoints/{endpoint['id']}/recover"
    for _ in range(5):
        assert (await agent.post(path, {"since": SINCE})).status_code == 202

    refused = await agent.post(path, {"since": SINCE})

    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/conflict")
    assert "5 recoveries are running" in refused.json()["detail"]


async def test_more_than_a_recovery_takes_is_refused(services, agent, receiver, clock, monkeypatch) -> None:
    monkeypatch.setattr(limits, "recovery_deliveries_max", 2)
    endpoint = await active(services, agent, receiver)
    for _ in range(3):
        await sent(services.database, endpoint["id"], EPOCH - HOUR)

    refused = await agent.post(f"/v1/endpoints/{endpoint['id']}/recover", {"since": SINCE})

    assert refused.json()["errors"][0]["detail"].startswith("a recovery has at most 2 deliveries")


async def test_recoveries_of_another_agent_are_not_found(services, agent, new_agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    begun = (await agent.post(f"/v1/endpoints/{endpoint['id']}/recover", {"since": SINCE})).json()
    other = await new_agent()

    assert (await other.get(f"/v1/recoveries/{begun['id']}")).status_code == 404
    assert (await other.call("DELETE", f"/v1/recoveries/{begun['id']}")).status_code == 404
    assert (await other.post(f"/v1/endpoints/{endpoint['id']}/recover", {"since": SINCE})).status_code == 404
    refused = await other.post("/v1/deliveries/redrive", {"endpoint": endpoint["id"]})
    assert refused.json()["errors"] == [{"pointer": "/endpoint", "detail": "there is no such endpoint of yours"}]
    assert (await other.get("/v1/recoveries")).json()["items"] == []


async def test_what_has_an_order_is_sent_again_in_it(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    past = [await sent(services.database, endpoint["id"], EPOCH - HOUR + timedelta(seconds=n)) for n in range(3)]
    async with services.database.transaction() as db:
        await db.execute(text("update deliveries set order_key = 'k'"))

    await agent.post(f"/v1/endpoints/{endpoint['id']}/recover", {"since": SINCE})
    await recover(services)
    on_their_way = [(await agent.get(f"/v1/deliveries/{one.id}")).json()["waits_for"] for one in past]
    await work(services)

    assert on_their_way == [None, "order", "order"]
    assert [ring.id for ring in receiver.rings] == [f"{endpoint['id']}_{one.message_id}" for one in past]


class Died(Exception):
    """The worker is no more."""


async def test_a_worker_may_die_anywhere_in_a_batch(services, agent, receiver, clock, monkeypatch) -> None:
    monkeypatch.setattr(limits, "listed_rows_max", 4)
    endpoint = await active(services, agent, receiver)
    for n in range(7):
        await sent(
            services.database, endpoint["id"], EPOCH - HOUR + timedelta(seconds=n), ["failed", "delivered"][n % 2]
        )
    asked = {"since": SINCE, "rate_per_second": 2}
    begun = (await agent.post(f"/v1/endpoints/{endpoint['id']}/recover", asked)).json()

    for steps in range(40):
        with suppress(Died):
            await _dying(services, steps).recover_next()
        clock.advance(seconds=0.2)
    clock.advance(seconds=60)
    for _ in range(5):
        await recover(services)
        clock.advance(seconds=2)

    done = (await agent.get(f"/v1/recoveries/{begun['id']}")).json()
    assert (done["state"], done["sent"], done["skipped"]) == ("done", 4, 0)
    async with services.database.transaction() as db:
        told = (
            (await db.execute(text("select subject from events where kind = 'delivery.redelivered'"))).scalars().all()
        )
    assert len(told) == len(set(told)) == 4


def _dying(services, steps_left: int) -> Recoveries:
    """A worker that gets so many statements far."""

    @asynccontextmanager
    async def transaction():
        nonlocal steps_left
        async with services.database.transaction() as db:
            execute = db.execute

            async def counted(*args, **options):
                nonlocal steps_left
                if steps_left == 0:
                    raise Died
                steps_left -= 1
                return await execute(*args, **options)

            db.execute = counted
            yield db
            if steps_left == 0:
                raise Died
        # Durable, and nobody was told.
        if steps_left == 1:
            raise Died

    return Recoveries(transaction, services.clock, Ids(), Silence(), timedelta(days=30))


async def test_two_workers_and_an_owner_send_each_delivery_once(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    past = [await sent(services.database, endpoint["id"], EPOCH - HOUR + timedelta(seconds=n)) for n in range(6)]
    path = f"/v1/endpoints/{endpoint['id']}/recover"
    begun = [(await agent.post(path, {"since": SINCE})).json() for _ in range(2)]

    await asyncio.gather(
        recover(services), recover(services), *(agent.post(f"/v1/deliveries/{one.id}/redeliver") for one in past[:3])
    )

    done = [(await agent.get(f"/v1/recoveries/{one['id']}")).json() for one in begun]
    async with services.database.transaction() as db:
        told = (
            (await db.execute(text("select subject from events where kind = 'delivery.redelivered'"))).scalars().all()
        )
    assert sorted(told) == sorted(one.id for one in past)
    assert [one["state"] for one in done] == ["done", "done"]
    assert sum(one["sent"] for one in done) + sum(one["skipped"] for one in done) == 12


async def test_a_recovery_that_has_ended_is_forgotten_with_what_it_was_about(services, agent, receiver, clock) -> None:
    endpoint = await active(services, agent, receiver)
    await sent(services.database, endpoint["id"], EPOCH - HOUR)
    asked = {"since": (EPOCH - 2 * HOUR).isoformat()}
    ended = (await agent.post(f"/v1/endpoints/{endpoint['id']}/recover", asked)).json()["id"]
    await recover(services)
    found = list[int]()

    for days in (29, 2):
        clock.advance(days=days)
        async with services.database.transaction() as db:
            await services.deliveries.forget(db, clock.at)
        found.append((await agent.get(f"/v1/recoveries/{ended}")).status_code)

    assert found == [200, 404]
