"""Feeds of a real chain: at the depth that was asked for, in batches, with heartbeats, and as one sequence."""

from __future__ import annotations

from typing import Any

from examples.devchain import DevChain, Token
from tests.chain.conftest import Town, subscribe, transfers
from tests.conftest import NewAgent
from tests.feeding import replayed
from tests.world import TestAgent
from tocsin.feeds import Follower, InOrder


async def exact(agent: TestAgent, subscription: dict[str, Any]) -> list[bytes]:
    """The bodies that a subscription was told, as they are rung."""
    page = await agent.get(f"/v1/subscriptions/{subscription['id']}/events?exact=true&limit=100")
    assert page.status_code == 200, page.text
    assert page.json()["items"] == []
    return [body.encode() for body in page.json()["bodies"]]


async def told(agent: TestAgent, subscription: dict[str, Any]) -> list[dict[str, Any]]:
    page = await agent.get(f"/v1/subscriptions/{subscription['id']}/events?limit=100")
    assert page.status_code == 200, page.text
    return page.json()["items"]


def at(token: Token, finality: str) -> dict[str, Any]:
    return {"source": transfers(token)["source"] | {"finality": finality}}


async def test_what_is_deep_enough_is_told_and_a_fork_that_was_gone_by_then_is_not(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    soon, later = await subscribe(agent, transfers(token)), await subscribe(agent, at(token, "confirmations:2"))
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine()
    await town.turn()
    await chain.reorg(1, [(token.transferring(chain.accounts[0], chain.accounts[1], 2), 0)])
    await town.turn()
    assert await told(agent, later) == []
    await chain.mine(2)
    await town.turn()
    events = await told(agent, later)
    assert [(each["type"], int(each["data"]["payload"]["log"]["data"], 16)) for each in events] == [
        ("event.matched", 2)
    ]
    assert [each["type"] for each in await told(agent, soon)] == ["event.matched", "event.retracted", "event.matched"]


async def test_a_fork_deeper_than_was_asked_for_is_taken_back(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    subscription = await subscribe(agent, at(token, "confirmations:1"))
    await town.turn()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine(2)
    await town.turn()
    await chain.reorg(2)
    await chain.mine(2)
    await town.turn()
    matched, retracted = await told(agent, subscription)
    assert retracted["type"] == "event.retracted"
    assert retracted["data"]["retracts"] == matched["data"]["event_id"]
    assert retracted["data"]["retracts_seq"] == matched["data"]["seq"]


async def test_what_is_rung_and_what_is_read_is_one_sequence_for_all(
    new_agent: NewAgent, town: Town, chain: DevChain, token: Token
) -> None:
    one, other = await new_agent(), await new_agent()
    mine = await subscribe(one, transfers(token, endpoint_id=await town.endpoint(one, "one")))
    await subscribe(other, transfers(token, endpoint_id=await town.endpoint(other, "other")))
    await town.turn()
    for value in range(3):
        await token.transfer(chain.accounts[0], chain.accounts[1], value)
        await chain.mine()
    await town.turn()
    await chain.reorg(2)
    await town.turn()
    bodies = await exact(one, mine)
    assert len(bodies) == 5
    assert len(replayed(bodies)) == 1
    for name in ("one", "other"):
        rung = [post.body for post in town.receiver.rings if post.path == f"/{name}"]
        assert sorted(rung) == sorted(bodies)
        follower = Follower(mine["feed_id"], mine["joins_after"]["seq"], mine["joins_after"]["hash"])
        # Rings arrive in any order.
        taken = [follower.take(body) for body in rung]
        given = [entry.body for each in taken if isinstance(each, InOrder) for entry in each.entries]
        assert given == bodies


async def test_one_ring_holds_all_of_a_block(agent: TestAgent, town: Town, chain: DevChain, token: Token) -> None:
    body = transfers(token, batch="block", endpoint_id=await town.endpoint(agent))
    subscription = await subscribe(agent, body)
    await town.turn()
    for value in (1, 2, 3):
        await token.transfer(chain.accounts[0], chain.accounts[1], value)
    block = await chain.mine()
    await town.turn()
    [ring] = town.receiver.rings
    assert ring.type == "event.batch"
    assert ring.json["data"]["block"]["hash"] == block["hash"]
    values = [int(item["payload"]["log"]["data"], 16) for item in ring.json["data"]["items"]]
    assert values == [1, 2, 3]
    await chain.reorg(1)
    await chain.mine()
    await town.turn()
    matched, retracted = await told(agent, subscription)
    assert [item["retracts_seq"] for item in retracted["data"]["items"]] == [matched["data"]["seq"]] * 3


async def test_a_heartbeat_comes_when_nothing_else_did(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    body = transfers(token, heartbeat_blocks=3, endpoint_id=await town.endpoint(agent))
    subscription = await subscribe(agent, body)
    await town.turn()
    begun = await chain.head()
    await chain.mine(2)
    await town.turn()
    assert town.receiver.rings == []
    third = await chain.mine()
    await town.turn()
    [ring] = town.receiver.rings
    assert ring.type == "subscription.heartbeat"
    assert ring.json["data"]["after"] == int(begun["number"], 16)
    assert ring.json["data"]["through"] == {"number": int(third["number"], 16), "hash": third["hash"]}
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine(2)
    await town.turn()
    await chain.mine(2)
    await town.turn()
    assert [each["type"] for each in await told(agent, subscription)] == ["subscription.heartbeat", "event.matched"]
