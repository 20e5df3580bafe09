"""The development token: ERC-20 with EIP-3009, minted by anyone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from examples.devchain.chain import DevChain

compiled: dict[str, Any] = json.loads(Path(__file__).with_name("token.json").read_text())

# Where payment libraries expect the dollar token of `payments_network`.
dollar = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"

# keccak256("Transfer(address,address,uint256)")
transfer_topic = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"

# The first four bytes of keccak256 of each signature.
MINT = "0x40c10f19"
TRANSFER = "0xa9059cbb"
BALANCE_OF = "0x70a08231"
AUTHORIZATION_STATE = "0xe94a0102"


class Token:
    """A deployed token. Amounts are in its smallest unit, a millionth."""

    def __init__(self, chain: DevChain, address: str) -> None:
        self.chain = chain
        self.address = address

    @classmethod
    async def deploy(cls, chain: DevChain) -> Token:
        """Deploy from the first account and mine."""
        sent = await chain.send({"from": chain.accounts[0], "data": compiled["bytecode"]})
        receipt = await chain.receipt(sent)
        if receipt is None:
            await chain.mine()
            receipt = await chain.receipt(sent)
        assert receipt is not None
        assert receipt["status"] == "0x1", receipt
        return cls(chain, receipt["contractAddress"])

    @classmethod
    async def plant(cls, chain: DevChain, address: str = dollar) -> Token:
        """Put the token's code at an address of our choice; it has no constructor to miss."""
        await chain.call("anvil_setCode", address, compiled["deployedBytecode"])
        return cls(chain, address)

    async def mint(self, to: str, value: int) -> str:
        """Make `value` out of nothing. Returns the transaction's hash."""
        return await self.chain.send(self.minting(to, value))

    async def transfer(self, sender: str, to: str, value: int) -> str:
        """Move `value`. Returns the transaction's hash."""
        return await self.chain.send(self.transferring(sender, to, value))

    def minting(self, to: str, value: int) -> dict[str, Any]:
        """The transaction of `mint`, not yet sent; `DevChain.reorg` takes such."""
        return self.transaction(self.chain.accounts[0], MINT, word(to), word(value))

    def transferring(self, sender: str, to: str, value: int) -> dict[str, Any]:
        """The transaction of `transfer`, not yet sent."""
        return self.transaction(sender, TRANSFER, word(to), word(value))

    async def balance_of(self, owner: str) -> int:
        """What an address holds."""
        return await self._view(BALANCE_OF, word(owner))

    async def authorization_state(self, authorizer: str, nonce: str) -> bool:
        """Whether an authorization was used or cancelled."""
        return bool(await self._view(AUTHORIZATION_STATE, word(authorizer), word(nonce)))

    def transaction(self, sender: str, selector: str, *words: str) -> dict[str, Any]:
        return {"from": sender, "to": self.address, "data": selector + "".join(words)}

    async def _view(self, selector: str, *words: str) -> int:
        call = {"to": self.address, "data": selector + "".join(words)}
        return int(await self.chain.call("eth_call", call, "latest"), 16)


def word(value: int | str) -> str:
    """An integer, address or 32-byte value as one ABI word: 64 hexadecimal digits."""
    number = value if isinstance(value, int) else int(value, 16)
    return f"{number:064x}"
