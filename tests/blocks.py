"""Blocks that could be: made up, with the roots, bloom and hash that their contents have."""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tocsin import proofs

__all__ = ["block_of"]

transfer_topic = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
no_uncles = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"


def block_of(chance: random.Random, count: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as `eth_getBlockByHash` gives it, with its transactions, and its receipts."""
    contracts = [_hex(chance, 20) for _ in range(40)]
    receipts = [_receipt(chance, contracts, index) for index in range(count)]
    transactions = [_transaction(chance, index) for index in range(count)]
    logs = [log for receipt in receipts for log in receipt["logs"]]
    block = {
        "parentHash": _hex(chance, 32),
        "sha3Uncles": no_uncles,
        "miner": _hex(chance, 20),
        "stateRoot": _hex(chance, 32),
        "transactionsRoot": _root(map(proofs.transaction_value, transactions)),
        "receiptsRoot": _root(map(proofs.receipt_value, receipts)),
        "logsBloom": _bloom(logs),
        "difficulty": "0x0",
        "number": hex(chance.randrange(10**7, 10**8)),
        "gasLimit": hex(36_000_000),
        "gasUsed": receipts[-1]["cumulativeGasUsed"] if receipts else "0x0",
        "timestamp": hex(1_795_000_000 + chance.randrange(10**6)),
        "extraData": _hex(chance, 12),
        "mixHash": _hex(chance, 32),
        "nonce": "0x0000000000000000",
        "baseFeePerGas": hex(chance.randrange(1, 10**11)),
        "withdrawalsRoot": _hex(chance, 32),
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": _hex(chance, 32),
        "requestsHash": _hex(chance, 32),
        "transactions": transactions,
    }
    block["hash"] = "0x" + proofs.keccak(proofs.header_rlp(block)).hex()
    _place(block, receipts)
    return block, receipts


def _receipt(chance: random.Random, contracts: Sequence[str], index: int) -> dict[str, Any]:
    logs = [_log(chance, chance.choice(contracts)) for _ in range(min(int(chance.expovariate(0.2)), 40))]
    return {
        "type": chance.choice(("0x0", "0x2", "0x2", "0x2")),
        "status": "0x1",
        "cumulativeGasUsed": hex(21_000 * (index + 1)),
        "logsBloom": _bloom(logs),
        "logs": logs,
    }


def _log(chance: random.Random, address: str) -> dict[str, Any]:
    if chance.random() < 0.5:
        accounts = ["0x" + "00" * 12 + chance.randbytes(20).hex() for _ in range(2)]
        return {"address": address, "topics": [transfer_topic, *accounts], "data": _hex(chance, 32)}
    topics = [_hex(chance, 32) for _ in range(chance.randint(1, 4))]
    return {"address": address, "topics": topics, "data": _hex(chance, 32 * chance.randint(0, 10))}


def _transaction(chance: random.Random, index: int) -> dict[str, Any]:
    transaction: dict[str, Any] = {
        "type": "0x2",
        "chainId": "0x1",
        "nonce": hex(index),
        "maxPriorityFeePerGas": hex(10**9),
        "maxFeePerGas": hex(10**11),
        "gas": hex(100_000),
        "to": _hex(chance, 20),
        "value": hex(chance.randrange(10**18)),
        "input": _hex(chance, chance.randrange(200)),
        "accessList": [],
        "yParity": hex(chance.randrange(2)),
        "r": hex(chance.getrandbits(256)),
        "s": hex(chance.getrandbits(255)),
    }
    transaction["hash"] = "0x" + proofs.keccak(proofs.transaction_value(transaction)).hex()
    return transaction


def _place(block: Mapping[str, Any], receipts: Sequence[dict[str, Any]]) -> None:
    """Tell receipts and logs where they are, as nodes do."""
    number = 0
    for index, receipt in enumerate(receipts):
        place = {
            "blockHash": block["hash"],
            "blockNumber": block["number"],
            "transactionHash": block["transactions"][index]["hash"],
            "transactionIndex": hex(index),
        }
        receipt.update(place)
        for log in receipt["logs"]:
            log.update(place, logIndex=hex(number), removed=False)
            number += 1


def _bloom(logs: Sequence[Mapping[str, Any]]) -> str:
    return (
        "0x" + proofs.bloom(bytes.fromhex(each[2:]) for log in logs for each in (log["address"], *log["topics"])).hex()
    )


def _root(values: Iterable[bytes]) -> str:
    return "0x" + proofs.root(list(values)).hex()


def _hex(chance: random.Random, size: int) -> str:
    return "0x" + chance.randbytes(size).hex()
