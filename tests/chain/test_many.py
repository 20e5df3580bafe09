"""However many subscribe, and however far behind the watcher is: the node is asked the same, all is told in order."""

from __future__ import annotations

from collections import Counter
from typing import Any

from app.services import Services
from examples.devchain import DevChain, Token
from tests.chain.conftest import Town, pulled, subscribe, transfers
from tests.chain.faults import Faulty
from tests.chain.proxy import Proxy
from tests.conftest import NewAgent
from tests.world import TestAgent
from tocsin.schemas.subscriptions import NewSubscription


async def asked_for_a_fork(town: Town, chain: DevChain, token: Token, proxy: Proxy) -> Counter[str]:
    """What the node is asked while blocks come, are replaced, and come again."""
    proxy.calls.clear()
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine(3)
    await town.look()
    await chain.reorg(3, [(token.transferring(chain.accounts[0], chain.accounts[1], 1), 1)])
    await town.look()
    return Counter(proxy.calls)


async def test_the_node_is_asked_the_same_for_one_subscriber_and_for_a_thousand(
    agent: TestAgent, new_agent: NewAgent, services: Services, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    await subscribe(agent, transfers(token))
    await town.look()
    for_one = await asked_for_a_fork(town, chain, token, proxy)

    wanted = NewSubscription.model_validate(transfers(token))
    others = [await new_agent() for _ in range(9)]
    async with services.database.transaction() as db:
        for number in range(999):
            await services.subscriptions.create(db, others[number % 9].id, wanted, town.clock.at)
    for_a_thousand = await asked_for_a_fork(town, chain, token, proxy)

    assert for_one == for_a_thousand
    assert for_one["eth_getBlockReceipts"] == 2
    [watcher] = (await agent.get("/v1/watchers")).json()["items"]
    assert watcher["subscriptions"] == 1_000


async def test_the_way_down_a_deep_fork_is_read_by_the_batch(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    await subscribe(agent, transfers(token))
    await town.turn()
    await chain.mine(140)
    await town.turn()
    await chain.reorg(120)
    await chain.mine()
    before = proxy.requests
    await town.turn(5)
    [watcher] = (await agent.get("/v1/watchers")).json()["items"]
    assert watcher["state"] == "halted"
    assert proxy.requests - before < 5 * 20


async def test_who_gives_only_so_much_is_asked_for_less_at_once(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    for value in range(60):
        await token.transfer(chain.accounts[0], chain.accounts[1], value)
        await chain.mine()
    left = 0

    def limited(call: Any, answer: Any) -> Any:
        nonlocal left
        # Each look has so many.
        left = 20 if call["params"][:1] == ["latest"] else left - (call["method"] == "eth_getBlockReceipts")
        error = {"code": -32005, "message": "project ID request rate exceeded"}
        return answer if left >= 0 else {"jsonrpc": "2.0", "id": call["id"], "error": error}

    limits = Faulty(proxy, 0, lambda name: name)
    limits.fault, limits.share = limited, 1.0
    for _ in range(6):
        town.clock.advance(seconds=30)
        await town.turn()
    events = await pulled(agent, subscription["id"])
    assert [int(each["data"]["payload"]["log"]["data"], 16) for each in events] == list(range(60))


async def test_a_thousand_blocks_are_made_up_in_order(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    before = proxy.requests
    for value in range(10):
        await token.transfer(chain.accounts[0], chain.accounts[1], value)
        await chain.call("anvil_mine", hex(100))
    await town.turn()
    events = await pulled(agent, subscription["id"])
    assert [int(each["data"]["payload"]["log"]["data"], 16) for each in events] == list(range(10))
    [watcher] = (await agent.get("/v1/watchers")).json()["items"]
    assert watcher["position"]["number"] == int((await chain.head())["number"], 16)
    # Headers come by the batch: for 1,000 blocks fewer requests than for a hundred one by one.
    assert proxy.requests - before < 100
