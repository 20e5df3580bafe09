"""What the doctor finds of a chain, asked of a real node."""

from __future__ import annotations

import asyncio

import pytest

from app.local import chains
from app.local.errors import LocalError
from app.settings import ChainSettings
from examples.devchain import DevChain
from examples.devchain.chain import network


def of(*urls: str) -> ChainSettings:
    """A chain by the providers of these URLs, labelled a, b and so on."""
    return ChainSettings.model_validate(
        {"rpc_url": [{"url": url, "label": label} for url, label in zip(urls, "abc", strict=False)]}
    )


async def look(name: str, settings: ChainSettings) -> str:
    return await asyncio.to_thread(chains.look, name, settings)


async def test_it_says_how_far_each_provider_is() -> None:
    async with DevChain.start(mining=False) as chain:
        await chain.mine(3)
        assert await look(network, of(chain.url, chain.url)) == "a: at block 3; b: at block 3"


async def test_one_that_does_not_answer_is_wrong_and_the_others_are_told_beside_it() -> None:
    async with DevChain.start(mining=False) as chain:
        with pytest.raises(LocalError, match=r"a: at block 0; b: \S+"):
            await look(network, of(chain.url, "http://127.0.0.1:1"))


async def test_a_node_of_another_chain_is_wrong() -> None:
    async with DevChain.start(mining=False) as chain:
        with pytest.raises(LocalError, match="a: eth_chainId is '0x7a69', not 0x1"):
            await look("eip155:1", of(chain.url))
