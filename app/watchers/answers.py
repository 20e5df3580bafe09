"""What a node says, taken apart. Whatever contradicts itself or what was asked is refused, never repaired."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from app.subscriptions.matching import Log
from app.watchers.blocks import Mined
from app.watchers.evidence import (
    Verified,
    VerifiedHash,
    committed,
    shown_by_logs,
    shown_by_receipts,
    shown_by_transactions,
)
from app.watchers.follower import Block
from tocsin import proofs

_HASH = re.compile(r"0x[0-9a-f]{64}")
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_QUANTITY = re.compile(r"0x[0-9a-f]{1,15}")
_WORD = re.compile(r"0x[0-9a-f]{1,64}")
_DATA = re.compile(r"0x(?:[0-9a-f]{2})*")
_BLOOM = re.compile(r"0x[0-9a-f]{512}")
_TOPICS_MAX = 4


class Contradiction(ValueError):
    """The node's answer is not what it should be. The text says what was wrong with it."""


@dataclass(frozen=True, slots=True)
class Header:
    """A block, and what its logs are checked against."""

    block: Block
    transactions: tuple[str, ...]
    bloom_is_empty: bool
    committed: proofs.Header | None
    """What the block's hash commits to; None where the fields given do not make this hash."""


@dataclass(frozen=True, slots=True)
class Found:
    """All logs of a block, and how far they are checked."""

    logs: tuple[Log, ...]
    verified: Verified


def header(answer: object) -> Header:
    """A block as `eth_getBlockBy…` gives it, with transaction hashes only."""
    fields = _mapping(answer, "block")
    block = Block(
        number=_quantity(fields, "number"),
        hash=_text(fields, "hash", _HASH),
        parent=_text(fields, "parentHash", _HASH),
        timestamp=_quantity(fields, "timestamp"),
    )
    hashes = tuple(_matched(each, "transaction hash", _HASH) for each in _sequence(fields, "transactions"))
    bloom_is_empty = int(_text(fields, "logsBloom", _BLOOM), 16) == 0
    return Header(block, hashes, bloom_is_empty, committed(fields, block.hash))


def no_logs(of: Header) -> Found:
    """Those of a block without transactions."""
    return Found(_plausible(of, ()), shown_by_receipts(of.committed, ()))


def logs_of_receipts(of: Header, answer: object) -> Found:
    """All logs of a block, out of its receipts: one for each transaction, in order."""
    receipts = [_mapping(receipt, "receipt") for receipt in _list(answer, "receipts")]
    if len(receipts) != len(of.transactions):
        raise Contradiction(f"{len(receipts)} receipts for {len(of.transactions)} transactions of {of.block.hash}")
    verified = shown_by_receipts(of.committed, receipts)
    logs: list[Log] = []
    for index, fields in enumerate(receipts):
        _expect(fields, "blockHash", of.block.hash)
        _expect(fields, "transactionHash", of.transactions[index])
        _expect_number(fields, "transactionIndex", index)
        logs += (_log(of, each, index, place, verified) for place, each in enumerate(_sequence(fields, "logs")))
    return Found(_plausible(of, logs), verified)


def logs_of_block(of: Header, answer: object) -> Found:
    """All logs of a block, as `eth_getLogs` gives them for its hash."""
    logs: list[Log] = []
    transaction, in_receipt = 0, 0
    for place, each in enumerate(_list(answer, "logs")):
        fields = _mapping(each, "log")
        # Numbered through the block without a gap: otherwise some are missing, or not of this block.
        _expect_number(fields, "logIndex", place)
        index = _quantity(fields, "transactionIndex")
        if index < transaction:
            raise Contradiction("logs are out of order")
        transaction, in_receipt = index, in_receipt if index == transaction else 0
        logs.append(_log(of, fields, transaction, in_receipt, "rpc"))
        in_receipt += 1
    verified = shown_by_logs(of.committed, (text for log in logs for text in (log.address, *log.topics)))
    return Found(tuple(replace(log, verified=verified) for log in _plausible(of, logs)), verified)


def mined(of: Header, answer: object, receipts: Mapping[int, object]) -> tuple[Mined, ...]:
    """All transactions of a block that was given with them. Without a receipt, one is taken to have failed."""
    fields = _mapping(answer, "block")
    _expect(fields, "hash", of.block.hash)
    found = _sequence(fields, "transactions")
    if len(found) != len(of.transactions):
        raise Contradiction(f"{len(found)} transactions of {of.block.hash}, and {len(of.transactions)} before")
    verified = shown_by_transactions(of.committed, [_mapping(each, "transaction") for each in found])
    return tuple(_mined(of, index, each, receipts.get(index), verified) for index, each in enumerate(found))


def _mined(of: Header, index: int, answer: object, receipt: object, verified: VerifiedHash) -> Mined:
    fields, outcome = _mapping(answer, "transaction"), _mapping(receipt or {}, "receipt")
    _expect(fields, "hash", of.transactions[index])
    _expect_number(fields, "transactionIndex", index)
    if outcome:
        _expect(outcome, "blockHash", of.block.hash)
        _expect(outcome, "transactionHash", of.transactions[index])
    # Before Byzantium receipts had no status; whoever failed then is not told apart.
    succeeded = bool(outcome) and outcome.get("status", "0x1") == "0x1"
    to, created = fields.get("to"), outcome.get("contractAddress")
    return Mined(
        hash=of.transactions[index],
        index=index,
        sender=_text(fields, "from", _ADDRESS),
        to=None if to is None else _matched(to, "to", _ADDRESS),
        value=int(_text(fields, "value", _WORD), 16),
        succeeded=succeeded,
        created=None if to is not None or created is None else _matched(created, "contractAddress", _ADDRESS),
        verified=verified,
    )


def matters(answer: object) -> bool:
    """Whether a transaction, as a block gives it, moves or makes something, so that its outcome matters."""
    fields = _mapping(answer, "transaction")
    return fields.get("to") is None or int(_text(fields, "value", _WORD), 16) > 0


def returned(answer: object) -> str:
    """What a call returned."""
    return _matched(answer, "the answer of eth_call", _DATA)


def transactions_of(answer: object) -> Sequence[object]:
    """The transactions that a block was given with."""
    return _sequence(_mapping(answer, "block"), "transactions")


def receipts_of(answer: object) -> Mapping[int, object]:
    """The receipts of a block, by the indices of their transactions."""
    return dict(enumerate(_list(answer, "receipts")))


def _log(of: Header, answer: object, transaction_index: int, index_in_receipt: int, verified: Verified) -> Log:
    fields = _mapping(answer, "log")
    if transaction_index >= len(of.transactions):
        raise Contradiction(f"a log of transaction {transaction_index}, which {of.block.hash} does not have")
    _expect(fields, "blockHash", of.block.hash)
    _expect(fields, "transactionHash", of.transactions[transaction_index])
    _expect_number(fields, "transactionIndex", transaction_index)
    if fields.get("removed") not in (None, False):
        raise Contradiction("a log that was removed")
    # Receipts that make the root are well-formed: they could not have been encoded otherwise.
    address, topics, data = _content(fields) if verified == "receipts-root" else _checked_content(fields)
    return Log(
        address=address,
        topics=topics,
        data=data,
        transaction_hash=of.transactions[transaction_index],
        transaction_index=transaction_index,
        index_in_receipt=index_in_receipt,
        verified=verified,
    )


def _content(fields: Mapping[str, Any]) -> tuple[str, tuple[str, ...], str]:
    return fields["address"].lower(), tuple([topic.lower() for topic in fields["topics"]]), fields["data"].lower()


def _checked_content(fields: Mapping[str, Any]) -> tuple[str, tuple[str, ...], str]:
    topics = tuple(_matched(each, "topic", _HASH) for each in _sequence(fields, "topics"))
    if len(topics) > _TOPICS_MAX:
        raise Contradiction("a log with more than four topics")
    return _text(fields, "address", _ADDRESS), topics, _text(fields, "data", _DATA)


def _plausible(of: Header, logs: Sequence[Log]) -> tuple[Log, ...]:
    # Near the head, nodes have been seen to answer without the logs that the header counts.
    if not logs and not of.bloom_is_empty:
        raise Contradiction(f"no logs, but the bloom of {of.block.hash} has some")
    return tuple(logs)


def _mapping(answer: object, what: str) -> Mapping[str, Any]:
    if not isinstance(answer, dict):
        raise Contradiction(f"a {what} that is no object")
    return cast(Mapping[str, Any], answer)


def _list(answer: object, what: str) -> Sequence[Any]:
    if not isinstance(answer, list):
        raise Contradiction(f"{what} that are no list")
    return cast(Sequence[Any], answer)


def _sequence(fields: Mapping[str, Any], name: str) -> Sequence[Any]:
    return _list(fields.get(name), name)


def _text(fields: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    return _matched(fields.get(name), name, pattern)


def _matched(value: object, what: str, pattern: re.Pattern[str]) -> str:
    lowered = value.lower() if isinstance(value, str) else ""
    if not pattern.fullmatch(lowered):
        raise Contradiction(f"{what} is malformed")
    return lowered


def _quantity(fields: Mapping[str, Any], name: str) -> int:
    return int(_text(fields, name, _QUANTITY), 16)


def _expect(fields: Mapping[str, Any], name: str, expected: str) -> None:
    value = fields.get(name)
    if value != expected and (not isinstance(value, str) or value.lower() != expected):
        # Quoted, because it may hold what Postgres stores in no text.
        raise Contradiction(f"{name} is {str(value)[:80]!r}, not {expected}")


def _expect_number(fields: Mapping[str, Any], name: str, expected: int) -> None:
    if fields.get(name) != hex(expected) and _quantity(fields, name) != expected:
        raise Contradiction(f"{name} is {fields[name]}, not {hex(expected)}")
