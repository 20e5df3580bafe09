"""New heads that providers announce over WebSocket: a reason to look now, and nothing else.

What an announcement says is not read. Announcements that are lost, doubled or made up cost or spare a look: the poll
goes on beside them, and what is told comes from looks alone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

import orjson
from sqlalchemy.exc import OperationalError

from app.kit import limits, telemetry
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.operator_socket import SocketLost, operator_socket
from app.kit.telemetry import metrics
from app.kit.wake import Wake
from app.settings import ChainSettings
from app.subscriptions.service import Subscriptions

log = telemetry.logger(__name__)

_SUBSCRIBE = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}).decode()


class NewHeads:
    """Listens to all providers that announce, while it runs."""

    def __init__(
        self,
        transaction: Transaction,
        clock: Clock,
        wake: Wake,
        subscriptions: Subscriptions,
        chains: Mapping[str, ChainSettings],
        jitter: random.Random,
    ) -> None:
        self._transaction = transaction
        self._clock = clock
        self._wake = wake
        self._subscriptions = subscriptions
        self._chains = chains
        self._jitter = jitter
        self._announced = {chain: asyncio.Event() for chain in chains}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to listen; in a worker, once."""
        for chain, settings in self._chains.items():
            sockets = [(each.name, each.ws_url) for each in settings.rpc_url if each.ws_url is not None]
            self._tasks += [asyncio.create_task(self._listen(chain, name, url)) for name, url in sockets]
            if sockets:
                self._tasks.append(asyncio.create_task(self._hurry(chain, settings.poll_seconds)))

    async def close(self) -> None:
        """Listen no longer."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, chain: str, name: str, url: str) -> None:
        """Hear one provider, and come back to it whenever the connection is lost or falls silent."""
        lost = 0
        while True:
            try:
                async with operator_socket(
                    url, timeout_seconds=limits.rpc_timeout_seconds, message_bytes_max=limits.head_message_bytes_max
                ) as socket:
                    await socket.send(_SUBSCRIBE)
                    while True:
                        # Some proxies answer pings for a node that has long stopped to speak.
                        async with asyncio.timeout(limits.heads_silent_seconds_max):
                            message = await socket.receive()
                        if _is_announcement(message):
                            lost = 0
                            metrics.provider_socket.labels(chain, name).set(1)
                            self._announced[chain].set()
            except (SocketLost, TimeoutError) as error:
                metrics.provider_socket.labels(chain, name).set(0)
                log.warning("a provider announces no heads", chain=chain, provider=name, error=str(error) or "silent")
            lost += 1
            wait = min(2.0 ** min(lost, 10), limits.heads_again_seconds_max)
            await self._clock.sleep(wait * self._jitter.uniform(0.5, 1.0))

    async def _hurry(self, chain: str, poll_seconds: float) -> None:
        """Make the chain due when heads are announced. While somebody looks at it, once that look has ended."""
        while True:
            await self._announced[chain].wait()
            self._announced[chain].clear()
            if not await self._hurried(chain, poll_seconds):
                self._announced[chain].set()
            # Whatever is announced meanwhile is one more look, not many.
            await self._clock.sleep(limits.heads_pause_seconds)

    async def _hurried(self, chain: str, poll_seconds: float) -> bool:
        """Whether the chain is due now; false where that has to be tried again."""
        try:
            async with self._transaction() as db:
                now = await self._clock.now(db)
                hurried = await self._subscriptions.hurry(db, chain, now, poll_seconds=poll_seconds)
        except Exception as error:
            # Nobody begins this task again: if it ended with the database, no announcement would be heard any more.
            is_away = isinstance(error, OperationalError)
            log.warning(
                "a new head is not looked at yet", chain=chain, error=type(error).__name__, exc_info=not is_away
            )
            await self._clock.sleep(limits.sweep_seconds)
            return False
        if hurried:
            self._wake.ring("watchers")
        return hurried


def _is_announcement(message: str | bytes) -> bool:
    try:
        fields = orjson.loads(message)
    except orjson.JSONDecodeError:
        return False
    return isinstance(fields, dict) and fields.get("method") == "eth_subscription"  # pyright: ignore
