"""Whole blocks are checked: ours beside pyrlp and py-trie, on the same made-up block, in the same run.

Measured in processor time: on a machine with nothing else to do, that is the time it takes. Garbage is collected as
seldom as in a worker.

The block has 300 transactions with about 1,200 logs, as a busy block of Ethereum has: half of them token transfers with
three topics and 32 bytes of data, the others with one to four topics and up to 320 bytes.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import rlp
from trie.hexary import HexaryTrie

from app.watchers.answers import header, logs_of_receipts
from bench import report
from bench.stage import Stage
from tests.blocks import block_of
from tocsin import proofs
from workers.main import collect_seldom

transactions_count = 300
rounds = 60


def report_blocks(on: Stage, workers: int) -> None:
    """Print how long it takes to check a block, part by part, and the same with the usual libraries."""
    block, receipts = block_of(random.Random(1), transactions_count)
    expected = bytes.fromhex(block["receiptsRoot"][2:])
    text = orjson.dumps(receipts)
    logs = sum(len(receipt["logs"]) for receipt in receipts)
    report.line("the block", f"{len(receipts)} receipts, {logs} logs, {len(text):,} bytes of JSON")
    values = [proofs.receipt_value(receipt) for receipt in receipts]
    collect_seldom()

    report.show("to read the JSON (orjson)", _milliseconds(lambda: orjson.loads(text)))
    report.show("ours: encode", _milliseconds(lambda: [proofs.receipt_value(receipt) for receipt in receipts]))
    report.show("ours: root", _milliseconds(lambda: proofs.root(values)))
    ours = _milliseconds(lambda: _same(_ours(receipts), expected))
    report.show("ours: encode and root", ours)
    head = block | {"transactions": [each["hash"] for each in block["transactions"]]}
    report.show("as the relay does: and the logs read", _milliseconds(lambda: _checked(head, receipts)))
    theirs = _milliseconds(lambda: _same(_theirs(receipts), expected), rounds // 6)
    report.show("pyrlp and py-trie: encode and root", theirs)
    report.line("ours is faster by", f"{min(theirs) / min(ours):.1f} times (best of each)")


def _ours(receipts: Sequence[Mapping[str, Any]]) -> bytes:
    return proofs.root([proofs.receipt_value(receipt) for receipt in receipts])


def _checked(head: object, receipts: object) -> None:
    assert logs_of_receipts(header(head), receipts).verified == "receipts-root"


def _theirs(receipts: Sequence[Mapping[str, Any]]) -> bytes:
    """By the libraries that Ethereum's own Python tools are made of."""
    trie = HexaryTrie({}, prune=True)
    for index, receipt in enumerate(receipts):
        logs = [
            [_bytes(log["address"]), [_bytes(topic) for topic in log["topics"]], _bytes(log["data"])]
            for log in receipt["logs"]
        ]
        status, gas = (int(receipt[name], 16) for name in ("status", "cumulativeGasUsed"))
        encoded = rlp.encode([status, gas, _bytes(receipt["logsBloom"]), logs])
        trie[rlp.encode(index)] = (b"" if receipt["type"] == "0x0" else b"\x02") + encoded
    return trie.root_hash


def _milliseconds(once: Callable[[], object], times: int = rounds) -> list[float]:
    """Of processor time, for each time; the first, which warms up, is left out."""
    taken: list[float] = []
    for _ in range(times + 1):
        began = time.process_time()
        once()
        taken.append((time.process_time() - began) * 1000)
    return taken[1:]


def _same(found: bytes, expected: bytes) -> None:
    assert found == expected


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])
