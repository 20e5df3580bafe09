"""What paying needs: a chain, the development facilitator, and one before it that can be told to misbehave."""

from collections.abc import AsyncIterator, Iterator

import pytest

from examples.devchain import DevChain, payments_chain_id
from examples.devchain.chain import anvil_process
from tests.paying import Misbehaving, Till, facilitator_process, fill


@pytest.fixture(scope="session")
def payments_chain() -> Iterator[str]:
    """The URL of a chain that payment libraries take for Base's test network."""
    with anvil_process(mining=True, timestamp=None, chain_id=payments_chain_id) as url:
        yield url


@pytest.fixture(scope="session")
def development_facilitator(payments_chain: str) -> Iterator[str]:
    """The URL of the development facilitator."""
    with facilitator_process(payments_chain) as url:
        yield url


@pytest.fixture
async def till(payments_chain: str) -> AsyncIterator[Till]:
    """The chain with its dollar token, of which the payer has been given 10 dollars more."""
    async with DevChain.connect(payments_chain) as chain:
        yield await fill(chain)


@pytest.fixture
async def facilitator(till: Till, development_facilitator: str) -> AsyncIterator[Misbehaving]:
    """A facilitator that behaves until it is told otherwise."""
    standing = Misbehaving(development_facilitator)
    await standing.start()
    yield standing
    await standing.stop()
