"""A condition that names what no event of its subscription has is refused, with what there is."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from app.subscriptions.conditions import Condition
from app.subscriptions.naming import misnamed
from tocsin.schemas.subscriptions import Watched

CHAIN = {"chain": "eip155:8453"}
TOKEN = "0x" + "11" * 20
LOG = {"kind": "evm.log", "address": TOKEN, **CHAIN}
TRANSFER = {**LOG, "event": "Transfer(address indexed from, address indexed to, uint256 value)"}
CALL = {"kind": "evm.call", "address": TOKEN, "function": "f() returns (uint256, (uint256 a) it)", **CHAIN}
JSON = {"kind": "http.json", "url": "https://a.example/"}
ABOVE = {**JSON, "rule": {"kind": "threshold", "above": 1}}


def wrong(source: dict[str, Any], where: str) -> str | None:
    return misnamed(TypeAdapter[Any](Watched).validate_python(source), Condition(where).reads)


@pytest.mark.parametrize(
    ("source", "where"),
    [
        (LOG, "log.index > 1 && transaction.from == '0x' && block.number > 5 && verified == 'rpc'"),
        (TRANSFER, "decoded.value > 5 && decoded.from != decoded.to"),
        (CALL, "current.decoded.value0 > 1 && !previous.reverted && current.decoded.it.a > 1"),
        ({"kind": "evm.block", **CHAIN}, "block.timestamp > 5"),
        ({"kind": "evm.transfer", "asset": "native", **CHAIN}, "transfer.amount > 5 && transfer.from in ['0x']"),
        ({"kind": "evm.contract_created", **CHAIN}, "created.creator == '0x'"),
        ({"kind": "evm.nft_mint", "collection": TOKEN, **CHAIN}, "size(mint.ids) > 2"),
        ({"kind": "evm.liquidity", "pool": TOKEN, **CHAIN}, "liquidity.amount0 > 2"),
        (
            {"kind": "evm.price", "pool": TOKEN, "when": {"rule": "crosses", "level": "1"}, **CHAIN},
            "price.change_percent > 2 && since.number > 5",
        ),
        (JSON, "size(current.value) > 3 && previous.value.whatever.there == 1"),
        (ABOVE, "crossed == 'above' && number != ''"),
        ({**JSON, "rule": {"kind": "appeared"}}, "item.value.id > 3"),
        ({"kind": "http.feed", "url": "https://a.example/"}, "title.contains('x') && summary != ''"),
        ({"kind": "inbox", "verify": {"scheme": "none"}}, "headers['x-github-event'] == 'push' && body.n > 1"),
    ],
)
def test_what_a_payload_has_may_be_named(source: dict[str, Any], where: str) -> None:
    assert wrong(source, where) is None


@pytest.mark.parametrize(
    ("source", "where", "said"),
    [
        (
            TRANSFER,
            "decoded.vaule > 5",
            "`decoded` has no `vaule`, and so nothing would be told; it has from, to, value",
        ),
        (TRANSFER, "log.index > 1 || !has(decoded.memo)", "`decoded` has no `memo`"),
        (LOG, "decoded.value > 5", "it has nothing without an `event`"),
        (LOG, "transaction.form == '0x'", "`transaction` has no `form`"),
        (CALL, "current.decoded.balance > 1", "`current.decoded` has no `balance`"),
        (JSON, "nosuch > 5", "the payload has no `nosuch`"),
        (JSON, "number > 5", "current, previous"),
        (ABOVE, "current.value > 5", "number"),
        ({"kind": "evm.transfer", "asset": "native", **CHAIN}, "amount > 5", "transfer"),
    ],
)
def test_what_it_never_has_may_not(source: dict[str, Any], where: str, said: str) -> None:
    assert said in (wrong(source, where) or "")
