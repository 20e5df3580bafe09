"""From a block to the webhooks: one watcher for a thousand subscribers, beside a thousand who ask for themselves."""

import asyncio
import json
import time

import psycopg

from app.kit.wake import Silence
from app.services import open_services
from app.settings import ChainSettings
from bench import deliveries, report
from bench.stage import Stage
from examples.devchain import DevChain, Token, transfer_topic
from examples.devchain.chain import anvil_process
from tocsin.schemas.subscriptions import EvmLog, NewSubscription

__all__ = ["report_latency"]

subscribers = 1_000
blocks = 10
poll_seconds = 0.25
chain = "eip155:31337"


def report_latency(on: Stage, workers: int) -> None:
    """Print how long after a block was mined its event has arrived, for each of a thousand subscribers."""
    with anvil_process(mining=False, timestamp=None) as node:
        asyncio.run(_report(on, node, workers))


async def _report(on: Stage, node: str, workers: int) -> None:
    async with DevChain.connect(node) as dev:
        token = await Token.deploy(dev)
        await _subscribe(on, node, token)
        watched = json.dumps({chain: {"rpc_url": node, "poll_seconds": poll_seconds}})
        running = [on.start("-m", "workers.main", TOCSIN_CHAINS=watched) for _ in range(workers)]
        await asyncio.to_thread(_wait_until_watched, on)
        report.show("by the relay, block to webhook", await _latencies(on, dev, token))
        for worker in running:
            worker.terminate()
            worker.wait(60)
        on.taken()
        polling = on.start(
            "-m", "bench.pollers", node, f"{on.receiver}/hook", token.address, str(subscribers), str(poll_seconds)
        )
        assert polling.stdout is not None
        await asyncio.to_thread(polling.stdout.readline)
        report.show("each for itself, block to webhook", await _latencies(on, dev, token))
        polling.terminate()


def _wait_until_watched(on: Stage) -> None:
    """Until the watcher has looked once: what a block before that holds is told to nobody."""
    with psycopg.connect(on.postgres.url) as db:
        while db.execute("select 1 from sources where state = 'active'").fetchone() is None:
            db.commit()
            time.sleep(0.1)


async def _latencies(on: Stage, dev: DevChain, token: Token) -> list[float]:
    """Milliseconds from the answer to the miner until each arrival, over some blocks with a transfer in each."""
    found = list[float]()
    for value in range(1, blocks + 1):
        await token.mint(dev.accounts[1], value)
        await dev.mine()
        mined = time.monotonic()
        taken = await asyncio.to_thread(on.wait_until_taken, subscribers)
        found += [max(0.0, arrival - mined) * 1000 for _, arrival in taken["arrivals"]]
        await asyncio.sleep(1)
    return found


async def _subscribe(on: Stage, node: str, token: Token) -> None:
    """A thousand endpoints, each with a subscription to the token's transfers."""
    settings = on.settings.model_copy(update={"chains": {chain: ChainSettings.model_validate({"rpc_url": node})}})
    source = EvmLog(kind="evm.log", chain=chain, address=token.address, topics=[transfer_topic])
    async with open_services(settings, Silence(), name="bench") as services:
        for number in range(subscribers):
            id = f"ep_w{number:025}"
            await deliveries.add_endpoint(services, id, f"{on.receiver}/hook")
            async with services.database.transaction() as db:
                now = await services.clock.now(db)
                new = NewSubscription(source=source, endpoint_id=id)
                await services.subscriptions.create(db, deliveries.agent_id, new, now)
