"""A relay that watches a real chain, through a proxy that counts and can lie."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.kit.due import drain
from app.services import Services
from app.settings import ChainSettings, Settings
from examples.devchain import DevChain, Token, transfer_topic
from tests.chain.parrot import COLLECTION, MEMORY, PARROT, POOL, SLOT, planted
from tests.chain.proxy import Proxy
from tests.receivers import Receiver, receiving
from tests.world import OwnClock, TestAgent

NETWORK = "eip155:31337"


@pytest.fixture
async def chain() -> AsyncIterator[DevChain]:
    # Final is what 16 blocks stand on: forks of these tests are no deeper, unless they mean to be.
    async with DevChain.start(mining=False, timestamp=1_700_000_000, epoch_blocks=8) as chain:
        yield chain


@pytest.fixture
async def proxy(chain: DevChain) -> AsyncIterator[Proxy]:
    async with Proxy.before(chain.url) as proxy:
        yield proxy


@pytest.fixture
async def token(chain: DevChain) -> Token:
    """A token of which the first accounts have plenty."""
    token = await Token.deploy(chain)
    for account in chain.accounts[:3]:
        await token.mint(account, 1_000_000)
    await chain.mine()
    return token


@pytest.fixture
async def contracts(chain: DevChain) -> None:
    """A pool, a collection and a slot, each at its address."""
    await planted(chain, PARROT, POOL)
    await planted(chain, PARROT, COLLECTION)
    await planted(chain, SLOT, MEMORY)
    await chain.mine()


@pytest.fixture
def settings(settings: Settings, proxy: Proxy) -> Settings:
    chains = {NETWORK: ChainSettings.model_validate({"rpc_url": proxy.url, "poll_seconds": 1})}
    return settings.model_copy(update={"chains": chains})


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


def transfers(token: Token, **members: Any) -> dict[str, Any]:
    """A subscription to the token's transfers."""
    return {
        "source": {"kind": "evm.log", "chain": NETWORK, "address": token.address, "topics": [transfer_topic]}
    } | members


@dataclass
class Town:
    """The relay's workers, turned by hand, and what they rang."""

    services: Services
    clock: OwnClock
    receiver: Receiver
    ids: list[str] = field(default_factory=list)

    async def look(self) -> None:
        """A second later: look at whatever is due."""
        self.clock.advance(seconds=1)
        await drain(self.services.watchers.look_next)

    async def deliver(self) -> None:
        """Fan out what was seen and get it there."""
        await drain(self.services.subscriptions.feed_next)
        await drain(self.services.deliveries.deliver_next)

    async def turn(self, times: int = 1) -> None:
        """Look and deliver."""
        for _ in range(times):
            await self.look()
            await self.deliver()

    async def endpoint(self, agent: TestAgent, name: str = "hook") -> str:
        """An endpoint that has proved that it wants to be rung."""
        url = f"http://127.0.0.1:{self.receiver.port}/{name}"
        created = await agent.post("/v1/endpoints", {"url": url})
        assert created.status_code == 201, created.text
        await drain(self.services.deliveries.verify_next)
        return created.json()["id"]

    def heard(self, name: str = "hook") -> list[tuple[str, str]]:
        """What an endpoint was rung for, in order of its source: type and event id."""
        rings = [post.json for post in self.receiver.rings if post.path == f"/{name}"]
        rings.sort(key=lambda ring: ring["data"]["seq"])
        return [(ring["type"], ring["data"]["event_id"]) for ring in rings]


@pytest.fixture
def town(services: Services, clock: OwnClock, receiver: Receiver) -> Town:
    return Town(services, clock, receiver)


async def subscribe(agent: TestAgent, body: dict[str, Any]) -> dict[str, Any]:
    created = await agent.post("/v1/subscriptions", body)
    assert created.status_code == 201, created.text
    return created.json()


async def pulled(agent: TestAgent, subscription_id: str, query: str = "") -> list[dict[str, Any]]:
    """Everything that a subscription was told, page by page."""
    items: list[dict[str, Any]] = []
    after = ""
    while True:
        page = await agent.get(f"/v1/subscriptions/{subscription_id}/events?limit=3{after}{query}")
        assert page.status_code == 200, page.text
        if not page.json()["items"]:
            return items
        items += page.json()["items"]
        after = f"&after={page.json()['next']}"
