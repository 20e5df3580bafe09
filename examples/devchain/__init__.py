"""A private chain to try things on: a real anvil process and a token anybody may mint.

async with DevChain.start() as chain:
    token = await Token.deploy(chain)
    await token.mint(chain.accounts[0], 5_000_000)
    await token.transfer(chain.accounts[0], chain.accounts[1], 1_000_000)
"""

from examples.devchain.chain import DevChain, RpcError, anvil_binary, payments_chain_id, payments_network
from examples.devchain.token import Token, dollar, transfer_topic

__all__ = [
    "DevChain",
    "RpcError",
    "Token",
    "anvil_binary",
    "dollar",
    "payments_chain_id",
    "payments_network",
    "transfer_topic",
]
