"""The development chain and its token do what the other tests rely on."""

from __future__ import annotations

import secrets
import time

import pytest
from eth_account import Account

from examples.devchain import DevChain, RpcError, Token, transfer_topic


async def test_a_transfer_moves_the_balance_and_logs_it() -> None:
    async with DevChain.start(mining=False) as chain:
        alice, bob = chain.accounts[1:3]
        token = await Token.deploy(chain)
        await token.mint(alice, 5_000_000)
        sent = await token.transfer(alice, bob, 1_000_000)
        await chain.mine()
        receipt = await chain.receipt(sent)
        assert receipt is not None
        assert [log["topics"][0] for log in receipt["logs"]] == [transfer_topic]
        assert (await token.balance_of(alice), await token.balance_of(bob)) == (4_000_000, 1_000_000)


async def test_a_reorg_replaces_the_last_blocks_and_what_was_in_them() -> None:
    async with DevChain.start(mining=False) as chain:
        alice, bob = chain.accounts[1:3]
        token = await Token.deploy(chain)
        await token.mint(alice, 5_000_000)
        await chain.mine()
        await token.transfer(alice, bob, 1_000_000)
        before = await chain.mine(3)
        after = await chain.reorg(3, [(token.transferring(alice, bob, 2_000_000), 1)])
        assert after["number"] == before["number"]
        assert after["hash"] != before["hash"]
        assert await token.balance_of(bob) == 2_000_000


async def test_a_rollback_lowers_the_head() -> None:
    async with DevChain.start(mining=False) as chain:
        before = await chain.mine(5)
        after = await chain.rollback(2)
        assert int(after["number"], 16) == int(before["number"], 16) - 2


async def test_a_signed_authorization_pays_once() -> None:
    async with DevChain.start() as chain:
        holder, seller = Account.create(), chain.accounts[1]
        token = await Token.deploy(chain)
        await token.mint(holder.address, 5_000_000)
        authorization = {
            "from": holder.address,
            "to": seller,
            "value": 1_000_000,
            "validAfter": 0,
            "validBefore": int(time.time()) + 600,
            "nonce": "0x" + secrets.token_hex(32),
        }
        signed = Account.sign_typed_data(holder.key, full_message=typed_data(token.address, authorization))
        settle = token.transaction(
            chain.accounts[0],
            "0xe3ee160e",  # transferWithAuthorization(..., uint8 v, bytes32 r, bytes32 s)
            *(f"{int(v, 16) if isinstance(v, str) else v:064x}" for v in authorization.values()),
            *(f"{v:064x}" for v in (signed.v, signed.r, signed.s)),
        )
        await chain.send(settle)
        # A node answers before it has mined.
        await chain.mine()
        assert await token.balance_of(seller) == 1_000_000
        assert await token.authorization_state(holder.address, authorization["nonce"])
        with pytest.raises(RpcError, match="used or canceled"):
            await chain.call("eth_estimateGas", settle)


def typed_data(token: str, authorization: dict[str, object]) -> dict[str, object]:
    fields = ("from", "to", "value", "validAfter", "validBefore", "nonce")
    types = ("address", "address", "uint256", "uint256", "uint256", "bytes32")
    domain_types = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
    return {
        "types": {
            "EIP712Domain": [{"name": name, "type": kind} for name, kind in domain_types.items()],
            "TransferWithAuthorization": [
                {"name": name, "type": kind} for name, kind in zip(fields, types, strict=True)
            ],
        },
        "primaryType": "TransferWithAuthorization",
        "domain": {"name": "USDC", "version": "2", "chainId": 31337, "verifyingContract": token},
        "message": authorization,
    }
