"""An agent that publishes by signed requests, and repeats each with its key until it has been answered."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import orjson

from tests.faults.relay import Part, Relay, seconds_max
from tocsin.auth import RequestSigner
from tocsin.client import AsyncClient
from tocsin.keys import PrivateKey

__all__ = ["Publisher"]

# A busy API takes long; one that does not answer within this is taken for dead, and asked again.
answer_seconds_max = 15.0
at_once_max = 16
again_seconds = 0.2


@dataclass
class Publisher:
    """What it sent, and what it was told. Each message goes to the next of the APIs, and to another if that fails."""

    apis: Sequence[Part] = ()
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    # By idempotency key: the body of the answer, and so the message.
    answers: dict[str, bytes] = field(default_factory=dict[str, bytes])
    # Refusals by 503, and tries that nothing came of.
    refusals: list[httpx.Response] = field(default_factory=list[httpx.Response])
    broken: int = 0
    slowest_seconds: float = 0.0
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _http: httpx.AsyncClient = field(init=False)
    # An agent is one process, and does not ask for everything at the same moment.
    _at_once: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(at_once_max))

    def __post_init__(self) -> None:
        self._http = httpx.AsyncClient(auth=RequestSigner(self.key), timeout=answer_seconds_max, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def introduce(self, relay: Relay, apis: Sequence[Part], url: str) -> None:
        """Register, and have an endpoint that answers its challenge."""
        self.apis = apis
        async with AsyncClient(self.apis[0].url, self.key) as client:
            await client.agents.register(self.key)
            endpoint = await client.endpoints.create(url)
        await relay.until_active(endpoint.id)

    @property
    def accepted(self) -> set[str]:
        """The webhook-ids of what was answered with 2xx."""
        messages = [orjson.loads(body) for body in self.answers.values()]
        return {f"{to['endpoint_id']}_{message['id']}" for message in messages for to in message["deliveries"]}

    async def publish(self, count: int, *, apart_seconds: float = 0.02) -> None:
        """That many messages, begun at this pace, each repeated until it is answered."""
        async with asyncio.TaskGroup() as sending:
            for _ in range(count):
                sending.create_task(self.send(f"key-{next(self._numbers)}"))
                await asyncio.sleep(apart_seconds)

    async def publish_until(self, ended: asyncio.Event, *, apart_seconds: float = 0.02) -> None:
        """As many as fit until then, and every one of them until it is answered."""
        async with asyncio.TaskGroup() as sending:
            while not ended.is_set():
                sending.create_task(self.send(f"key-{next(self._numbers)}"))
                await asyncio.sleep(apart_seconds)

    async def send(self, key: str) -> None:
        """One message, until it is answered with 2xx."""
        begun = time.monotonic()
        apis = itertools.cycle([*self.apis[hash(key) % len(self.apis) :], *self.apis])
        while (answer := await self.ask(next(apis), key)) is None:
            assert time.monotonic() - begun < seconds_max, f"{key} is never answered"
            await asyncio.sleep(again_seconds)
        before = self.answers.setdefault(key, answer)
        assert answer == before, f"{key} was answered by {before!r}, and then by {answer!r}"
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - begun)

    async def ask(self, api: Part, key: str) -> bytes | None:
        """One try: the answer, or None when it has to be repeated."""
        said = {"type": "test.said", "data": {"key": key}}
        try:
            async with self._at_once:
                answer = await self._http.post(f"{api.url}/v1/messages", json=said, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            self.broken += 1
            return None
        if answer.is_success:
            return answer.content
        # 409: the one whose answer was lost may still be running.
        assert answer.status_code in (409, 503), f"{answer.status_code} {answer.text}"
        assert answer.headers["retry-after"], answer.text
        self.refusals.append(answer)
        return None
