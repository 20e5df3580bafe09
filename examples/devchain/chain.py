"""One anvil process and the few calls that development and tests need."""

from __future__ import annotations

import itertools
import os
import platform
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx

chain_id = 31337
network = f"eip155:{chain_id}"
# Under the id of Base's test network payment libraries know a dollar token, at `examples.devchain.token.dollar`.
payments_chain_id = 84532
payments_network = f"eip155:{payments_chain_id}"


class RpcError(Exception):
    """The node answered a call with an error."""


class DevChain:
    """A running anvil. Accounts are unlocked and rich; blocks are mined on demand, or one for each transaction."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url = url
        self.accounts: list[str] = []
        self._client = client
        self._ids = itertools.count(1)

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        *,
        mining: bool = True,
        timestamp: int | None = None,
        chain_id: int = chain_id,
        epoch_blocks: int = 1,
        optimism: bool = False,
    ) -> AsyncIterator[DevChain]:
        """A fresh chain, gone at exit. With `mining=False` only `mine` makes blocks; `optimism` takes deposits, too.

        A block is safe once there is an epoch above it, and final once there are two.

        The same `timestamp` and the same calls give the same hashes in two processes; leave it out where signatures
        with a validity in real time are to be settled.
        """
        with anvil_process(
            mining=mining, timestamp=timestamp, chain_id=chain_id, epoch_blocks=epoch_blocks, optimism=optimism
        ) as url:
            async with cls.connect(url) as chain:
                yield chain

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str) -> AsyncIterator[DevChain]:
        """The chain of an anvil that is already running."""
        # Never by https, for which a client would read in all authorities first.
        async with httpx.AsyncClient(verify=False, trust_env=False, timeout=20) as client:
            chain = cls(url, client)
            chain.accounts = await chain.call("eth_accounts")
            yield chain

    async def call(self, method: str, *params: Any) -> Any:
        """The result of one JSON-RPC call."""
        body = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
        answer = (await self._client.post(self.url, json=body)).json()
        if "error" in answer:
            raise RpcError(f"{method}: {answer['error'].get('message')}")
        return answer["result"]

    async def mine(self, blocks: int = 1) -> dict[str, Any]:
        """Mine blocks, the first of them with what is pending, and return the new head."""
        for _ in range(blocks):
            await self.call("evm_mine")
        return await self.head()

    async def head(self) -> dict[str, Any]:
        """The latest block."""
        return await self.call("eth_getBlockByNumber", "latest", False)

    async def send(self, transaction: dict[str, Any]) -> str:
        """Hand in a transaction of an unlocked account and return its hash."""
        return await self.call("eth_sendTransaction", {"gas": hex(3_000_000), **transaction})

    async def receipt(self, transaction_hash: str) -> dict[str, Any] | None:
        """What became of a transaction; None while it is pending, and again once a reorg dropped it."""
        return await self.call("eth_getTransactionReceipt", transaction_hash)

    async def reorg(self, depth: int, transactions: Sequence[tuple[dict[str, Any], int]] = ()) -> dict[str, Any]:
        """Replace the last `depth` blocks by others of the same height and return the new head.

        The new blocks hold only the `transactions` given, each as (transaction, 0 for the lowest new block).
        """
        fees = {"gas": hex(3_000_000), "maxFeePerGas": hex(10**11), "maxPriorityFeePerGas": hex(10**9)}
        # Positional parameters: anvil refuses the object form.
        await self.call("anvil_reorg", depth, [[{**fees, **each}, offset] for each, offset in transactions])
        return await self.head()

    async def rollback(self, depth: int) -> dict[str, Any]:
        """Take the last `depth` blocks away, putting nothing in their place, and return the new head."""
        await self.call("anvil_rollback", depth)
        return await self.head()


def anvil_binary() -> str:
    """Where anvil is: `TOCSIN_ANVIL`, else where `make` installs it, else on the PATH."""
    if named := os.environ.get("TOCSIN_ANVIL"):
        return named
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"@foundry-rs/anvil-{platform.system().lower()}-{machine}"
    installed = Path(__file__).parents[2] / "tests" / "node_modules" / package / "bin" / "anvil"
    found = str(installed) if installed.exists() else shutil.which("anvil")
    if found is None:
        raise FileNotFoundError(f"no anvil: run `make dev`, or set TOCSIN_ANVIL to a binary (npm: {package})")
    return found


@contextmanager
def anvil_process(
    *, mining: bool, timestamp: int | None, chain_id: int = chain_id, epoch_blocks: int = 1, optimism: bool = False
) -> Iterator[str]:
    """The URL of an anvil that lives as long as the context, on a port the system chose."""
    # fifo: ordering by fee drops transactions of one sender. Short epochs: `finalized` moves from the first blocks on.
    command = [anvil_binary(), "--host", "127.0.0.1", "--port", "0", "--order", "fifo"]
    command += ["--slots-in-an-epoch", str(epoch_blocks)]
    command += ["--chain-id", str(chain_id)]
    command += [] if mining else ["--no-mining"]
    command += ["--optimism"] if optimism else []
    command += [] if timestamp is None else ["--timestamp", str(timestamp)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        # anvil logs every call: with nobody reading, it would stop at a full pipe.
        reader = threading.Thread(target=deque, args=(process.stdout, 0))
        try:
            url = _announced(process.stdout)
            reader.start()
            yield url
        finally:
            process.kill()
            if reader.ident:
                reader.join()


def _announced(lines: Iterable[str]) -> str:
    """The URL from anvil's own words, so that no port is guessed."""
    said: list[str] = []
    for line in lines:
        said.append(line)
        if match := re.match(r"Listening on (\S+)", line):
            return f"http://{match[1]}"
    raise RuntimeError(f"anvil did not start: {''.join(said)}")
