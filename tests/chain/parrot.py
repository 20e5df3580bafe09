"""Contracts without a compiler: one that logs what it is told, and one that remembers a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from examples.devchain import DevChain


def _parrot() -> str:
    """Calldata is the number of topics, four topics, and the data of the log."""
    code = "60813603" + "80608160003760003560f81c"
    # Where the code for so many topics begins, behind a comparison with each number and a stop.
    start = len(code) // 2 + 4 * 7 + 1
    bodies = [
        f"5b50{''.join(f'60{1 + 32 * j:02x}35' for j in range(k - 1, -1, -1))}{0x80 + k:02x}6000a{k}00"
        for k in (1, 2, 3, 4)
    ]
    for k, body in enumerate(bodies, 1):
        code += f"8060{k:02x}1460{start:02x}57"
        start += len(body) // 2
    return f"0x{code}00{''.join(bodies)}"


PARROT = _parrot()
# With more than a selector, it remembers the first word; without, it answers with it. A zero makes it revert.
SLOT = "0x60043611601b5760005480601257600080fd5b60005260206000f35b60043560005500"


POOL, COLLECTION, MEMORY = ("0x" + digit * 40 for digit in "abc")
"""Where the tests have a pool and a collection, which are parrots, and a slot."""


def spoken(address: str, topics: Sequence[str], data: str = "0x") -> dict[str, Any]:
    """What makes a parrot at an address log this; topics as hexadecimal of any length."""
    padded = [topic[2:].rjust(64, "0") for topic in topics]
    padded += ["0" * 64] * (4 - len(padded))
    return {"to": address, "data": f"0x{len(topics):02x}{''.join(padded)}{data[2:]}"}


def remembered(address: str, number: int) -> dict[str, Any]:
    """What makes a slot at an address remember a number."""
    return {"to": address, "data": f"0x00000000{number:064x}"}


def words(*numbers: int) -> str:
    """Numbers as the data of a log."""
    return "0x" + "".join(f"{number % 2**256:064x}" for number in numbers)


async def planted(chain: DevChain, code: str, address: str) -> str:
    """The code, at an address of our choice."""
    await chain.call("anvil_setCode", address, code)
    return address
