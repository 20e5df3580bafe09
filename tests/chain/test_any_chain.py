"""Whatever a chain, its node and our processes do: who replays what it was told stands where the chain stands."""

from __future__ import annotations

import random
from typing import Any

import pytest

from app.kit.due import drain
from app.kit.wake import Silence
from app.services import open_services
from app.settings import Settings
from examples.devchain import DevChain, Token
from tests.chain.conftest import Town, pulled, subscribe, transfers
from tests.chain.faults import FAULTS, Faulty
from tests.chain.proxy import Proxy
from tests.world import OwnClock, TestAgent

Place = tuple[str, int, int]


@pytest.mark.parametrize("seed", range(4))
async def test_a_replay_of_what_was_told_equals_the_chain(
    agent: TestAgent,
    town: Town,
    chain: DevChain,
    token: Token,
    proxy: Proxy,
    settings: Settings,
    clock: OwnClock,
    seed: int,
) -> None:
    chance = random.Random(seed)
    bad = Faulty(proxy, seed, lambda name: name)
    subscription = await subscribe(agent, transfers(token, endpoint_id=await town.endpoint(agent)))
    await town.turn()
    begun = int((await chain.head())["number"], 16)
    for _ in range(40):
        match chance.choice(
            ["transfer", "transfer", "mine", "reorg", "rollback", "fault", "honest", "look", "restart"]
        ):
            case "transfer":
                for _ in range(chance.randint(1, 3)):
                    await token.transfer(chain.accounts[0], chain.accounts[1], chance.randint(1, 9))
                await chain.mine()
            case "mine":
                await chain.mine(chance.randint(1, 4))
            case "reorg":
                await _reorg(chain, token, chance, begun)
            case "rollback" if (depth := min(chance.randint(1, 3), await _above(chain, begun))) > 0:
                await chain.rollback(depth)
            case "fault":
                bad.fault, bad.share = FAULTS[chance.choice(sorted(FAULTS))], 1.0
            case "honest":
                bad.heal()
            case "restart":
                clock.advance(seconds=1)
                async with open_services(settings, Silence(), name="tests", clock=clock) as fresh:
                    await drain(fresh.watchers.look_next)
            case _:
                await town.turn()
    bad.heal()
    await chain.mine()
    for _ in range(5):
        clock.advance(seconds=30)
        await town.turn()

    events = await pulled(agent, subscription["id"])
    logs = await chain.call("eth_getLogs", {"address": token.address, "fromBlock": hex(begun + 1), "toBlock": "latest"})
    on_chain = [(log["blockHash"], int(log["transactionIndex"], 16), 0) for log in logs]
    assert _replayed(events) == on_chain
    rung = sorted((post.json for post in town.receiver.rings), key=lambda ring: ring["data"]["seq"])
    assert rung == events
    assert [event["data"]["seq"] for event in events] == list(range(1, len(events) + 1))


async def _reorg(chain: DevChain, token: Token, chance: random.Random, begun: int) -> None:
    depth = min(chance.randint(1, 5), await _above(chain, begun))
    if depth > 0:
        again = token.transferring(chain.accounts[0], chain.accounts[1], chance.randint(1, 9))
        await chain.reorg(depth, [(again, chance.randrange(depth))] if chance.random() < 0.7 else [])


async def _above(chain: DevChain, begun: int) -> int:
    """How many blocks there are above the one that the subscription began after."""
    return int((await chain.head())["number"], 16) - begun


def _replayed(events: list[dict[str, Any]]) -> list[Place]:
    """What stands after all that was told, in order; nothing is told twice, or taken back that did not stand."""
    standing: dict[str, Place] = {}
    for event in events:
        data, payload = event["data"], event["data"]["payload"]
        place = (payload["block"]["hash"], payload["transaction"]["index"], payload["log"]["index"])
        if event["type"] == "event.matched":
            assert data["event_id"] not in standing
            standing[data["event_id"]] = place
        else:
            assert standing.pop(data["retracts"]) == place
    return list(standing.values())
