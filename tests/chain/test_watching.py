"""One watcher sees what happens on a chain, and everybody who asked is told of it, once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from app.kit import limits
from app.kit.clock import SystemClock
from app.kit.due import drain
from app.kit.wake import Silence
from app.services import Services, open_services
from app.settings import Settings
from examples.devchain import DevChain, Token
from tests.chain import faults
from tests.chain.conftest import Town, pulled, subscribe, transfers
from tests.chain.faults import Fault, Faulty, in_result
from tests.chain.proxy import Proxy
from tests.conftest import NewAgent
from tests.world import OwnClock, TestAgent
from tocsin.schemas.subscriptions import EventsQuery


async def test_a_transfer_is_told(agent: TestAgent, town: Town, chain: DevChain, token: Token) -> None:
    endpoint_id = await town.endpoint(agent)
    subscription = await subscribe(agent, transfers(token, endpoint_id=endpoint_id))
    await town.turn()
    sent = await token.transfer(chain.accounts[0], chain.accounts[1], 5)
    block = await chain.mine()
    await town.turn()

    [ring] = town.receiver.rings
    data = ring.json["data"]
    assert ring.json["type"] == "event.matched"
    assert data["source_id"] == subscription["source_id"]
    assert data["kind"] == "evm.log"
    assert data["payload"]["block"]["hash"] == block["hash"]
    assert data["payload"]["transaction"] == {"hash": sent, "index": 0, "verified": "rpc"}
    assert int(data["payload"]["log"]["data"], 16) == 5
    assert data["payload"]["verified"] == "receipts-root"
    assert await pulled(agent, subscription["id"]) == [ring.json]


async def test_a_node_of_another_chain_is_not_believed(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    proxy.tamper = lambda method, answer: {**answer, "result": "0x1"} if method == "eth_chainId" else answer
    subscription = await subscribe(agent, transfers(token))
    await town.turn(2)
    assert (await agent.get(f"/v1/subscriptions/{subscription['id']}")).json()["state"] == "starting"
    [watcher] = (await agent.get("/v1/watchers")).json()["items"]
    assert "eth_chainId is '0x1'" in watcher["last_error"]


async def test_a_subscription_begins_at_the_head(agent: TestAgent, town: Town, chain: DevChain, token: Token) -> None:
    head = await chain.head()
    subscription = await subscribe(agent, transfers(token))
    assert (subscription["state"], subscription["begins_after"]) == ("starting", None)
    await town.turn()
    shown = (await agent.get(f"/v1/subscriptions/{subscription['id']}")).json()
    assert shown["state"] == "active"
    assert shown["begins_after"]["hash"] == head["hash"]
    assert await pulled(agent, subscription["id"]) == []


@pytest.fixture
async def told_of_everything(
    new_agent: NewAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> dict[int, tuple[Counter[str], list[list[tuple[str, str]]]]]:
    """For 1 and for 200 subscriptions to one filter: what was asked of the node, and what each receiver heard."""
    results: dict[int, tuple[Counter[str], list[list[tuple[str, str]]]]] = {}
    for subscriptions in (1, 200):
        agents = [await new_agent() for _ in range(min(subscriptions, 10))]
        names = [f"{subscriptions}-{number}" for number in range(subscriptions)]
        made = []
        for number, name in enumerate(names):
            agent = agents[number % len(agents)]
            # One host is asked only so often a second whether its endpoints want to be rung.
            town.clock.advance(seconds=0.1)
            body = transfers(token, endpoint_id=await town.endpoint(agent, name))
            made.append((agent, (await subscribe(agent, body))["id"]))
        proxy.calls.clear()
        await town.turn()
        await token.transfer(chain.accounts[0], chain.accounts[1], 1)
        await chain.mine(3)
        await town.turn()
        again = token.transferring(chain.accounts[0], chain.accounts[1], 1)
        await chain.reorg(3, [(again, 1)])
        await town.turn()
        # Asked once in a process's life.
        proxy.calls.pop("eth_chainId", None)
        results[subscriptions] = Counter(proxy.calls), [town.heard(name) for name in names]
        for agent, subscription_id in made:
            assert (await agent.call("DELETE", f"/v1/subscriptions/{subscription_id}")).status_code == 204
    return results


async def test_upstream_calls_do_not_grow_with_subscriptions(
    told_of_everything: dict[int, tuple[Counter[str], list[list[tuple[str, str]]]]],
) -> None:
    for_one, _ = told_of_everything[1]
    for_many, heard = told_of_everything[200]
    assert for_one == for_many
    assert for_one.total() > 0
    # Everyone is told that it happened, that a reorganisation took it back, and where it happened again.
    assert len(heard) == 200
    for each in heard:
        (first, event), (second, retracted), (third, moved) = each
        assert (first, second, third) == ("event.matched", "event.retracted", "event.matched")
        assert event == retracted != moved
    assert all(each == heard[0] for each in heard)


async def test_the_watcher_says_what_each_block_has_to_show(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "chain_blocks_until_demanded", 3)
    await subscribe(agent, transfers(token))
    held_to = list[str]()
    for _ in range(4):
        await town.turn()
        [watcher] = (await agent.get("/v1/watchers")).json()["items"]
        held_to.append(watcher["held_to"])
        await token.transfer(chain.accounts[0], chain.accounts[1], 1)
        await chain.mine()
    # The block that it begins with has no transactions, and shows nothing.
    assert held_to == ["rpc", "rpc", "rpc", "receipts-root"]


async def test_a_reorganisation_is_told_newest_first(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    for value in (1, 2, 3):
        await token.transfer(chain.accounts[0], chain.accounts[1], value)
        await chain.mine()
    await town.turn()
    await chain.reorg(3, [(token.transferring(chain.accounts[0], chain.accounts[1], 9), 0)])
    head = await chain.head()
    await town.turn()

    events = await pulled(agent, subscription["id"])
    values = [int(each["data"]["payload"]["log"]["data"], 16) for each in events]
    types = [each["type"].removeprefix("event.") for each in events]
    assert types == ["matched"] * 3 + ["retracted"] * 3 + ["matched"]
    assert values == [1, 2, 3, 3, 2, 1, 9]
    assert [each["data"]["seq"] for each in events] == [1, 2, 3, 4, 5, 6, 7]
    assert events[3]["data"]["payload"]["replaced_by"] == head["hash"]
    assert [each["data"]["retracts"] for each in events[3:6]] == [e["data"]["event_id"] for e in events[2::-1]]


async def test_a_rollback_is_believed_once_it_persists(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine()
    await town.turn()
    await chain.rollback(1)
    await town.turn(3)
    assert len(await pulled(agent, subscription["id"])) == 1
    await town.turn()
    [_, retraction] = await pulled(agent, subscription["id"])
    assert retraction["type"] == "event.retracted"
    assert retraction["data"]["payload"]["replaced_by"] is None


async def test_a_late_subscriber_is_told_nothing_of_what_was_before(
    agent: TestAgent, new_agent: NewAgent, town: Town, chain: DevChain, token: Token
) -> None:
    await subscribe(agent, transfers(token))
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine()
    await town.turn()

    latecomer = await new_agent()
    late = await subscribe(latecomer, transfers(token, endpoint_id=await town.endpoint(latecomer)))
    assert late["state"] == "active"
    await chain.reorg(1)
    await chain.mine()
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 2)
    await chain.mine()
    await town.turn()
    retracted, told = await pulled(latecomer, late["id"])
    # All who hear a feed hear all of it: what was told before they joined says so, and is no concern of theirs.
    assert retracted["data"]["retracts_seq"] <= late["joins_after"]["seq"] < retracted["data"]["seq"]
    assert int(told["data"]["payload"]["log"]["data"], 16) == 2
    assert [post.json for post in town.receiver.rings] == [retracted, told]


async def test_two_subscriptions_of_one_endpoint_to_one_feed_ring_it_once(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    endpoint_id = await town.endpoint(agent)
    for body in (transfers(token), transfers(token)):
        await subscribe(agent, body | {"endpoint_id": endpoint_id})
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine()
    await town.turn()
    assert len(town.receiver.rings) == 1


async def test_more_deliveries_than_one_transaction_holds_are_made_in_portions(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "feed_deliveries_max", 3)
    for name in ("one", "other"):
        await subscribe(agent, transfers(token, endpoint_id=await town.endpoint(agent, name)))
    await town.turn()
    for value in range(4):
        await token.transfer(chain.accounts[0], chain.accounts[1], value)
    await chain.mine()
    await town.look()
    steps = 0
    while await town.services.subscriptions.feed_next():
        steps += 1
    await town.deliver()
    assert steps == 5  # the last finds nothing more to say
    assert len(town.heard("one")) == 4
    assert town.heard("one") == town.heard("other")


async def test_what_nobody_subscribes_to_is_not_polled(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    assert (await agent.call("DELETE", f"/v1/subscriptions/{subscription['id']}")).status_code == 204
    proxy.calls.clear()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine()
    await town.turn(3)
    assert proxy.calls.total() == 0

    again = await subscribe(agent, transfers(token))
    await town.turn()
    assert await pulled(agent, again["id"]) == []
    await token.transfer(chain.accounts[0], chain.accounts[1], 2)
    await chain.mine()
    await town.turn()
    assert len(await pulled(agent, again["id"])) == 1


async def test_a_long_absence_is_made_up_in_order(agent: TestAgent, town: Town, chain: DevChain, token: Token) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    for value in range(5):
        await token.transfer(chain.accounts[0], chain.accounts[1], value)
        await chain.mine(40)
    await town.turn()
    events = await pulled(agent, subscription["id"])
    assert [int(each["data"]["payload"]["log"]["data"], 16) for each in events] == [0, 1, 2, 3, 4]


async def test_a_fork_older_than_we_remember_halts_the_chain_and_tells_nothing(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine(300)
    await town.turn()
    await chain.reorg(290)
    await chain.mine()
    await town.turn(4)
    shown = (await agent.get(f"/v1/subscriptions/{subscription['id']}")).json()
    assert shown["state"] == "halted"
    assert "oldest remembered" in shown["state_reason"]
    [watcher] = (await agent.get("/v1/watchers")).json()["items"]
    assert watcher["state"] == "halted"
    assert len(await pulled(agent, subscription["id"])) == 1


# Crashes: every process that dies is followed by another that knows only what the database knows.


async def test_restarts_between_any_two_steps_neither_lose_nor_double(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, settings: Settings, clock: OwnClock
) -> None:
    subscription = await subscribe(agent, transfers(token, endpoint_id=await town.endpoint(agent)))

    async def step(name: str) -> None:
        clock.advance(seconds=1)
        async with open_services(settings, Silence(), name="tests", clock=clock) as fresh:
            match name:
                case "look":
                    await drain(fresh.watchers.look_next)
                case "fan out":
                    await drain(fresh.subscriptions.feed_next)
                case _:
                    await drain(fresh.deliveries.deliver_next)

    await step("look")
    for value in range(3):
        await token.transfer(chain.accounts[0], chain.accounts[1], value)
        await chain.mine()
        for name in ("look", "fan out", "look", "deliver", "fan out", "deliver"):
            await step(name)
    await chain.reorg(2, [(token.transferring(chain.accounts[0], chain.accounts[1], 7), 1)])
    for name in ("look", "look", "fan out", "deliver"):
        await step(name)

    events = await pulled(agent, subscription["id"])
    assert [(each["type"], each["data"]["event_id"]) for each in events] == town.heard()
    assert [int(each["data"]["payload"]["log"]["data"], 16) for each in events] == [0, 1, 2, 2, 1, 7]


async def test_a_look_that_dies_is_made_up_after_its_lease(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy, settings: Settings, clock: OwnClock
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine()
    clock.advance(seconds=1)
    reached = asyncio.Event()

    def noted(method: str, answer: Any) -> Any:
        if method == "eth_getBlockReceipts":
            reached.set()
        return answer

    proxy.tamper = noted
    async with open_services(settings, Silence(), name="tests", clock=clock) as dying:
        looking = asyncio.create_task(dying.watchers.look_next())
        await reached.wait()
        looking.cancel()
    await town.turn()
    assert len(await pulled(agent, subscription["id"])) <= 1
    clock.advance(seconds=60)
    await town.turn()
    assert len(await pulled(agent, subscription["id"])) == 1


async def test_several_workers_look_once(
    agent: TestAgent, services: Services, town: Town, chain: DevChain, token: Token, proxy: Proxy, settings: Settings
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine()
    proxy.calls.clear()
    town.clock.advance(seconds=1)
    async with open_services(settings, Silence(), name="tests", clock=town.clock) as other:
        await asyncio.gather(*(drain(each.watchers.look_next) for each in (services, other)))
        await asyncio.gather(*(drain(each.subscriptions.feed_next) for each in (services, other)))
    # The head, and with it what is safe and what is final; whose first look this was asked for the chain's id, too.
    proxy.calls.pop("eth_chainId", None)
    assert proxy.calls == {"eth_getBlockByNumber": 3, "eth_getBlockReceipts": 1}
    assert len(await pulled(agent, subscription["id"])) == 1


# A node that fails or lies.


FAULTS: Mapping[str, Fault] = {
    **faults.FAULTS,
    "another head, older": in_result(
        "eth_getBlockByNumber", lambda block: block | {"hash": "0x" + "12" * 32, "number": "0x1"}
    ),
    "another head, newer": in_result(
        "eth_getBlockByNumber", lambda block: block | {"hash": "0x" + "12" * 32, "parentHash": "0x" + "34" * 32}
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_event_comes_from_a_fault_and_none_is_lost_by_it(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy, fault: str
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    # More than one block, so that parents are asked for by hash.
    await chain.mine(3)
    bad = Faulty(proxy, 0, lambda name: name)
    bad.fault, bad.share = FAULTS[fault], 1.0
    await town.turn(3)
    assert await pulled(agent, subscription["id"]) == []
    [watcher] = (await agent.get("/v1/watchers")).json()["items"]
    assert watcher["last_error"]

    bad.heal()
    town.clock.advance(seconds=30)
    await town.turn(2)
    [told] = await pulled(agent, subscription["id"])
    assert told["type"] == "event.matched"
    [watcher] = (await agent.get("/v1/watchers")).json()["items"]
    assert (watcher["last_error"], watcher["state"], watcher["events"]) == (None, "active", 1)


# Reading


async def test_many_readers_wait_with_few_connections(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, settings: Settings
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    narrow = settings.model_copy(update={"database": settings.database.model_copy(update={"connections": 2})})
    async with open_services(narrow, Silence(), name="tests", clock=SystemClock()) as waiting:
        query = EventsQuery(wait=30)
        read = waiting.subscriptions.events
        readers = [read(waiting.database.transaction, agent.id, subscription["id"], query) for _ in range(20)]
        reading = asyncio.gather(*readers)
        await token.transfer(chain.accounts[0], chain.accounts[1], 1)
        await chain.mine()
        await town.turn()
        pages = await reading
    assert [len(page.items) for page in pages] == [1] * 20


async def test_a_reader_whose_time_is_over_is_answered_with_nothing(agent: TestAgent, town: Town, token: Token) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    answer = await agent.get(f"/v1/subscriptions/{subscription['id']}/events?wait=5")
    assert answer.status_code == 200
    assert answer.json()["items"] == []
    assert answer.json()["next"]
