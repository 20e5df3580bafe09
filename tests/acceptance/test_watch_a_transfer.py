"""examples/watch_a_transfer.py, run against a relay as a person runs it and a real chain."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from examples.devchain import DevChain, Token
from tests.acceptance.conftest import StartRelay
from tests.acceptance.relays import Account, environment
from tests.packages import ROOT
from tocsin import Client, PrivateKey

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]

COMMAND: list[str | Path] = [Path(sys.executable).parent / "tocsin"]


async def test_an_agent_is_told_of_transfers_and_checks_them_for_itself(home: Path, start: StartRelay) -> None:
    async with DevChain.start(mining=False) as chain:
        token = await Token.deploy(chain)
        chains = json.dumps({"eip155:31337": {"rpc_url": chain.url, "poll_seconds": 0.2}})
        relay = await asyncio.to_thread(start([*COMMAND, "up"], Account("us"), TOCSIN_CHAINS=chains).wait_until_up)
        key_file = home / "agent.key"
        _register(relay.url, key_file)
        watching = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "examples.watch_a_transfer", "eip155:31337", token.address, chain.url, "3"),
            cwd=ROOT,
            env=environment(home, TOCSIN_URL=relay.url, TOCSIN_KEY=str(key_file)),
            stdout=subprocess.PIPE,
        )
        assert watching.stdout is not None
        lines = watching.stdout
        assert (await lines.readline()).startswith(b"watching")

        await token.mint(chain.accounts[1], 5_000_000)
        await chain.mine()
        first = (await lines.readline()).decode()
        await chain.reorg(1, [(token.minting(chain.accounts[2], 7), 0)])
        rest = [(await lines.readline()).decode() for _ in range(2)]
        assert await watching.wait() == 0
        with Client(relay.url, PrivateKey.load(key_file)) as client:
            left = [*client.endpoints.list(), *client.subscriptions.list()]

    assert left == []
    said = [first, *rest]
    assert [line[:2] for line in sorted(said)] == ["+ ", "+ ", "- "]
    assert first.startswith("+ 5000000 ")
    assert any(line.startswith("- 5000000 ") for line in rest)
    assert any(line.startswith("+ 7 ") for line in rest)
    assert all("[v1 v1a] and our node agrees" in line for line in said), said


def _register(url: str, key_file: Path) -> None:
    key = PrivateKey.generate()
    with Client(url, key) as client:
        client.agents.register(key, "watcher")
    key.save(key_file)
