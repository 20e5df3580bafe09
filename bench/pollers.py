"""The plain way to watch a chain: everybody asks the node for themselves. One process, one session, a task for each.

python -m bench.pollers NODE RECEIVER ADDRESS HOW_MANY SECONDS_BETWEEN
"""

import asyncio
import json
import sys
from typing import Any

import aiohttp
import uvloop


async def poll(
    session: aiohttp.ClientSession, node: str, receiver: str, address: str, seconds: float, following: int
) -> None:
    """Ask for logs after those that are known, post each to the receiver, and ask again."""
    while True:
        wanted = {"fromBlock": hex(following), "toBlock": "latest", "address": address}
        for each in await _ask(session, node, "eth_getLogs", wanted) or []:
            number = int(each["blockNumber"], 16)
            body = json.dumps({"data": {"payload": {"block": {"number": number}, "log": each}}}, separators=(",", ":"))
            async with session.post(receiver, data=body) as answer:
                await answer.read()
            following = number + 1
        await asyncio.sleep(seconds)


async def _ask(session: aiohttp.ClientSession, node: str, method: str, *params: object) -> Any:
    async with session.post(node, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}) as answer:
        return (await answer.json(content_type=None)).get("result")


async def main(node: str, receiver: str, address: str, count: str, seconds: str) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=256)) as session:
        following = int(await _ask(session, node, "eth_blockNumber"), 16) + 1
        polling = [poll(session, node, receiver, address, float(seconds), following) for _ in range(int(count))]
        print("polling", flush=True)
        await asyncio.gather(*polling)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
