"""`tocsin verify event`, as a person types it: against a relay of ours and a chain of one's own."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.devchain import DevChain, Token, transfer_topic
from tests.acceptance.conftest import StartRelay
from tests.acceptance.forks import typed
from tests.acceptance.relays import Account, environment, until
from tests.packages import ROOT
from tocsin import Client, PrivateKey
from tocsin.schemas.subscriptions import EvmLog, NewSubscription

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]

COMMAND: list[str | Path] = [Path(sys.executable).parent / "tocsin"]
NETWORK = "eip155:31337"


async def test_an_event_is_checked_by_whoever_hears_of_it(home: Path, start: StartRelay) -> None:
    async with DevChain.start(mining=False) as chain:
        token = await Token.deploy(chain)
        chains = json.dumps({NETWORK: {"rpc_url": chain.url, "poll_seconds": 0.2}})
        relay = await asyncio.to_thread(start([*COMMAND, "up"], Account("us"), TOCSIN_CHAINS=chains).wait_until_up)
        key = PrivateKey.generate()
        key.save(home / "agent.key")
        surroundings = environment(home, TOCSIN_URL=relay.url, TOCSIN_KEY=str(home / "agent.key"))

        async def run(*words: str | Path) -> tuple[int, str]:
            process = await asyncio.create_subprocess_exec(
                *words, cwd=ROOT, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            said, _ = await process.communicate()
            return int(process.returncode or 0), said.decode()

        async def verify(*words: str | Path) -> tuple[int, str]:
            ended = await asyncio.to_thread(typed, ["verify", "event", *map(str, words)], ROOT, surroundings)
            return ended.returncode, ended.stdout + ended.stderr

        with Client(relay.url, key) as client:
            client.agents.register(key, "a doubter")
            source = EvmLog(kind="evm.log", chain=NETWORK, address=token.address, topics=[transfer_topic])
            subscription = client.subscriptions.create(NewSubscription(source=source))

            def begun() -> bool:
                return client.subscriptions.get(subscription.id).state == "active"

            await asyncio.to_thread(until, begun, 20, lambda: "the watcher has not looked")
            await token.mint(chain.accounts[1], 5_000_000)
            await chain.mine()
            page = await asyncio.to_thread(client.subscriptions.events, subscription.id, None, 20)
            [ring] = [item.model_dump(mode="json") for item in page.items]
            proof = client.events.proof(ring["data"]["event_id"]).proof.model_dump(mode="json")

        file, proof_file = _written(home / "ring.json", ring), _written(home / "proof.json", proof)
        for words in (
            (ring["data"]["event_id"], "--rpc", chain.url),
            (file, "--rpc", chain.url),
            (file, "--proof", proof_file, "--rpc", chain.url),
            (file, "--proof", proof_file, "--block-hash", ring["data"]["payload"]["block"]["hash"]),
        ):
            code, said = await verify(*words)
            assert code == 0, said
            assert "holds it" in said
        code, said = await run(sys.executable, "-m", "examples.prove_event", ring["data"]["event_id"], chain.url)
        assert (code, said.partition(" in block")[0]) == (0, "evm.log"), said

        for change in (_richer, _elsewhere):
            code, said = await verify(_written(home / "altered.json", change(ring)), "--rpc", chain.url)
            assert code == 1, said
        for path in _altered(proof["receipt"]["path"]):
            altered = _written(home / "altered.json", proof | {"receipt": {"path": path}})
            code, said = await verify(file, "--proof", altered, "--rpc", chain.url)
            assert code == 1, said

        await chain.reorg(1)
        code, said = await verify(file, "--proof", proof_file, "--rpc", chain.url)
        assert code == 1, said
        assert "reorganisation" in said
        # With the relay's proof, as long as it remembers the block, and without one.
        code, said = await verify(file, "--rpc", chain.url)
        assert code == 1, said
        assert "reorganisation" in said
        code, said = await verify(_written(home / "back.json", ring | {"type": "event.retracted"}), "--rpc", chain.url)
        assert code == 0, said
        assert "is not on the chain" in said


def _written(file: Path, document: Any) -> Path:
    file.write_text(json.dumps(document))
    return file


def _richer(ring: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(ring).replace(f"{5_000_000:064x}", f"{6_000_000:064x}"))


def _elsewhere(ring: dict[str, Any]) -> dict[str, Any]:
    changed = json.loads(json.dumps(ring))
    changed["data"]["payload"]["transaction"]["hash"] = "0x" + "00" * 32
    return changed


def _altered(path: list[str]) -> Iterator[list[str]]:
    """The path with one digit of its last node altered, in a few places; unit tests try them all."""
    *before, node = path
    for at in range(2, len(node), len(node) // 4):
        yield [*before, node[:at] + ("0" if node[at] != "0" else "1") + node[at + 1 :]]
