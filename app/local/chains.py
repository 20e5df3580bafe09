"""Whether the providers of a chain answer, and are of that chain."""

import asyncio

from app.kit.clock import SystemClock
from app.kit.operator_http import operator_client
from app.local.errors import LocalError
from app.settings import ChainSettings
from app.watchers.follower import Missing
from app.watchers.jsonrpc import Rpc
from app.watchers.opening import chain_of
from app.watchers.rpc import Node


def look(name: str, settings: ChainSettings) -> str:
    """How far each provider of a chain is. Refuses where one of them cannot be watched by, and says of each why."""
    found = asyncio.run(_ask_all(name, settings))
    told = "; ".join(f"{provider}: {said}" for provider, (_, said) in zip(settings.names, found, strict=True))
    if not all(well for well, _ in found):
        raise LocalError(told)
    return told


async def _ask_all(name: str, settings: ChainSettings) -> list[tuple[bool, str]]:
    async with operator_client(timeout_seconds=settings.timeout_seconds) as http:
        providers = chain_of(name, settings, http, SystemClock()).providers
        return await asyncio.gather(*(_ask(provider) for provider in providers))


async def _ask(provider: Rpc) -> tuple[bool, str]:
    """Whether this provider can be watched by, and what it says."""
    node = Node(provider)
    if (other := await node.of_another_chain()) is not None:
        return False, other.reason
    head = await node.head(with_tags=False)
    if isinstance(head, Missing):
        return False, head.reason
    block, _ = head
    return True, f"at block {block.number}"
