"""The agents of the demo: each with a key, a receiver of its own, and a memory of what it was rung with."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from examples.demo.timeline import Timeline
from examples.paid_schedule import Pay
from tocsin import AsyncClient, PrivateKey
from tocsin.listen import Heard, Receiver, Trust
from tocsin.webhooks import Ring, new_secret


@dataclass
class Agent:
    """One agent. It believes a ring only if both of its signatures verify."""

    name: str
    client: AsyncClient
    timeline: Timeline
    endpoint_id: str = ""
    rings: dict[str, Ring] = field(default_factory=dict[str, Ring])
    refused: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, heard: Heard) -> None:
        """Take in what the receiver heard. Repetitions of a ring carry its id and are dropped."""
        if heard.ring is None:
            self.refused += 1
            self.timeline.say(self.name, f"refused: {heard.refusal}", "bold red")
        elif heard.ring.id not in self.rings:
            self.rings[heard.ring.id] = heard.ring
            self.timeline.say(self.name, f"◉ {_told(heard)}")
        self._news.set()

    def of_type(self, kind: str) -> Sequence[Ring]:
        """The rings of one type, in the order in which they came."""
        return [ring for ring in self.rings.values() if ring.type == kind]

    async def wait_until(self, true: Callable[[], bool]) -> None:
        """Wait for rings until something is so."""
        while not true():
            self._news.clear()
            await self._news.wait()


@asynccontextmanager
async def agent(name: str, url: str, timeline: Timeline, pay: Pay | None = None) -> AsyncGenerator[Agent]:
    """An agent with its receiver, registered at the relay; `pay` is its wallet, if it has one."""
    loop, key, secret = asyncio.get_running_loop(), PrivateKey.generate(), new_secret()
    async with AsyncClient(url, key, pay=pay) as client:
        me = Agent(name, client, timeline)
        # The receiver answers on threads of its own; what the agent remembers is touched on one only.
        with Receiver(lambda heard: loop.call_soon_threadsafe(me.hear, heard)) as receiver:
            await client.agents.register(key, name)
            endpoint = await client.endpoints.create(receiver.url, secret=secret)
            receiver.trust(Trust(secret, await client.webhook_keys(), endpoint.id))
            me.endpoint_id = endpoint.id
            timeline.say(name, f"registered its key; wants to be rung at {receiver.url}")
            yield me


def _told(heard: Heard) -> str:
    """A ring as one line."""
    ring = heard.ring
    assert ring is not None
    signatures = " ".join(f"{name} ✓" for name in ring.verified)
    return f"{ring.type:<22} {_what(ring, heard.at):<52} {signatures}"


def _what(ring: Ring, at: datetime) -> str:
    data = ring.data
    match ring.type:
        case "schedule.fired":
            late = at - datetime.fromisoformat(data["scheduled_at"])
            return f"run {data['run']}, {late.total_seconds() * 1000:.0f} ms after its time"
        case "event.matched" | "event.retracted":
            log = data["payload"]["log"]
            amount = int(log["data"], 16) / 1_000_000
            return f"{amount:.2f} USDC, block {data['payload']['block']['number']}, {data['event_id'][:16]}…"
        case "endpoint.verification":
            return "asked whether it wants to be rung; it does"
        case _:
            return ""
