"""A node that has nothing in common with anvil is followed, too: ganache, with an EVM and with errors of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.settings import ChainSettings, Settings
from examples.devchain import DevChain, Token
from tests.chain.conftest import NETWORK, Town, pulled, subscribe, transfers
from tests.chain.proxy import Proxy
from tests.world import TestAgent


@contextmanager
def ganache() -> Iterator[str]:
    """The URL of a ganache that lives as long as the context."""
    node = shutil.which("node")
    assert node is not None, "run `make dev`"
    command = [node, str(Path(__file__).with_name("ganache.mjs"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            announced = next(match for line in process.stdout if (match := re.match(r"Listening on (\S+)", line)))
            yield announced[1]
        finally:
            process.kill()


@pytest.fixture
async def chain() -> AsyncIterator[DevChain]:
    with ganache() as url:
        async with DevChain.connect(url) as chain:
            yield chain


@pytest.fixture
def settings(settings: Settings, proxy: Proxy) -> Settings:
    # Its head is final, it says, and goes back nevertheless: for such nodes depth decides.
    followed = ChainSettings.model_validate({"rpc_url": proxy.url, "finality": "depth", "finality_depth": 20})
    return settings.model_copy(update={"chains": {NETWORK: followed}})


async def test_a_second_implementation_is_followed_through_a_reorganisation(
    agent: TestAgent, town: Town, chain: DevChain, token: Token, proxy: Proxy
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    snapshot = await chain.call("evm_snapshot")
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine(2)
    await town.turn()
    assert await chain.call("evm_revert", snapshot)
    await token.transfer(chain.accounts[0], chain.accounts[1], 2)
    await chain.mine(3)
    await town.turn(2)

    events = await pulled(agent, subscription["id"])
    assert [each["type"] for each in events] == ["event.matched", "event.retracted", "event.matched"]
    assert [int(each["data"]["payload"]["log"]["data"], 16) for each in events] == [1, 1, 2]
    # Without the receipts of blocks, less was checked, and each event says so.
    assert {each["data"]["payload"]["verified"] for each in events} <= {"bloom", "rpc"}
    assert proxy.calls["eth_getLogs"] > 0
    [watcher] = (await agent.get("/v1/watchers")).json()["items"]
    assert (watcher["state"], watcher["last_error"]) == ("active", None)


async def test_its_answers_about_what_is_not_there_are_understood(
    agent: TestAgent, town: Town, chain: DevChain, token: Token
) -> None:
    subscription = await subscribe(agent, transfers(token))
    await town.turn()
    snapshot = await chain.call("evm_snapshot")
    await token.transfer(chain.accounts[0], chain.accounts[1], 1)
    await chain.mine()
    await town.turn()
    assert await chain.call("evm_revert", snapshot)
    # A rollback: nothing new takes the block's place.
    await town.turn(4)
    assert [each["type"] for each in await pulled(agent, subscription["id"])] == ["event.matched", "event.retracted"]
