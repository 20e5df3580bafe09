"""Look-up of host names."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

__all__ = ["Resolver", "SystemResolver"]

# A look-up that nobody waits for any more keeps its thread until the name server is given up on. So there are more than
# there are requests at once; they are started as they are needed.
lookups_at_once_max = 128


class Resolver(Protocol):
    """Look-up of host names."""

    async def addresses(self, host: str) -> Sequence[str]:
        """All addresses of `host`, best first; none when it does not resolve. Never raises for a host's sake."""
        ...


class SystemResolver:
    """The operating system's look-up, on threads of its own, so that slow name servers hold up nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(lookups_at_once_max, thread_name_prefix="lookup")

    async def addresses(self, host: str) -> Sequence[str]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str) -> Sequence[str]:
    # The closing dot keeps search domains out. The hosts file knows localhost only without it.
    name = host if host == "localhost" else f"{host}."
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    # A scoped address comes with its zone ("fe80::1%eth0"), by which it is refused.
    return tuple(dict.fromkeys(str(address[4][0]) for address in found))
