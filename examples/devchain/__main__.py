"""A private chain on which something happens: a token, of which a little is sent on every few seconds.

    .venv/bin/python -m examples.devchain

It says what to set for a relay to watch it, and what to type to be told. Ctrl-C ends it, and the chain with it.
"""

import asyncio
import json
from contextlib import suppress

from examples.devchain.chain import DevChain, network
from examples.devchain.token import Token

seconds_between = 3
reorganisation = {"jsonrpc": "2.0", "id": 1, "method": "anvil_reorg", "params": [1, []]}


async def main() -> None:
    async with DevChain.start() as chain:
        token = await Token.deploy(chain)
        giver, taker = chain.accounts[:2]
        await token.mint(giver, 10**12)
        print(told(chain.url, token.address), flush=True)
        for micros in range(1_000_000, 10**12, 1_000_000):
            await asyncio.sleep(seconds_between)
            await token.transfer(giver, taker, micros)
            number = int((await chain.head())["number"], 16)
            print(f"block {number}: {micros // 1_000_000} from {giver} to {taker}", flush=True)


def told(url: str, token: str) -> str:
    """What there is, and what to do with it."""
    return f"""\
A chain at {url}, with a token of 6 decimals at {token}.
For the relay, before `make up`:

    export TOCSIN_CHAINS='{json.dumps({network: url})}'

and then, as somebody who is registered:

    tocsin subscribe transfers --chain {network} --asset {token} --decimals 6 --min 5 --pull
    tocsin listen --subscription sub_…

What it told you, asked of the chain itself:

    tocsin verify event evt_… --rpc {url}

The newest block, taken back. A fork of more than two goes below what this chain calls final, and halts the watching:

    curl {url} --json '{json.dumps(reorganisation)}'
"""


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
