"""How far the blocks of a chain are checked, and what it is held to from then on."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest

from app.kit import limits
from app.watchers.answers import Contradiction, header, logs_of_block, logs_of_receipts, no_logs
from app.watchers.evidence import Capability, Verified, held_to, lacking, learned
from tests.blocks import block_of

BLOCK, RECEIPTS = block_of(random.Random(3), 12)
LOGS = [log for receipt in RECEIPTS for log in receipt["logs"]]
LOGGING = next(index for index, receipt in enumerate(RECEIPTS) if receipt["logs"])


def answered(**members: Any) -> dict[str, Any]:
    """The block with the hashes of its transactions only."""
    return BLOCK | {"transactions": [each["hash"] for each in BLOCK["transactions"]]} | members


def first_log(**members: Any) -> Callable[[Any], None]:
    return lambda receipts: receipts[LOGGING]["logs"][0].update(members)


def test_receipts_that_make_the_root_prove_their_logs() -> None:
    found = logs_of_receipts(header(answered()), RECEIPTS)
    assert found.verified == "receipts-root"
    assert {log.verified for log in found.logs} == {"receipts-root"}
    assert [(log.address, list(log.topics), log.data) for log in found.logs] == [
        (log["address"], log["topics"], log["data"]) for log in LOGS
    ]


def test_logs_that_make_the_bloom_show_less() -> None:
    found = logs_of_block(header(answered()), LOGS)
    assert found.verified == "bloom"
    assert {log.verified for log in found.logs} == {"bloom"}
    assert len(found.logs) == len(LOGS)


@pytest.mark.parametrize(
    ("lie", "shown"),
    [
        (first_log(data="0x" + "00" * 31), "bloom"),
        (first_log(topics=[]), "rpc"),
        (first_log(address="0x" + "00" * 20), "rpc"),
        (lambda receipts: receipts[LOGGING]["logs"].pop(), "rpc"),
        (lambda receipts: receipts[LOGGING].update(status="0x0"), "bloom"),
        (lambda receipts: receipts[LOGGING].update(cumulativeGasUsed="0x1"), "bloom"),
        (lambda receipts: receipts[LOGGING].update(type="0x1"), "bloom"),
        (lambda receipts: receipts[LOGGING].update(cumulativeGasUsed=None), "rpc"),
        (lambda receipts: receipts[LOGGING]["logs"].reverse(), "bloom"),
    ],
)
def test_altered_receipts_show_less(lie: Callable[[Any], Any], shown: Verified) -> None:
    receipts = copy.deepcopy(RECEIPTS)
    lie(receipts)
    found = logs_of_receipts(header(answered()), receipts)
    assert found.verified == shown
    assert {log.verified for log in found.logs} == {shown}


@pytest.mark.parametrize("name", ["parentHash", "timestamp", "receiptsRoot", "number", "logsBloom", "requestsHash"])
def test_a_header_that_is_altered_commits_to_nothing(name: str) -> None:
    altered = BLOCK[name][:-1] + ("1" if BLOCK[name][-1] != "1" else "2")
    of = header(answered(**{name: altered}))
    assert of.committed is None
    assert logs_of_receipts(of, RECEIPTS).verified == "rpc"
    assert logs_of_block(of, LOGS).verified == "rpc"


def test_a_block_without_transactions_has_the_empty_root() -> None:
    empty, _ = block_of(random.Random(3), 0)
    assert no_logs(header(empty)).verified == "receipts-root"


def test_a_block_that_counts_logs_has_transactions() -> None:
    with pytest.raises(Contradiction, match="no logs, but the bloom"):
        no_logs(header(answered(transactions=[])))


def test_the_hash_of_a_transaction_is_the_nodes_word() -> None:
    """Receipts do not commit to it: so no label says that it was checked."""
    liars, receipts = answered(), copy.deepcopy(RECEIPTS)
    liars["transactions"][LOGGING] = other = "0x" + "ee" * 32
    receipts[LOGGING]["transactionHash"] = other
    for log in receipts[LOGGING]["logs"]:
        log["transactionHash"] = other
    found = logs_of_receipts(header(liars), receipts)
    assert found.verified == "receipts-root"
    assert other in {log.transaction_hash for log in found.logs}


# --- what a chain is held to


ENOUGH = limits.chain_blocks_until_demanded


def after(*shown: Verified) -> Capability:
    capability = Capability()
    for each in shown:
        capability = learned(capability, each)
    return capability


def roots(count: int) -> tuple[Verified, ...]:
    return ("receipts-root",) * count


def blooms(count: int) -> tuple[Verified, ...]:
    return ("bloom",) * count


@pytest.mark.parametrize(
    ("shown", "demanded"),
    [
        ((), "rpc"),
        (roots(ENOUGH - 1), "rpc"),
        (roots(ENOUGH), "receipts-root"),
        (blooms(ENOUGH), "bloom"),
        # Enough of one kind or the better one.
        ((*roots(1), *blooms(ENOUGH - 1)), "bloom"),
        ((*blooms(ENOUGH), *roots(ENOUGH)), "receipts-root"),
        # In a row: chains with transactions that are not listed show the root in most blocks.
        ((*roots(ENOUGH - 1), "rpc", *roots(ENOUGH - 1)), "rpc"),
        ((*roots(ENOUGH - 1), "bloom", *roots(ENOUGH - 1)), "bloom"),
        # Never less again.
        ((*roots(ENOUGH), *["rpc"] * 1000), "receipts-root"),
        ((*roots(ENOUGH), *blooms(ENOUGH)), "receipts-root"),
    ],
)
def test_a_chain_is_held_to_what_it_has_shown_for_a_while(shown: tuple[Verified, ...], demanded: Verified) -> None:
    assert after(*shown).demanded == demanded


def test_what_the_operator_says_is_not_learned_away() -> None:
    for said in ("rpc", "bloom", "receipts-root"):
        capability = held_to(said)
        for shown in (*roots(ENOUGH), "rpc"):
            capability = learned(capability, shown)
        assert capability.demanded == said


@pytest.mark.parametrize(
    ("demanded", "shown", "refused"),
    [
        ("rpc", "rpc", False),
        ("rpc", "receipts-root", False),
        ("bloom", "rpc", True),
        ("bloom", "bloom", False),
        ("bloom", "receipts-root", False),
        ("receipts-root", "rpc", True),
        ("receipts-root", "bloom", True),
        ("receipts-root", "receipts-root", False),
    ],
)
def test_an_answer_that_shows_less_than_is_demanded_is_refused(
    demanded: Verified, shown: Verified, refused: bool
) -> None:
    assert (lacking(held_to(demanded), shown) is not None) == refused


def test_receipts_are_still_one_for_each_transaction() -> None:
    with pytest.raises(Contradiction, match="11 receipts for 12 transactions"):
        logs_of_receipts(header(answered()), RECEIPTS[:-1])
