"""Paying, as tests do it: a chain with dollars, the development facilitator, one that misbehaves, and a payer."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from aiohttp import web
from aiohttp.test_utils import TestServer
from eth_account import Account
from x402 import x402Client
from x402.http import x402HTTPClient
from x402.mechanisms.evm import EthAccountSigner
from x402.mechanisms.evm.exact import register_exact_evm_client

from app.kit.clock import SystemClock
from examples.devchain import DevChain, Token, payments_network
from tests.world import OwnClock

# The second and third of anvil's accounts.
PAYER_KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
PAYER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
PAY_TO = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"


@dataclass(frozen=True)
class Till:
    """A chain of its own, with a token that the payer has 10 dollars of."""

    chain: DevChain
    token: Token

    async def balances(self) -> tuple[int, int]:
        """What payer and payee hold, in micro-dollars."""
        return await self.token.balance_of(PAYER), await self.token.balance_of(PAY_TO)


async def fill(chain: DevChain) -> Till:
    """Plant the token on a chain and give the payer 10 dollars."""
    token = await Token.plant(chain)
    await token.mint(PAYER, 10_000_000)
    return Till(chain, token)


@contextmanager
def facilitator_process(rpc: str) -> Iterator[str]:
    """The URL of the development facilitator, as a process of its own."""
    command = [sys.executable, "-m", "app.payments.facilitator", "--rpc", rpc, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            announced = re.search(r"http://\S+", process.stdout.readline())
            assert announced is not None, "the facilitator did not start"
            yield announced[0]
        finally:
            process.kill()


def payer(key: str = PAYER_KEY) -> x402HTTPClient:
    """The official client, with the payer's key."""
    client = x402Client()
    register_exact_evm_client(client, EthAccountSigner(Account.from_key(key)))
    return x402HTTPClient(client)


async def sign_payment(challenge: httpx.Response, client: x402HTTPClient | None = None) -> dict[str, str]:
    """The header that pays for what this 402 asks."""
    client = client or payer()
    required = client.get_payment_required_response(challenge.headers.get, None)
    return client.encode_payment_signature_header(await client.create_payment_payload(required))


def decoded(header: str) -> Any:
    """What an x402 header holds."""
    return json.loads(base64.b64decode(header))


def encoded(document: Any) -> str:
    """A document as an x402 header."""
    return base64.b64encode(json.dumps(document).encode()).decode()


class RunningClock(OwnClock):
    """A clock that the test can set ahead, and on which waiting takes real time."""

    def __init__(self) -> None:
        super().__init__()
        self._system = SystemClock()

    def monotonic(self) -> float:
        return self._system.monotonic() + super().monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._system.sleep(seconds)


Settle = Callable[[Any], Awaitable[web.StreamResponse]]


@dataclass
class Misbehaving:
    """A facilitator that stands before the real one and answers settlements as the test says, after counting them."""

    behind: str
    settle: Settle | None = None
    asked: int = 0
    port: int = 0
    _server: TestServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port as before."""
        app = web.Application()
        app.router.add_post("/settle", self.on_settle)
        app.router.add_get("/supported", self.on_supported)
        self._server = TestServer(app, host="127.0.0.1", port=self.port)
        await self._server.start_server()
        self.port = self._server.port or 0

    async def stop(self) -> None:
        """Refuse connections from now on."""
        if self._server is not None:
            await self._server.close()
            self._server = None

    async def forward(self, body: Any) -> Any:
        """What the real facilitator answers."""
        async with httpx.AsyncClient(verify=False, trust_env=False, timeout=20) as http:
            return (await http.post(f"{self.behind}/settle", json=body)).json()

    async def on_settle(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        body = await request.json()
        return await self.settle(body) if self.settle else web.json_response(await self.forward(body))

    async def on_supported(self, _: web.Request) -> web.StreamResponse:
        kind = {"x402Version": 2, "scheme": "exact", "network": payments_network}
        return web.json_response({"kinds": [kind], "extensions": [], "signers": {}})
