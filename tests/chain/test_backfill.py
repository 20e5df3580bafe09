"""A subscription from a past block: the past is read by ranges, and goes over into what is seen live without a seam."""

from __future__ import annotations

from typing import Any

import pytest

from app.kit import limits
from app.kit.due import drain
from app.kit.wake import Silence
from app.services import open_services
from app.settings import Settings
from examples.devchain import DevChain, Token
from tests.chain.conftest import NETWORK, Town, pulled, subscribe, transfers
from tests.chain.parrot import COLLECTION, POOL, spoken, words
from tests.chain.proxy import Proxy
from tests.chain.test_feeds import exact
from tests.feeding import replayed
from tests.world import OwnClock, TestAgent
from tocsin.proofs import meanings
from tocsin.proofs.meanings import topic_of

# Blocks until what there is now is final to this chain's node, and more.
final = 20


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "backfill_start_blocks", 4)
    monkeypatch.setattr(limits, "backfill_hits_max", 2)
    monkeypatch.setattr(limits, "backfill_depth_blocks", 2)


async def transferred(chain: DevChain, token: Token, *values: int) -> None:
    """A block for each, with an empty one after it."""
    for value in values:
        await token.transfer(chain.accounts[0], chain.accounts[1], value)
        await chain.mine(2)


async def catch_up(town: Town) -> None:
    for _ in range(3):
        await town.turn()
        town.clock.advance(seconds=limits.backfill_wait_seconds)
        await drain(town.services.watchers.backfill_next)
    await town.turn()


def values(events: list[dict[str, Any]]) -> list[int]:
    return [int(each["data"]["payload"]["log"]["data"], 16) for each in events]


async def test_what_the_past_costs_is_counted_with_the_rest(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    begun = int((await chain.head())["number"], 16) + 1
    await transferred(chain, token, 1, 2, 3)
    await chain.mine(final)
    subscription = await subscribe(agent, transfers(token, from_block=begun))
    await catch_up(town)
    assert len(await pulled(agent, subscription["id"])) == 3
    [watcher] = (await agent.get("/v1/watchers")).json()["items"]
    assert proxy.calls["eth_getLogs"] > 0
    assert watcher["upstream_calls"] == proxy.calls.total()


async def test_the_past_is_told_and_goes_over_into_the_present(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    begun = int((await chain.head())["number"], 16) + 1
    live = await subscribe(agent, transfers(token))
    await town.turn()
    await transferred(chain, token, 1, 2, 3, 4, 5)
    await town.turn()
    body = transfers(token, from_block=begun, endpoint_id=await town.endpoint(agent))
    subscription = await subscribe(agent, body)
    assert subscription["state"] == "catching_up"
    # While it catches up the chain goes on: a part of it is replaced, and there is more to tell.
    await transferred(chain, token, 6)
    await chain.reorg(1, [(token.transferring(chain.accounts[0], chain.accounts[1], 7), 0)])
    await town.turn()
    assert await pulled(agent, subscription["id"]) == []
    await chain.mine(final)
    await catch_up(town)
    await transferred(chain, token, 8)
    await chain.mine(final)
    await catch_up(town)

    told = await pulled(agent, subscription["id"])
    assert values(told) == [1, 2, 3, 4, 5, 6, 7, 8]
    shown = (await agent.get(f"/v1/subscriptions/{subscription['id']}")).json()
    assert shown["state"] == "active"
    assert shown["catching_up"]["next_block"] > shown["catching_up"]["until_block"]
    # An event has the same id and the same payload, whether it was seen live or found later.
    seen = {each["data"]["event_id"]: each["data"]["payload"] for each in await pulled(agent, live["id"])}
    assert {each["data"]["event_id"]: each["data"]["payload"] for each in told} == seen
    bodies = await exact(agent, subscription)
    assert len(replayed(bodies)) == 8
    assert sorted(post.body for post in town.receiver.rings) == sorted(bodies)


@pytest.mark.usefixtures("contracts")
async def test_the_past_of_each_kind_is_what_was_told_of_it_live(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    alice, bob = chain.accounts[:2]
    event = "Transfer(address indexed from, address indexed to, uint256 value)"
    sources: dict[str, dict[str, Any]] = {
        "block": {"kind": "evm.block", "every": 3},
        "log": {
            "kind": "evm.log",
            "address": token.address,
            "event": event,
            "where": f"decoded.value > 5 && transaction.from == '{alice}'",
        },
        "transfer": {"kind": "evm.transfer", "asset": token.address, "decimals": 6, "either": bob, "min": "0.00001"},
        "mint": {"kind": "evm.nft_mint", "collection": COLLECTION},
        "liquidity": {"kind": "evm.liquidity", "pool": POOL},
    }
    begun = int((await chain.head())["number"], 16) + 1
    live = {name: await subscribe(agent, {"source": {"chain": NETWORK, **each}}) for name, each in sources.items()}
    await town.turn()
    minted, added = topic_of(meanings.MINTED_MULTI.canonical), topic_of(meanings.ADDED_V2.canonical)
    for value in (4, 9, 10, 11):
        await token.transfer(alice, bob, value)
        await chain.mine()
        await chain.send({"from": bob} | spoken(COLLECTION, [minted, alice, "0x0", bob], words(value, 1)))
        await chain.send({"from": bob} | spoken(POOL, [added, alice], words(value, 2)))
        await chain.mine(2)
    await chain.mine(final)
    await town.turn()
    past = {
        name: await subscribe(agent, {"source": {"chain": NETWORK, **each}, "from_block": begun})
        for name, each in sources.items()
    }
    for _ in range(2):
        await chain.mine(final)
        for _ in range(3):
            await catch_up(town)

    for name, subscription in past.items():
        told = [(each["data"]["event_id"], each["data"]["payload"]) for each in await pulled(agent, subscription["id"])]
        seen = [(each["data"]["event_id"], each["data"]["payload"]) for each in await pulled(agent, live[name]["id"])]
        assert told == seen, name
        expected = {"log": 3, "transfer": 2, "mint": 4, "liquidity": 4}
        assert len(told) == expected.get(name, len(told)) > 1, name


async def test_whoever_dies_the_next_one_goes_on(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, settings: Settings, clock: OwnClock
) -> None:
    begun = int((await chain.head())["number"], 16) + 1
    await transferred(chain, token, 1, 2, 3, 4, 5, 6)
    await chain.mine(final)
    subscription = await subscribe(agent, transfers(token, from_block=begun))
    await town.turn()
    for _ in range(12):
        clock.advance(seconds=limits.backfill_wait_seconds)
        async with open_services(settings, Silence(), name="tests", clock=clock) as fresh:
            await fresh.watchers.backfill_next()
        await town.turn()
    await chain.mine(final)
    await catch_up(town)
    assert values(await pulled(agent, subscription["id"])) == [1, 2, 3, 4, 5, 6]


async def test_a_node_is_asked_for_no_more_than_it_gives(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "backfill_start_blocks", 2_000)
    refusals = 0

    def once_refused(method: str, answer: Any) -> Any:
        nonlocal refusals
        if method == "eth_getLogs" and refusals < 2:
            refusals += 1
            error = {"code": -32005, "message": "query exceeds max block range: 3"}
            return {"jsonrpc": "2.0", "id": answer["id"], "error": error}
        return answer

    proxy.tamper = once_refused
    begun = int((await chain.head())["number"], 16) + 1
    await transferred(chain, token, 1, 2, 3)
    await chain.mine(final)
    subscription = await subscribe(agent, transfers(token, from_block=begun))
    await chain.mine(final)
    await catch_up(town)
    await catch_up(town)
    assert refusals == 2
    assert values(await pulled(agent, subscription["id"])) == [1, 2, 3]


async def test_what_is_too_far_back_is_shown_to_begin_later(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, settings: Settings, clock: OwnClock
) -> None:
    begun = int((await chain.head())["number"], 16) + 1
    await transferred(chain, token, 1, 2, 3)
    # Nobody has watched yet, so nobody knew how far back this is.
    subscription = await subscribe(agent, transfers(token, from_block=begun))
    assert subscription["catching_up"]["from_block"] == begun
    near = settings.model_copy(update={"watching": settings.watching.model_copy(update={"backfill_blocks_max": 3})})
    await town.look()
    head = int((await chain.head())["number"], 16)
    async with open_services(near, Silence(), name="tests", clock=clock) as nearsighted:
        await nearsighted.watchers.backfill_next()
    await chain.mine(final)
    await catch_up(town)
    shown = (await agent.get(f"/v1/subscriptions/{subscription['id']}")).json()
    assert shown["catching_up"]["from_block"] == head - 3
    assert values(await pulled(agent, subscription["id"])) == [2, 3]


async def test_a_block_beyond_the_head_or_too_far_back_is_refused(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    await subscribe(agent, transfers(token))
    await town.turn()
    source = transfers(token)["source"]
    late = await agent.post("/v1/subscriptions", {"source": source, "from_block": 10_000})
    assert late.status_code == 422
    assert late.json()["errors"][0]["pointer"] == "/from_block"
