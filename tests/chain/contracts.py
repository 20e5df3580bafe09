"""Contracts without a compiler, and a block with every kind of transaction that anvil takes easily."""

from __future__ import annotations

from typing import Any

from eth_account import Account
from eth_utils.address import to_checksum_address

from examples.devchain import DevChain, Token

# What anvil gives its first account.
FIRST_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
FEES = {"maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**9}


def logging(*topic_counts: int, data_bytes: int = 32) -> str:
    """Init code of an empty contract that writes a log for each of these, with as many topics: 1, 2, 3 and 4."""
    code = ""
    for count in topic_counts:
        code += "".join(f"60{topic:02x}" for topic in range(count, 0, -1))
        code += f"61{data_bytes:04x}6000a{count}"
    return f"0x{code}60006000f3"


async def mine_all_kinds(chain: DevChain, token: Token) -> dict[str, Any]:
    """A block with transactions of all types but 3, among them some without logs, one with many, and a creation."""
    sender, receiver, minter = chain.accounts[1:4]
    priced = {"from": sender, "to": receiver, "value": "0x1", "gasPrice": hex(10**11)}
    access = [{"address": token.address, "storageKeys": ["0x" + "11" * 32, "0x" + "00" * 32]}]
    await chain.send(priced)
    await chain.send(priced | {"accessList": access})
    await chain.send({"from": minter, "data": logging(0, 1, 2, 3, 4), "gas": hex(1_000_000)})
    await chain.send({"from": minter, "data": logging(*[4, 0, 2] * 60, data_bytes=300), "gas": hex(8_000_000)})
    await token.mint(receiver, 5)
    for transaction in _signed(token, receiver):
        await _send(chain, transaction)
    await chain.mine()
    return await chain.call("eth_getBlockByNumber", "latest", True)


def _signed(token: Token, to: str) -> list[dict[str, Any]]:
    """What anvil does not sign for us: without a chain in the signature, and with an authorization."""
    account = Account.from_key(FIRST_KEY)
    delegation = {"chainId": 31337, "address": to_checksum_address(token.address), "nonce": 0}
    authorized = {"type": 4, "chainId": 31337, **FEES, "authorizationList": [account.sign_authorization(delegation)]}
    common = {"gas": 500_000, "to": to_checksum_address(to), "value": 1}
    return [common | {"gasPrice": 10**11}, common | authorized]


async def _send(chain: DevChain, transaction: dict[str, Any]) -> None:
    account = Account.from_key(FIRST_KEY)
    nonce = int(await chain.call("eth_getTransactionCount", account.address, "pending"), 16)
    signed = account.sign_transaction(transaction | {"nonce": nonce})
    await chain.call("eth_sendRawTransaction", "0x" + signed.raw_transaction.hex())
