"""What a real node answers is encoded as the chain encodes it, and every log of a real block can be proven."""

from __future__ import annotations

from typing import Any

import pytest

from examples.devchain import DevChain, Token
from tests.chain.contracts import mine_all_kinds
from tocsin import proofs

CHAIN = "eip155:31337"


async def receipts_of(chain: DevChain, block: dict[str, Any]) -> list[dict[str, Any]]:
    return await chain.call("eth_getBlockReceipts", block["hash"])


def types(block: dict[str, Any]) -> set[str]:
    return {transaction["type"] for transaction in block["transactions"]}


async def test_every_log_of_a_block_is_proven(chain: DevChain, token: Token) -> None:
    block = await mine_all_kinds(chain, token)
    receipts = await receipts_of(chain, block)
    assert types(block) == {"0x0", "0x1", "0x2", "0x4"}
    assert sum(len(receipt["logs"]) for receipt in receipts) == 5 + 180 + 1
    for index, receipt in enumerate(receipts):
        for place, log in list(enumerate(receipt["logs"]))[:7]:
            proof = proofs.prove(
                CHAIN, block, receipts, block["transactions"], transaction_index=index, log_index=place
            )
            proven = proofs.verify(proof.document(), trusted_chain=CHAIN, trusted_block_hash=block["hash"])
            assert proven.transaction_hash == log["transactionHash"]
            assert (proven.address, list(proven.topics), proven.data) == (log["address"], log["topics"], log["data"])
            assert (proven.parent_hash, hex(proven.timestamp)) == (block["parentHash"], block["timestamp"])


async def test_transactions_of_every_type_have_the_hash_that_the_node_says(chain: DevChain, token: Token) -> None:
    block = await mine_all_kinds(chain, token)
    for transaction in block["transactions"]:
        assert transaction["hash"] == "0x" + proofs.keccak(proofs.transaction_value(transaction)).hex()


async def test_blocks_of_many_transactions_have_the_roots_that_the_node_says(chain: DevChain, token: Token) -> None:
    for count in (1, 2, 17, 140):
        for value in range(count):
            await token.mint(chain.accounts[value % 10], value)
        await chain.mine()
        block = await chain.call("eth_getBlockByNumber", "latest", True)
        receipts = await receipts_of(chain, block)
        assert len(receipts) == count
        header = proofs.Header.parse(proofs.header_rlp(block))
        assert header.hash.hex() == block["hash"][2:]
        assert header.receipts_root == proofs.root([proofs.receipt_value(each) for each in receipts])
        assert header.transactions_root == proofs.root([proofs.transaction_value(t) for t in block["transactions"]])
        logged = [
            bytes.fromhex(each[2:])
            for receipt in receipts
            for log in receipt["logs"]
            for each in (log["address"], *log["topics"])
        ]
        assert header.logs_bloom == proofs.bloom(logged)


async def test_an_empty_block_has_empty_roots(chain: DevChain) -> None:
    header = proofs.Header.parse(proofs.header_rlp(await chain.mine()))
    assert header.receipts_root == header.transactions_root == proofs.EMPTY_ROOT


async def test_deposits_of_the_op_stack_are_encoded_as_it_does() -> None:
    async with DevChain.start(mining=False, optimism=True) as chain:
        deposit = {
            "type": "0x7e",
            "to": chain.accounts[1],
            "sourceHash": "0x" + "07" * 32,
            "input": "0x",
            "isSystemTx": False,
        }
        await chain.send(deposit | {"from": chain.accounts[0], "mint": "0x5", "value": "0x0"})
        await chain.send(deposit | {"from": chain.accounts[2], "value": "0x0"})
        await chain.send({"from": chain.accounts[3], "to": chain.accounts[1], "value": "0x1"})
        await chain.mine()
        block = await chain.call("eth_getBlockByNumber", "latest", True)
        receipts = await receipts_of(chain, block)
    assert [receipt["type"].lower() for receipt in receipts] == ["0x7e", "0x7e", "0x2"]
    header = proofs.Header.parse(proofs.header_rlp(block))
    assert header.hash.hex() == block["hash"][2:]
    assert header.receipts_root == proofs.root([proofs.receipt_value(each) for each in receipts])
    assert header.transactions_root == proofs.root([proofs.transaction_value(each) for each in block["transactions"]])


@pytest.mark.parametrize("lie", ["a log left out", "another transaction", "a receipt left out"])
async def test_a_node_that_contradicts_its_header_proves_nothing(chain: DevChain, token: Token, lie: str) -> None:
    block = await mine_all_kinds(chain, token)
    receipts, transactions = await receipts_of(chain, block), list(block["transactions"])
    match lie:
        case "a log left out":
            receipts[2]["logs"].pop()
        case "another transaction":
            transactions[2] = transactions[3]
        case _:
            receipts.pop()
    with pytest.raises(proofs.Unprovable):
        proofs.prove(CHAIN, block, receipts, transactions, transaction_index=2, log_index=0)
